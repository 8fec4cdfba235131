"""Two servers in one process, for what needs a hand inside."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from session.config import parse
from tests.support.parts import Cluster
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET


@pytest.fixture
def cluster(io_loop: IOLoop, valkey: StoreProcess) -> Iterator[Cluster]:
    """The parts of two servers."""
    made = Cluster(parse([f"--jwt-secret={SECRET}"], {}), valkey.url, valkey.client)
    io_loop.run_sync(lambda: made.start(2), timeout=20)
    yield made
    io_loop.run_sync(made.stop, timeout=20)
