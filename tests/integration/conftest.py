"""Two servers in one process, for what needs a hand inside."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.support.parts import Cluster, running
from tests.support.stores import StoreProcess


@pytest.fixture
def cluster(io_loop: IOLoop, valkey: StoreProcess) -> Iterator[Cluster]:
    """The parts of two servers."""
    with running(io_loop, valkey, 2) as made:
        yield made
