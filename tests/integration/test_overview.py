"""What operators see of all servers together."""

from typing import Any

from session import keys
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT = {"title": "A concert", "seats": ["A-1", "A-2", "A-3"], "capacity": 1}


async def overview(server: ServerProcess) -> dict[str, Any]:
    answer = await Api(server).get("/api/overview")
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json
    return found


async def sees(server: ServerProcess, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The overview, once it says all that."""
    found = await overview(server)
    return found if wanted.items() <= found.items() else None


async def test_sums_over_all_servers_and_events(servers: Servers, connect: Connect, store_url: str) -> None:
    """On each store, whichever server is asked: connections, restores, the line, holds and sales."""
    a, b = servers(2, redis_url=store_url)
    await Api(a).put("/api/events/1", EVENT)
    mina, joon = await connect(a, user="mina"), await connect(b, user="joon")
    await mina.do("join-queue", eventId="1")
    await joon.do("join-queue", eventId="1")
    await mina.do("hold-seats", eventId="1", seats=["A-1", "A-2"])
    await Api(a).post("/api/events/1/bookings", {"userId": "mina", "seats": ["A-1"]})
    again = await connect(b, user="mina", resume={})

    sums = {"connections": 3, "restores": 1, "waiting": 1, "admitted": 1, "held": 1, "sold": 1}
    seen = [await eventually(lambda s=s: sees(s, sums), "all is summed up", 30) for s in (a, b)]  # type: ignore[misc]

    instances = {client.connected["instance"]: count for client, count in ((mina, 1), (again, 2))}
    for found in seen:
        assert instances == {server["instance"]: server["connections"] for server in found["servers"]}
        (event,) = found["events"]
        assert {
            "eventId": "1",
            "title": "A concert",
            "available": 1,
            "paused": False,
        }.items() <= event.items()


async def test_a_server_that_has_left_counts_no_more(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Its figures are not summed up any more, and are taken out of the store."""
    a, b = servers(2, drain_seconds=0.2)
    await connect(a, user="mina")
    await connect(b, user="joon")
    await eventually(lambda: sees(a, {"connections": 2}), "both are counted", 30)

    assert 0 == b.terminate()

    found = await eventually(lambda: sees(a, {"connections": 1}), "one is counted", 30)
    assert 1 == len(found["servers"])
    await eventually(lambda: len(valkey.client.hkeys(keys.FIGURES)) == 1, "the other is forgotten", 30)


async def test_only_the_key_opens_it(servers: Servers) -> None:
    """As all of the API."""
    (a,) = servers()

    assert [401, 401] == [(await Api(a, key=key).get("/api/overview")).status for key in (None, "another")]
