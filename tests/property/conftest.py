"""Servers whose timed work goes faster, so that a property test sees what time does."""

from collections.abc import Callable, Iterator

import pytest
from tornado.ioloop import IOLoop

from session import janitor, lobby, ticker
from session.config import parse
from tests.support.parts import Cluster
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET

SERVERS = 3

Clusters = Callable[..., Cluster]


@pytest.fixture
def clusters(io_loop: IOLoop, valkey: StoreProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clusters]:
    """Makes three servers' parts on one store: ``clusters("--queue-grace=0.3")``."""
    monkeypatch.setattr(ticker, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(ticker, "LIST_SECONDS", 0.1)
    monkeypatch.setattr(lobby, "ROUND_SECONDS", 0.1)
    monkeypatch.setattr(janitor, "ROUND_SECONDS", 0.1)
    made: list[Cluster] = []

    def make(*options: str) -> Cluster:
        config = parse([f"--jwt-secret={SECRET}", *options], {})
        made.append(Cluster(config, valkey.url, valkey.client))
        io_loop.run_sync(lambda: made[-1].start(SERVERS), timeout=20)
        return made[-1]

    yield make
    for cluster in made:
        io_loop.run_sync(cluster.stop, timeout=20)
