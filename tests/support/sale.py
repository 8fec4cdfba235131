"""What must hold of every sale, seen from outside: by raw clients, and in the store itself."""

from typing import cast

from redis import Redis

from session import keys
from tests.conftest import Connect
from tests.support.client import Client
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually

AT_REST_SECONDS = 10.0


def holds(store: "Redis", event_id: str) -> dict[str, dict[int, str]]:
    """User -> index -> seat, as the store has them."""
    lines = cast(dict[str, str], store.hgetall(keys.sale(event_id).holds))
    return {user: _seats(line) for user, line in lines.items()}


def _seats(line: str) -> dict[int, str]:
    named = (seat.split("=", 1) for seat in line.split(" ")[2:])
    return {int(i): seat for i, seat in named}


def assert_one_holder(store: "Redis", event_id: str) -> None:
    """No seat has two holders; held are those of the map that someone holds, and the counters agree."""
    k = keys.sale(event_id)
    with store.pipeline(transaction=True) as pipe:
        pipe.get(k.map)
        pipe.hgetall(k.holds)
        pipe.hmget(k.state, "h", "s")
        states, groups, (held, sold) = pipe.execute()
    mine = [i for line in groups.values() for i in _seats(line)]
    assert len(set(mine)) == len(mine), "a seat has two holders"
    assert {i for i, state in enumerate(states or "") if state == "h"} == set(mine)
    assert (int(held or 0), int(sold or 0)) == (len(mine), (states or "").count("s"))


async def assert_agreement(
    store: "Redis", connect: Connect, server: ServerProcess | str, event_id: str, *watchers: Client
) -> None:
    """At rest: snapshot + deltas = a fresh snapshot at each watcher, what was published is the truth, and no
    seat has two holders."""
    k = keys.sale(event_id)
    await eventually(
        lambda: not store.exists(k.pending) and store.get(k.map) == store.get(k.shown),
        "all changes of seats are published",
        AT_REST_SECONDS,
    )
    assert_one_holder(store, event_id)
    fresh = await connect(server, user="a-fresh-one")
    await fresh.do("join-seats", eventId=event_id)
    room, head = f"seats:{event_id}", int(store.hget(k.seats_meta, "h") or 0)
    for client in (fresh, *watchers):
        await eventually(
            lambda client=client: client.positions[room].offset == head,  # type: ignore[misc]
            f"a watcher is at {head}, the head of {room}",
            AT_REST_SECONDS,
        )
        client.assert_contiguous()
    for watcher in watchers:
        difference = set(watcher.boards[event_id].items()) ^ set(fresh.boards[event_id].items())
        assert not difference, f"a watcher sees {event_id} otherwise than a fresh one: {difference}"
    await fresh.close()
