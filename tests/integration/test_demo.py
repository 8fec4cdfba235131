"""What the demo has beside the product: tickets, a token that is soon over, a server that may be killed."""

from typing import Any

import jwt
import pytest

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.servers import ServerProcess
from tests.support.tokens import token
from tests.support.waiting import eventually

EVENT = {"title": "A concert", "seats": ["A-1", "A-2", "A-3"]}


async def sign_in(server: ServerProcess, name: str) -> str:
    """The token of the demo's sign-in."""
    answer = await Api(server, key=None).post("/auth/login", {"name": name})
    given: str = answer.json["token"]
    return given


async def tickets(server: ServerProcess, jwt: str) -> list[dict[str, Any]]:
    answer = await Api(server, key=jwt).get("/demo/bookings")
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.json["bookings"]
    return found


async def test_tickets_are_what_one_has_booked_and_not_given_back(
    servers: Servers, connect: Connect, store_url: str
) -> None:
    """One's own, newest first; a seat that was refunded and sold again is the other's."""
    (a,) = servers(demo="true", redis_url=store_url)
    for event_id in ("1", "2"):
        await Api(a).put(f"/api/events/{event_id}", EVENT)
    mina, joon = await sign_in(a, "mina"), await sign_in(a, "joon")

    async def buy(who: str, jwt: str, event_id: str, *seats: str) -> str:
        client = await connect(a, user=who)
        await client.do("hold-seats", eventId=event_id, seats=list(seats))
        answer = await Api(a, key=jwt).post("/demo/bookings", {"eventId": event_id, "seats": list(seats)})
        assert answer.status == 201, answer
        booked: str = answer.json["bookingId"]
        return booked

    first = await buy("mina", mina, "1", "A-1", "A-2")
    second = await buy("mina", mina, "2", "A-3")
    assert [(second, "2", ["A-3"]), (first, "1", ["A-1", "A-2"])] == [
        (t["bookingId"], t["eventId"], t["seats"]) for t in await tickets(a, mina)
    ]
    assert [] == await tickets(a, joon)

    await Api(a).delete("/api/events/1/bookings", {"seats": ["A-1"]})
    await Api(a).delete("/api/events/2/bookings", {"seats": ["A-3"]})
    others = await buy("joon", joon, "1", "A-1")
    assert [(first, ["A-2"])] == [(t["bookingId"], t["seats"]) for t in await tickets(a, mina)]
    assert [(others, ["A-1"])] == [(t["bookingId"], t["seats"]) for t in await tickets(a, joon)]


async def test_a_short_token_is_of_the_same_sign_in(servers: Servers) -> None:
    """The same user, over in seconds; a token of another back end, which names no sign-in, gets none."""
    (a,) = servers(demo="true")
    long = await sign_in(a, "mina")

    answer = await Api(a, key=long).post("/demo/token")
    foreign = await Api(a, key=token("mina")).post("/demo/token")

    given, before = (jwt.decode(t, options={"verify_signature": False}) for t in (answer.json["token"], long))
    assert 201 == answer.status
    assert {given[claim] for claim in ("sub", "sid")} == {before[claim] for claim in ("sub", "sid")}
    assert given["exp"] < before["exp"]
    assert 409 == foreign.status


async def test_who_was_signed_out_is_nobody_here_either(servers: Servers) -> None:
    """A token that is revoked gets itself no new one, and buys nothing."""
    (a,) = servers(demo="true")
    long = await sign_in(a, "mina")
    await Api(a).post("/api/users/mina/revoke", {"all": True})

    short = await Api(a, key=long).post("/demo/token")
    mine = await Api(a, key=long).get("/demo/bookings")

    assert [(401, "token_revoked")] * 2 == [(r.status, r.json["error"]["code"]) for r in (short, mine)]


async def test_a_server_is_killed_by_name_and_by_leave_only(servers: Servers, connect: Connect) -> None:
    """Without the option there is no such call; with it a token is needed, and the right name."""
    safe, mortal = (*servers(demo="true"), *servers(demo="true", demo_kill="true"))
    mina = await sign_in(mortal, "mina")
    client = await connect(mortal, user="mina")
    order = {"instance": client.connected["instance"]}
    asked = Api(mortal, key=mina)

    assert 404 == (await Api(safe, key=mina).post("/demo/kill", order)).status
    assert [{"kill": False}, {"kill": True}] == [
        (await Api(server, key=None).get("/demo")).json for server in (safe, mortal)
    ]
    assert 401 == (await Api(mortal, key=None).post("/demo/kill", order)).status
    assert 409 == (await asked.post("/demo/kill", {"instance": "i-another"})).status
    assert mortal.is_running

    assert 202 == (await asked.post("/demo/kill", order)).status
    await eventually(lambda: not mortal.is_running, "it is dead", 30)
    await client.closed(30)


@pytest.mark.parametrize("path", ["/demo", "/demo/bookings", "/demo/token", "/demo/kill"])
async def test_elsewhere_there_is_nothing_of_it(servers: Servers, path: str) -> None:
    """A server that is no demo answers as if it had never heard of it."""
    (a,) = servers(demo="false")

    answer = await Api(a, key=token("mina"))("POST" if path[6:] in {"token", "kill"} else "GET", path)

    assert 404 == answer.status
