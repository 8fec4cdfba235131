"""How many are in an event, counted ahead of the answer; over real servers in test_rooms.py."""

import asyncio
import contextlib
from functools import partial

from session.store import Unavailable
from tests.support.parts import Cluster
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT = "42"


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


async def test_who_leaves_is_not_told_of_a_count(cluster: Cluster, valkey: StoreProcess) -> None:
    """What the store did not take of it is written by a later round, and no error of the command."""
    a, b = (cluster.server(n).services for n in range(2))
    room = a.listener.room(f"event:{EVENT}")
    await asyncio.wait_for(room.opened, 5)
    room.behind.update(dict.fromkeys([object(), object()]))  # type: ignore[arg-type]  # for their number
    valkey.freeze()
    try:
        await a.presence.goes(EVENT)
    finally:
        valkey.thaw()
    room.behind.popitem()

    async def is_counted() -> bool:
        with contextlib.suppress(Unavailable):
            return await b.presence.count(EVENT) == 1
        return False

    await eventually(is_counted, "the one that is left is counted")
    room.behind.clear()
