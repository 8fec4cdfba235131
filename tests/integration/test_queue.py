"""The waiting room over real servers: places, admissions, who is told what, and who is away."""

import time
from typing import Any

import jwt
import pytest

from session import keys, ticker
from session.config import parse
from session.events import EventDraft
from session.lobby import SETTLE_SECONDS
from tests.conftest import Connect, Servers
from tests.support.api import Answer, Api
from tests.support.client import Client, Frame
from tests.support.parts import Server, Tab
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET
from tests.support.waiting import eventually

EVENT = "42"
ROOM = f"queue:{EVENT}"


async def put(server: ServerProcess, **settings: Any) -> None:
    """Create an event with a waiting room, or change it."""
    body = {"title": "A concert", "seats": ["A-1", "A-2", "A-3"], "capacity": 1, **settings}
    answer = await Api(server).put(f"/api/events/{EVENT}", body)
    assert answer.status in {200, 201}, answer


async def order(server: ServerProcess, body: dict[str, Any], user: str = "") -> Answer:
    """What the back end says about the line, or about one user in it."""
    return await Api(server).post(f"/api/events/{EVENT}/queue{'/' if user else ''}{user}", body)


async def stats(server: ServerProcess) -> dict[str, Any]:
    figures: dict[str, Any] = (await Api(server).get(f"/api/events/{EVENT}/stats")).json
    return figures


async def join(client: Client) -> Frame:
    return await client.do("join-queue", eventId=EVENT)


async def in_line(connect: Connect, server: ServerProcess, *users: str) -> list[Client]:
    """Clients who have joined in this order."""
    clients = [await connect(server, user=user) for user in users]
    for client in clients:
        await join(client)
    return clients


async def test_who_comes_first_is_in_and_the_others_wait(servers: Servers, connect: Connect) -> None:
    """At once where nobody waits and there is room; then by the order in which Redis saw the joins."""
    a, b = servers(2)
    await put(a)
    mina, noah, jun = [await connect(s, user=u) for s, u in ((a, "mina"), (b, "noah"), (a, "jun"))]

    first, second, third = [await join(client) for client in (mina, noah, jun)]

    assert ("admitted", None) == (first["status"], first["expiresAt"])
    assert "position" not in first
    assert ("waiting", 1, 1, None) == tuple(second[k] for k in ("status", "position", "total", "etaSeconds"))
    assert ("waiting", 2, 2, None) == tuple(third[k] for k in ("status", "position", "total", "etaSeconds"))
    assert (ROOM, 0) == (third["room"], third["offset"])
    assert {"waiting": 2, "admitted": 1} == {k: (await stats(b))[k] for k in ("waiting", "admitted")}


async def test_a_user_has_one_place_whatever_it_comes_with(servers: Servers, connect: Connect) -> None:
    """Another tab, another device on another server: the same place; it also learns of it without asking."""
    a, b = servers(2)
    await put(a)
    _, noah, jun = await in_line(connect, a, "mina", "noah", "jun")
    tab = await connect(b, user="noah")
    await tab.expect("session-restored")

    again = await join(tab)
    other = await connect(b, user="late")
    elsewhere = await connect(a, user="late")
    await join(elsewhere)
    told = await other.expect("queue-updated")

    assert ("waiting", 1, 2) == (again["status"], again["position"], again["total"])
    assert (EVENT, 3, 3) == (told["eventId"], told["position"], told["total"])
    assert 3 == (await stats(a))["waiting"]
    assert noah.is_open
    assert jun.is_open


async def test_whose_turn_it_is_is_told_alone_and_on_every_connection(
    servers: Servers, connect: Connect
) -> None:
    """The next one is let in when one leaves; the others move up; nobody learns who it was."""
    a, b = servers(2)
    await put(a)
    mina, noah, jun = await in_line(connect, a, "mina", "noah-who", "jun")
    tab = await connect(b, user="noah-who")
    await tab.expect("session-restored")

    left = await mina.do("leave-queue", eventId=EVENT)
    allowed = [await client.expect("queue-entry-allowed") for client in (noah, tab)]
    moved = await jun.expect("queue-updated")

    assert {"type": "queue-left", "eventId": EVENT, "id": left["id"]} == left
    assert [EVENT, EVENT] == [frame["eventId"] for frame in allowed]
    assert [None, None] == [frame["expiresAt"] for frame in allowed]
    assert (1, 1, 3) == (moved["position"], moved["total"], moved["available"])
    assert not [frame for frame in (*mina.frames, *jun.frames) if "noah-who" in str(frame)]
    assert 1 == len([frame for frame in noah.frames if frame["type"] == "queue-entry-allowed"])
    assert "not_joined" == (await mina.call("leave-queue", eventId=EVENT))["code"]


async def test_only_who_was_let_in_can_hold(servers: Servers, connect: Connect) -> None:
    """By each of the two ways; when the admission is given up, that is over, and the hold stays."""
    (a,) = servers(1)
    await put(a)
    mina, noah = await in_line(connect, a, "mina", "noah")

    refusals = [
        await noah.call("hold-seats", eventId=EVENT, seats=["A-1"]),
        await noah.call("hold-best", eventId=EVENT, count=1),
    ]
    held = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    await mina.do("leave-queue", eventId=EVENT)
    more = await mina.call("hold-seats", eventId=EVENT, seats=["A-2"])
    sold = await Api(a).post(f"/api/events/{EVENT}/bookings", {"userId": "mina", "seats": ["A-1"]})

    assert ["not_admitted", "not_admitted"] == [error["code"] for error in refusals]
    assert ["A-1"] == held["held"]
    assert ("not_admitted", 201) == (more["code"], sold.status)


async def test_before_the_start_users_queue_and_nobody_is_let_in(servers: Servers, connect: Connect) -> None:
    """Nothing can be held either; when the moment has come, the first are let in by themselves."""
    (a,) = servers(1)
    soon = int(time.time() * 1000) + 4000
    await put(a, startsAt=soon)
    mina, noah = await connect(a, user="mina"), await connect(a, user="noah")

    waiting = await join(mina)
    errors = [
        await mina.call("hold-seats", eventId=EVENT, seats=["A-1"]),
        await mina.call("hold-best", eventId=EVENT, count=1),
    ]
    early = await order(a, {"action": "admit"}, "mina")
    allowed = await mina.expect("queue-entry-allowed")
    second = await join(noah)

    assert ("waiting", 1) == (waiting["status"], waiting["position"])
    assert [("not_open", soon)] * 2 == [(e["code"], e["details"]["startsAt"]) for e in errors]
    assert (409, "not_open") == (early.status, early.json["error"]["code"])
    assert allowed["eventId"] == EVENT
    assert ("waiting", 1) == (second["status"], second["position"])


async def test_a_pass_says_who_was_let_in_and_is_no_sign_in(servers: Servers, connect: Connect) -> None:
    """Ten minutes, a purpose of its own and no audience; nobody signs in with it."""
    (a,) = servers(1)
    await put(a)
    (mina,) = await in_line(connect, a, "mina")
    answer = await join(mina)

    claims = jwt.decode(answer["pass"], SECRET, algorithms=["HS256"])
    thief = await connect(a, token=answer["pass"], wait=False)

    assert ("mina", EVENT, "entry") == (claims["sub"], claims["eventId"], claims["purpose"])
    assert 590 <= claims["exp"] - claims["iat"] <= 600
    assert (3000, "token_invalid") == await thief.closed()


async def test_a_pass_ends_with_the_admission(servers: Servers, connect: Connect) -> None:
    """If that is sooner than ten minutes; `join-queue` renews it."""
    (a,) = servers(1)
    await put(a, admissionSeconds=60)
    mina = await connect(a, user="mina")
    answer = await join(mina)
    again = await join(mina)

    claims = jwt.decode(answer["pass"], SECRET, algorithms=["HS256"])

    assert claims["exp"] == answer["expiresAt"] // 1000
    assert answer["expiresAt"] == again["expiresAt"]
    assert 55_000 < answer["expiresAt"] - mina.connected["serverTime"] < 65_000


async def test_the_last_one_is_told_a_total_that_fits(
    valkey: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind whom nobody stands, position and total are the same: also where the last look at the event is
    older than what has happened since, as it is where another server has let somebody in."""
    monkeypatch.setattr(ticker, "TICK_SECONDS", 1000.0)
    server = await Server.start(parse([f"--jwt-secret={SECRET}"], {}), valkey.url)
    await server.services.events.put(EVENT, EventDraft(title="A", capacity=1))
    _, head, _, last = tabs = [Tab(server, user) for user in "abcd"]
    for tab in tabs:
        await tab.sign_in()
        await tab.call("join-queue", eventId=EVENT)
    await server.services.ticker._look_at(EVENT)
    await head.call("leave-queue", eventId=EVENT)
    told = await eventually(
        lambda: [(f["position"], f["total"]) for f in last.heard if f["type"] == "queue-updated"],
        "it is told that it has moved",
    )
    await server.stop()

    assert [(2, 2)] == told


async def test_a_head_that_is_away_neither_blocks_nor_loses_its_place(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """It is passed over, still counts for the others, and is next when it is back."""
    a, b = servers(2)
    await put(a)
    mina, noah, jun, yuna = await in_line(connect, a, "mina", "noah", "jun", "yuna")
    await noah.drop()
    await eventually(lambda: valkey.client.zscore(keys.sale(EVENT).absent, "noah"), "noah is absent")

    await mina.do("leave-queue", eventId=EVENT)
    await jun.expect("queue-entry-allowed")
    moved = await yuna.expect("queue-updated")
    back = await connect(b, user="noah")
    restored = await back.expect("session-restored")
    await jun.do("leave-queue", eventId=EVENT)
    await back.expect("queue-entry-allowed")

    assert (2, 2) == (moved["position"], moved["total"])
    expected = {"eventId": EVENT, "status": "waiting", "position": 1, "total": 2, "etaSeconds": None}
    assert expected == {**restored["queue"], "etaSeconds": None}
    assert EVENT == restored["session"]["queueEventId"]
    assert ROOM in [room["room"] for room in restored["rooms"]]


async def test_when_the_grace_is_over_the_place_is_gone(servers: Servers, connect: Connect) -> None:
    """The others move up, and who comes back has no place, and is not in the room."""
    (a,) = servers(1, queue_grace=1)
    await put(a)
    _, noah, jun = await in_line(connect, a, "mina", "noah", "jun")
    await noah.drop()

    moved = await jun.expect("queue-updated")
    back = await connect(a, user="noah", before=noah)
    restored = await back.expect("session-restored")
    anew = await join(back)

    assert 1 == moved["position"]
    assert (None, None) == (restored["queue"], restored["session"]["queueEventId"])
    assert "forbidden" == next(room for room in restored["rooms"] if room["room"] == ROOM)["error"]
    assert ("waiting", 2) == (anew["status"], anew["position"])


async def test_an_admission_survives_a_drop_for_its_grace(servers: Servers, connect: Connect) -> None:
    """Back in time, it stands; afterwards the place is the next one's."""
    (a,) = servers(1, entry_grace=3)
    await put(a)
    mina, noah = await in_line(connect, a, "mina", "noah")
    await mina.drop()
    back = await connect(a, user="mina")
    restored = await back.expect("session-restored")
    held = await back.do("hold-seats", eventId=EVENT, seats=["A-1"])
    await back.drop()

    await noah.expect("queue-entry-allowed")
    late = await connect(a, user="mina")
    again = await late.expect("session-restored")

    assert ("admitted", None) == (restored["queue"]["status"], restored["queue"]["expiresAt"])
    assert restored["queue"]["pass"]
    assert "position" not in restored["queue"]
    assert (None, held["held"]) == (again["queue"], again["seats"]["held"])


async def test_an_admission_ends_at_its_time(servers: Servers, connect: Connect) -> None:
    """Though the user is there: it is told, the next one is let in, the hold stays and can be booked."""
    a, b = servers(2)
    await put(a, admissionSeconds=4)
    mina, noah = await in_line(connect, a, "mina", "noah")
    tab = await connect(b, user="mina")
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])

    ended = [await client.expect("queue-left") for client in (mina, tab)]
    allowed = await noah.expect("queue-entry-allowed")
    more = await mina.call("hold-seats", eventId=EVENT, seats=["A-2"])
    sold = await Api(a).post(f"/api/events/{EVENT}/bookings", {"userId": "mina", "seats": ["A-1"]})
    anew = await join(mina)

    assert [(EVENT, "expired")] * 2 == [(frame["eventId"], frame["reason"]) for frame in ended]
    assert allowed["expiresAt"] > mina.connected["serverTime"] + 2000
    assert ("not_admitted", 201) == (more["code"], sold.status)
    assert ("waiting", 1) == (anew["status"], anew["position"])


async def test_a_paused_line_lets_nobody_in(servers: Servers, connect: Connect) -> None:
    """It still moves up by who leaves; how long it takes is unknown; when it goes on, the next is let in."""
    a, b = servers(2)
    await put(a)
    mina, noah, jun = await in_line(connect, a, "mina", "noah", "jun")

    paused = await order(b, {"paused": True})
    await mina.do("leave-queue", eventId=EVENT)
    figures = await stats(a)
    await noah.do("leave-queue", eventId=EVENT)
    moved = await jun.expect("queue-updated")
    resumed = await order(a, {"paused": False})
    await jun.expect("queue-entry-allowed")

    assert (200, {"eventId": EVENT, "paused": True}) == (paused.status, paused.json)
    assert (True, 2, 0) == (figures["paused"], figures["waiting"], figures["admitted"])
    assert (1, None) == (moved["position"], moved["etaSeconds"])
    assert resumed.status == 200
    assert not (await stats(a))["paused"]


async def test_the_back_end_lets_one_in_or_takes_one_out(servers: Servers, connect: Connect) -> None:
    """Within the capacity; who is not there is not found; who is taken out is told."""
    a, b = servers(2)
    await put(a, capacity=2)
    await order(a, {"paused": True})
    mina, noah, jun = await in_line(connect, b, "mina", "noah", "jun")

    admitted = await order(a, {"action": "admit"}, "jun")
    await jun.expect("queue-entry-allowed")
    again = await order(a, {"action": "admit"}, "jun")
    second = await order(a, {"action": "admit"}, "noah")
    full = await order(a, {"action": "admit"}, "mina")
    removed = await order(a, {"action": "remove"}, "mina")
    left = await mina.expect("queue-left")
    out = await order(a, {"action": "remove"}, "jun")
    ended = await jun.expect("queue-left")
    missing = [await order(a, {"action": action}, "nobody") for action in ("admit", "remove")]
    bad = await order(a, {"action": "promote"}, "mina")

    assert [200, 200, 200, 409] == [answer.status for answer in (admitted, again, second, full)]
    assert [200, 200, 404, 404, 422] == [answer.status for answer in (removed, out, *missing, bad)]
    assert ["removed", "removed"] == [left["reason"], ended["reason"]]
    assert noah.is_open


async def test_announcements_reach_the_line_and_nobody_else(servers: Servers, connect: Connect) -> None:
    """Whoever is in the line is in its room; who has left, or never was there, is not."""
    a, b = servers(2)
    await put(a)
    mina, noah = await in_line(connect, a, "mina", "noah")
    outsider = await connect(b, user="jun", resume={ROOM: {"epoch": "x", "offset": 0}})
    restored = await outsider.expect("session-restored")

    await Api(b).publish(ROOM, "doors open")
    heard = [await client.expect_messages(ROOM, 1) for client in (mina, noah)]
    await noah.do("leave-queue", eventId=EVENT)
    await Api(b).publish(ROOM, "second")
    await mina.expect_messages(ROOM, 1)
    await noah.do("ping")

    assert [["doors open"]] * 2 == heard
    assert {"forbidden"} == {room["error"] for room in restored["rooms"] if room["room"] == ROOM}
    assert ["doors open"] == noah.messages(ROOM)
    assert [] == outsider.messages(ROOM)
    noah.assert_contiguous()
    mina.assert_contiguous()


async def test_the_time_told_comes_from_the_measured_rate(servers: Servers, connect: Connect) -> None:
    """Two a second for a while: who is tenth is told about five seconds; when nobody is let in, nothing."""
    (a,) = servers(1)
    await put(a, capacity=1000, admitPerSecond=2)
    line = await in_line(connect, a, *(f"user-{n}" for n in range(24)))
    last = line[-1]

    # the figure is of several seconds: wait until a good part has been let in
    await line[14].expect("queue-entry-allowed", 20)
    told = [frame for frame in last.frames if frame["type"] == "queue-updated"][-1]
    await order(a, {"paused": True})
    await last.expect("queue-updated", etaSeconds=None)

    assert told["position"] / 4 <= told["etaSeconds"] <= told["position"]
    positions = [f["position"] for f in last.frames if f["type"] in {"queue-updated", "queue-joined"}]
    assert sorted(positions, reverse=True) == positions


async def test_without_a_waiting_room_there_is_no_line(servers: Servers, connect: Connect) -> None:
    """It is not found; taken away from an event, who waits is told, and may hold at once."""
    (a,) = servers(1)
    await put(a)
    mina, noah = await in_line(connect, a, "mina", "noah")
    await put(a, capacity=None)

    closed = [await client.expect("queue-left") for client in (mina, noah)]
    answers = [await noah.call("join-queue", eventId=EVENT), await noah.call("leave-queue", eventId=EVENT)]
    held = await noah.do("hold-seats", eventId=EVENT, seats=["A-1"])
    paused = await order(a, {"paused": True})

    assert ["closed", "closed"] == [frame["reason"] for frame in closed]
    assert ["not_found", "not_joined"] == [answer["code"] for answer in answers]
    assert (["A-1"], 404) == (held["held"], paused.status)


async def test_a_deleted_event_ends_its_line(servers: Servers, connect: Connect) -> None:
    """Everyone in it is told; created anew, it begins with an empty line."""
    a, b = servers(2)
    await put(a)
    mina, noah = await in_line(connect, b, "mina", "noah")

    gone = await Api(a).delete(f"/api/events/{EVENT}")
    # one look is enough where there is no line any more
    await mina.expect("queue-left", 1.8 * SETTLE_SECONDS)
    await noah.expect("queue-left")
    await put(a)
    first = await join(noah)

    assert (204, "admitted") == (gone.status, first["status"])


async def test_a_deleted_event_ends_a_line_that_never_moved(servers: Servers, connect: Connect) -> None:
    """Before the sale begins nothing has been said in it: all the same everyone is told."""
    (a,) = servers(1)
    await put(a, startsAt=int(time.time() * 1000) + 3_600_000)
    mina, noah = await in_line(connect, a, "mina", "noah")

    await Api(a).delete(f"/api/events/{EVENT}")

    for client in (mina, noah):
        await client.expect("queue-left")


async def test_who_leaves_a_line_that_never_was_is_not_in_it(servers: Servers, connect: Connect) -> None:
    """Leaving what was not joined is `not_joined`, whether there is such an event or not."""
    (a,) = servers(1)
    mina = await connect(a, user="mina")

    answer = await mina.call("leave-queue", eventId="nowhere")

    assert "not_joined" == answer["code"]


async def test_a_user_stands_in_sixteen_lines_and_no_more(servers: Servers, connect: Connect) -> None:
    """The seventeenth is refused, no place is lost; lines that lead to nothing make room."""
    (a,) = servers(1)
    events = [f"e{n}" for n in range(17)]
    for event in events:
        await Api(a).put(f"/api/events/{event}", {"title": event, "capacity": 5})
    mina = await connect(a, user="mina")
    for event in events[:16]:
        await mina.do("join-queue", eventId=event)

    refused = await mina.call("join-queue", eventId=events[16])
    await Api(a).delete(f"/api/events/{events[3]}")
    accepted = await mina.do("join-queue", eventId=events[16])
    await mina.drop()
    back = await connect(a, user="mina", resume={})
    restored = await back.expect("session-restored")
    others = [await back.expect("queue-entry-allowed") for _ in range(15)]

    assert ("too_many_rooms", "admitted") == (refused["code"], accepted["status"])
    told = {restored["queue"]["eventId"], *(frame["eventId"] for frame in others)}
    assert {*events} - {events[3]} == told


async def test_capacity_can_grow_and_shrink(servers: Servers, connect: Connect) -> None:
    """More room lets the next in at once; less puts nobody out, and lets nobody in until there is room."""
    (a,) = servers(1)
    await put(a)
    mina, noah, jun = await in_line(connect, a, "mina", "noah", "jun")

    await put(a, capacity=2)
    await noah.expect("queue-entry-allowed")
    await put(a, capacity=1)
    await mina.do("leave-queue", eventId=EVENT)
    figures = await stats(a)
    await noah.do("leave-queue", eventId=EVENT)
    await jun.expect("queue-entry-allowed")

    assert (1, 1) == (figures["waiting"], figures["admitted"])


@pytest.mark.parametrize(
    ("command", "fields"), [("join-queue", {}), ("join-queue", {"eventId": "a b"}), ("leave-queue", {})]
)
async def test_bad_input_gets_a_clear_error(
    command: str, fields: dict[str, Any], servers: Servers, connect: Connect
) -> None:
    """It says which field, and why."""
    (a,) = servers(1)
    mina = await connect(a, user="mina")

    error = await mina.call(command, **fields)

    assert ("error", "bad_message") == (error["type"], error["code"])
    assert "eventId" in error["message"]
