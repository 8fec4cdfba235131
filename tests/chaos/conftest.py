"""Stores that are broken on purpose, each behind a network of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from tests.support.parts import Server
from tests.support.proxy import Proxy
from tests.support.stores import StoreProcess, valkey_binary

FreshStores = Callable[..., StoreProcess]
Networks = Callable[[StoreProcess], Proxy]


@pytest.fixture
def fresh_stores(tmp_path: Path) -> Iterator[FreshStores]:
    """Starts stores for this test alone: ``fresh_stores(appendonly="yes")``."""
    made: list[StoreProcess] = []

    def start(**options: str) -> StoreProcess:
        made.append(StoreProcess(valkey_binary(), tmp_path / f"store-{len(made)}", **options))
        return made[-1]

    yield start
    for process in made:
        process.kill()


@pytest.fixture
def networks() -> Iterator[Networks]:
    """Puts a network before a store: a proxy."""
    made: list[Proxy] = []

    def before(store: StoreProcess) -> Proxy:
        made.append(Proxy(store.port))
        return made[-1]

    yield before
    for proxy in made:
        proxy.stop()


@pytest.fixture
def fleet(io_loop: IOLoop) -> Iterator[list[Server]]:
    """Servers' parts in this process; those that a test puts here are stopped."""
    made: list[Server] = []
    yield made
    for server in made:
        io_loop.run_sync(server.stop, timeout=20)
