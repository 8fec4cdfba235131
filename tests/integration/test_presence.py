"""How many are in an event, counted ahead of the answer; over real servers in test_rooms.py."""

import asyncio
from functools import partial

from tests.support.parts import Cluster

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
