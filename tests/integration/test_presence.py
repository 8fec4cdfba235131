"""How many are in an event, counted ahead of the answer; over real servers in test_rooms.py."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from tornado.ioloop import IOLoop

from session.config import parse
from tests.support.parts import Cluster
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET

EVENT = "42"


@pytest.fixture
def cluster(io_loop: IOLoop, valkey: StoreProcess) -> Iterator[Cluster]:
    """The parts of two servers."""
    made = Cluster(parse([f"--jwt-secret={SECRET}"], {}), valkey.url, valkey.client)
    io_loop.run_sync(lambda: made.start(2), timeout=20)
    yield made
    io_loop.run_sync(made.stop, timeout=20)


async def test_some_come_while_others_go(cluster: Cluster) -> None:
    """Whatever is on the way at once, each is counted once, and nothing of it is left."""
    a, b = (cluster.server(n).services for n in range(2))
    room = a.listener.room(f"event:{EVENT}")
    await asyncio.wait_for(room.opened, 5)
    here = [object() for _ in range(3)]
    room.behind.update(dict.fromkeys(here))  # type: ignore[arg-type]  # three who are there, for their number

    comes, goes = partial(a.presence.comes, is_new=True), a.presence.goes
    for order in ((comes, goes, comes, goes), (goes, comes, goes, comes), (comes, comes, goes, goes)):
        await asyncio.gather(*(step(EVENT) for step in order))
        assert {} == a.presence._on_the_way
        assert 3 == room.local_count_told

    assert 3 == await b.presence.count(EVENT)
    room.behind.clear()
