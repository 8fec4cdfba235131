"""Seats over real servers: hold, extend, release, expire, book, refund, and what everyone sees of it."""

import asyncio
from typing import Any

import pytest

from session import keys
from tests.conftest import Connect, Servers
from tests.support.api import Answer, Api
from tests.support.client import Client
from tests.support.sale import assert_agreement, holds
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT = "42"
ROOM = f"seats:{EVENT}"
SEATS = [f"{row}-{n}" for row in "ABC" for n in range(1, 7)]


async def put(server: ServerProcess, **settings: Any) -> Answer:
    """Create an event, or change it."""
    answer = await Api(server).put(
        f"/api/events/{EVENT}", {"title": "A concert", "seats": SEATS, "holdSeconds": 60, **settings}
    )
    assert answer.status in {200, 201}, answer
    return answer


async def book(server: ServerProcess, user: str, seats: list[str], **headers: str) -> Answer:
    """Sell what a user holds."""
    return await Api(server).post(
        f"/api/events/{EVENT}/bookings", {"userId": user, "seats": seats}, **headers
    )


async def refused(client: Client, command: str, **fields: Any) -> dict[str, Any]:
    """The error with which a command is answered."""
    answer = await client.call(command, eventId=EVENT, **fields)
    assert answer["type"] == "error", answer
    return answer


async def test_a_hold_is_seen_by_all_and_its_holder_known_to_nobody(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """The answer at once, the room's frame on every server; no frame to others names the user."""
    a, b = servers(2)
    await put(a)
    mina, noah = await connect(a, user="mina-who"), await connect(b, user="noah")
    joined = await noah.do("join-seats", eventId=EVENT)

    held = await mina.do("hold-seats", eventId=EVENT, seats=["A-2", "A-1"])
    seen = await noah.expect("seats-updated")

    assert {"total": 18, "held": [], "sold": []} == joined["snapshot"]
    assert ([], None, 0) == (joined["held"], joined["holdExpiresAt"], joined["offset"])
    assert ["A-1", "A-2"] == held["held"]
    assert 55_000 < held["holdExpiresAt"] - mina.connected["serverTime"] < 65_000
    assert (1, EVENT, {"A-1": "held", "A-2": "held"}) == (seen["offset"], seen["eventId"], seen["seats"])
    assert not [frame for frame in noah.frames if "mina-who" in str(frame)]
    await assert_agreement(valkey.client, connect, b, EVENT, noah)


async def test_a_hold_is_all_or_nothing(servers: Servers, connect: Connect, valkey: StoreProcess) -> None:
    """One seat taken means none is held, and the error names all that are."""
    a, b = servers(2)
    await put(a)
    mina, noah = await connect(a, user="mina"), await connect(b, user="noah")
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])

    error = await refused(noah, "hold-seats", seats=["A-3", "A-2", "A-1"])

    assert "seat_unavailable" == error["code"]
    assert ["A-1", "A-2"] == sorted(error["details"]["seats"])
    assert {"mina"} == holds(valkey.client, EVENT).keys()
    again = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    assert ["A-1", "A-2"] == again["held"]
    await assert_agreement(valkey.client, connect, b, EVENT)


async def test_more_seats_do_not_lengthen_a_hold(servers: Servers, connect: Connect) -> None:
    """It lasts from the first seat; when all are given back, it begins anew."""
    (a,) = servers(1)
    await put(a)
    mina = await connect(a, user="mina")

    first = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    second = await mina.do("hold-seats", eventId=EVENT, seats=["A-1", "B-1"])
    rest = await mina.do("release-seats", eventId=EVENT, seats=["A-1"])
    none = await mina.do("release-seats", eventId=EVENT)
    anew = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])

    assert first["holdExpiresAt"] == second["holdExpiresAt"] == rest["holdExpiresAt"]
    assert ["A-1", "B-1"] == second["held"]
    assert (["B-1"], []) == (rest["held"], none["held"])
    assert none["holdExpiresAt"] is None
    assert anew["holdExpiresAt"] > first["holdExpiresAt"]


async def test_asking_again_for_what_one_holds_is_no_error(servers: Servers, connect: Connect) -> None:
    """Nor where fewer may be held by now, or the admission is over: it holds nothing more."""
    (a,) = servers(1)
    await put(a, capacity=1)
    mina = await connect(a, user="mina")
    await mina.do("join-queue", eventId=EVENT)
    first = await mina.do("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    await put(a, capacity=1, maxSeats=1)
    await mina.do("leave-queue", eventId=EVENT)

    again = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    more = await refused(mina, "hold-seats", seats=["A-1", "A-3"])

    assert (["A-1", "A-2"], first["holdExpiresAt"]) == (again["held"], again["holdExpiresAt"])
    assert "not_admitted" == more["code"]


@pytest.mark.parametrize(
    ("command", "fields", "code"),
    [
        ("hold-seats", {"seats": ["A-1", "Z-9"]}, "unknown_seat"),
        ("hold-seats", {"seats": []}, "bad_message"),
        ("hold-seats", {"seats": ["A 1"]}, "bad_message"),
        ("hold-seats", {"seats": "A-1"}, "bad_message"),
        ("hold-seats", {"seats": ["A-1", "A-2", "A-3", "A-4", "A-5"]}, "too_many_seats"),
        ("hold-best", {"count": 0}, "bad_message"),
        ("hold-best", {"count": 5}, "too_many_seats"),
        ("hold-best", {"count": 1, "section": "Z"}, "unknown_seat"),
        ("release-seats", {"seats": ["Z-9"]}, "unknown_seat"),
        ("extend-hold", {}, "not_found"),
        ("leave-seats", {}, "not_joined"),
    ],
)
async def test_bad_input_gets_a_clear_error_and_changes_nothing(
    command: str, fields: dict[str, Any], code: str, servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Each refusal by its code; nothing is held, nothing is told, the session is as it was."""
    (a,) = servers(1)
    await put(a)
    mina, noah = await connect(a, user="mina"), await connect(a, user="noah")
    await noah.do("join-seats", eventId=EVENT)

    error = await refused(mina, command, **fields)

    assert code == error["code"]
    assert {} == holds(valkey.client, EVENT)
    user = (await Api(a).get("/api/users/mina")).json
    assert user["session"] is None or user["session"]["seatEventId"] is None
    await assert_agreement(valkey.client, connect, a, EVENT, noah)
    assert not [frame for frame in noah.frames if frame["type"] == "seats-updated"]


@pytest.mark.parametrize(
    "command", ["join-seats", "hold-seats", "hold-best", "extend-hold", "release-seats", "join-queue"]
)
async def test_an_event_that_was_not_created_is_not_found(
    command: str, servers: Servers, connect: Connect
) -> None:
    """Only rooms exist by use; seats and lines need their event."""
    (a,) = servers(1)
    mina = await connect(a, user="mina")
    fields = {"hold-seats": {"seats": ["A-1"]}, "hold-best": {"count": 1}}.get(command, {})

    error = await refused(mina, command, **fields)

    assert "not_found" == error["code"]


async def test_extending_is_cut_at_the_longest_time(servers: Servers, connect: Connect) -> None:
    """Once more from now, at most twice the time after the first seat; then it says so."""
    (a,) = servers(1)
    await put(a, holdSeconds=5, maxHoldSeconds=5.1)
    mina = await connect(a, user="mina")
    first = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])

    answers: list[dict[str, Any]] = []

    async def at_its_longest() -> bool:
        answers.append(await mina.call("extend-hold", eventId=EVENT))
        return answers[-1]["type"] == "error"

    await eventually(at_its_longest, "the hold is as long as it may be")

    ends = [first["holdExpiresAt"], *(answer["holdExpiresAt"] for answer in answers[:-1])]
    assert sorted(ends) == ends
    assert first["holdExpiresAt"] + 100 == ends[-1]
    assert "hold_limit" == answers[-1]["code"]


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "its server killed"])
async def test_a_hold_that_is_over_is_told(
    killed: bool, servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """To the user on each of its connections, and to the room; also when the server that made it is dead."""
    a, b = servers(2)
    await put(a, holdSeconds=4)
    mina, other_tab = await connect(a, user="mina"), await connect(b, user="mina")
    noah = await connect(b, user="noah")
    await noah.do("join-seats", eventId=EVENT)
    await other_tab.do("join-event", eventId=EVENT)
    held = await mina.do("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    await noah.expect("seats-updated", seats={"A-1": "held", "A-2": "held"})
    if killed:
        a.kill()

    expired = await other_tab.expect("seats-expired")
    freed = await noah.expect("seats-updated")

    assert (EVENT, ["A-1", "A-2"]) == (expired["eventId"], expired["seats"])
    assert {"A-1": "available", "A-2": "available"} == freed["seats"]
    if not killed:
        await mina.expect("seats-expired")
        now = (await mina.do("ping"))["serverTime"]
        assert now - held["holdExpiresAt"] < 2500
    assert not [frame for frame in noah.frames if frame["type"] == "seats-expired"]
    await assert_agreement(valkey.client, connect, b, EVENT, noah)


async def test_who_comes_back_has_the_same_seats(servers: Servers, connect: Connect) -> None:
    """Held seats and the deadline are read from the truth, on any server; what is over is not there."""
    a, b = servers(2)
    await put(a)
    mina = await connect(a, user="mina")
    await mina.do("join-seats", eventId=EVENT)
    held = await mina.do("hold-seats", eventId=EVENT, seats=["B-1", "B-2"])
    await mina.expect("seats-updated")
    await mina.drop()

    back = await connect(b, user="mina", before=mina)
    restored = await back.expect("session-restored")

    assert {"eventId": EVENT, "held": ["B-1", "B-2"], "holdExpiresAt": held["holdExpiresAt"]} == restored[
        "seats"
    ]
    assert (EVENT, ["B-1", "B-2"]) == (
        restored["session"]["seatEventId"], restored["session"]["selectedSeats"],
    )  # fmt: skip
    room = next(room for room in restored["rooms"] if room["room"] == ROOM)
    assert (True, 0) == (room["recovered"], room["missed"])
    assert (await Api(a).get("/api/users/mina")).json["session"]["selectedSeats"] == ["B-1", "B-2"]


async def test_missed_deltas_follow_and_without_a_position_a_snapshot(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Who resumes gets what it missed; who says nothing gets the state at exactly the offset it is told."""
    a, b = servers(2)
    await put(a)
    watcher, mina = await connect(a, user="watcher"), await connect(b, user="mina")
    await watcher.do("join-seats", eventId=EVENT)
    await watcher.drop()
    await mina.do("join-seats", eventId=EVENT)
    for seat in ("A-1", "B-1", "C-1"):
        await mina.do("hold-seats", eventId=EVENT, seats=[seat])
        await mina.expect("seats-updated", seats={seat: "held"})

    resumed = await connect(b, user="watcher", before=watcher)
    restored = await resumed.expect("session-restored")
    plain = await connect(a, user="watcher")
    told = await plain.expect("session-restored")
    snapshot = await plain.expect("seats-snapshot")
    since = {"epoch": watcher.positions[ROOM].epoch, "offset": 1}
    joined = await plain.do("join-seats", eventId=EVENT, since=since)

    room = next(room for room in restored["rooms"] if room["room"] == ROOM)
    assert (True, 3, 3) == (room["recovered"], room["missed"], room["offset"])
    plain_room = next(room for room in told["rooms"] if room["room"] == ROOM)
    assert (False, 0, snapshot["offset"]) == (
        plain_room["recovered"], plain_room["missed"], plain_room["offset"],
    )  # fmt: skip
    kinds = [f["type"] for f in plain.frames if f.get("room") == ROOM]
    assert kinds[0] == "seats-snapshot"
    assert (True, 2, 3) == (joined["recovered"], joined["missed"], joined["offset"])
    assert ["A-1", "B-1", "C-1"] == joined["snapshot"]["held"]
    await assert_agreement(valkey.client, connect, b, EVENT, resumed, plain, mina)


async def test_joining_again_gives_the_state_at_the_offset_that_it_names(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """A second join on the same connection, in the middle of changes, harms nothing."""
    (a,) = servers(1)
    await put(a, maxSeats=18)
    watcher, mina = await connect(a, user="watcher"), await connect(a, user="mina")
    await watcher.do("join-seats", eventId=EVENT)
    for seat in SEATS:
        await mina.do("hold-seats", eventId=EVENT, seats=[seat])
        await watcher.do("join-seats", eventId=EVENT)

    await assert_agreement(valkey.client, connect, a, EVENT, watcher)


async def test_a_booking_is_all_or_nothing_and_repeats_its_answer(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Sold only by the holder; the same key brings the first answer, in the same order, whatever it asks."""
    a, b = servers(2)
    await put(a)
    mina, noah = await connect(a, user="mina"), await connect(b, user="noah")
    await noah.do("join-seats", eventId=EVENT)
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1", "A-2", "A-3"])

    stolen = await book(b, "noah", ["A-1"])
    half = await book(b, "mina", ["A-1", "B-1"])
    sold = await book(b, "mina", ["A-2", "A-1"], Idempotency_Key="order-7")
    again = await book(a, "mina", ["A-1", "A-2"], Idempotency_Key="order-7")
    twice = await book(a, "mina", ["A-1"])

    assert (409, ["A-1"]) == (stolen.status, stolen.json["error"]["details"]["seats"])
    assert (409, ["B-1"]) == (half.status, half.json["error"]["details"]["seats"])
    assert (201, ["A-2", "A-1"], None) == (sold.status, sold.json["seats"], sold.json["replicated"])
    assert (201, sold.json) == (again.status, again.json)
    assert 409 == twice.status
    rest = await mina.do("release-seats", eventId=EVENT, seats=["A-1"])
    assert ["A-3"] == rest["held"]
    error = await refused(noah, "hold-seats", seats=["A-1"])
    assert "seat_unavailable" == error["code"]
    await noah.expect("seats-updated", seats={"A-1": "sold", "A-2": "sold"})
    await assert_agreement(valkey.client, connect, b, EVENT, noah)


async def test_a_hold_that_is_over_cannot_be_booked(servers: Servers, connect: Connect) -> None:
    """Redis's clock decides in the same script, whether or not a sweep has been by."""
    (a,) = servers(1)
    await put(a, holdSeconds=1)
    mina = await connect(a, user="mina")
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    await mina.expect("seats-expired")

    late = await book(a, "mina", ["A-1"])

    assert (409, "seat_unavailable") == (late.status, late.json["error"]["code"])


async def test_refunded_seats_are_free_again(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """All or nothing; a seat that is free already is no error, one that is held is."""
    (a,) = servers(1)
    await put(a)
    mina = await connect(a, user="mina")
    await mina.do("join-seats", eventId=EVENT)
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    await book(a, "mina", ["A-1"])
    path = f"/api/events/{EVENT}/bookings"

    held = await Api(a).delete(path, {"seats": ["A-1", "A-2"]})
    unknown = await Api(a).delete(path, {"seats": ["Z-1"]})
    done = await Api(a).delete(path, {"seats": ["A-1"]})
    again = await Api(a).delete(path, {"seats": ["A-1"]})

    assert (409, ["A-2"]) == (held.status, held.json["error"]["details"]["seats"])
    assert 422 == unknown.status
    assert (200, 200) == (done.status, again.status)
    stats = (await Api(a).get(f"/api/events/{EVENT}/stats")).json
    assert (1, 0, 17) == (stats["held"], stats["sold"], stats["available"])
    await assert_agreement(valkey.client, connect, a, EVENT, mina)


async def test_the_back_end_lengthens_and_ends_a_hold(servers: Servers, connect: Connect) -> None:
    """The user's connections are told; where nothing is held, that is a conflict."""
    (a,) = servers(1)
    await put(a, holdSeconds=30, maxHoldSeconds=31)
    mina = await connect(a, user="mina")
    await mina.do("join-event", eventId=EVENT)
    held = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    path = f"/api/events/{EVENT}/holds/mina"
    api = Api(a)

    async def extended() -> bool:
        return (await api.post(path, {"action": "extend"})).status == 409

    longer = await api.post(path, {"action": "extend"})
    await eventually(extended, "the hold is as long as it may be")
    limit = await api.post(path, {"action": "extend"})
    told = await mina.expect("seats-held")
    ended = await api.post(path, {"action": "release"})
    none = [await api.post(path, {"action": action}) for action in ("release", "extend")]
    bad = await api.post(path, {"action": "steal"})

    assert (200, ["A-1"]) == (longer.status, longer.json["held"])
    assert longer.json["holdExpiresAt"] >= held["holdExpiresAt"]
    assert (409, "hold_limit") == (limit.status, limit.json["error"]["code"])
    assert "id" not in told
    assert (200, {"held": [], "holdExpiresAt": None}) == (ended.status, ended.json)
    assert [409, 409] == [answer.status for answer in none]
    assert 422 == bad.status
    await mina.expect("seats-held", held=[])


async def test_the_best_seats_are_side_by_side(servers: Servers, connect: Connect) -> None:
    """The best row first, leaving no single seat where it can; others only where there are none such."""
    (a,) = servers(1)
    await put(a, maxSeats=6)
    clients = [await connect(a, user=f"user-{n}") for n in range(8)]

    async def best(n: int, count: int, **more: Any) -> list[str]:
        answer = await clients[n].call("hold-best", eventId=EVENT, count=count, **more)
        return answer["held"] if answer["type"] == "seats-held" else [answer["code"]]

    assert ["A-3", "A-4"] == await best(0, 2)
    assert ["B-1", "B-2", "B-3", "B-4"] == await best(1, 4)
    assert ["C-1", "C-2", "C-3", "C-4", "C-5"] == await best(2, 5)
    assert ["A-1", "A-2", "A-5"] == await best(3, 3)
    assert ["seat_unavailable"] == await best(4, 3, section="B")
    assert ["B-5", "B-6"] == await best(4, 2, section="B")
    assert ["A-6", "C-6"] == await best(5, 2)
    assert ["seat_unavailable"] == await best(6, 1)


async def test_changing_the_seats_is_told_by_a_new_snapshot(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """New ones come, free ones may go, held and sold ones stay; the same list changes nothing."""
    a, b = servers(2)
    await put(a)
    mina, noah = await connect(a, user="mina"), await connect(b, user="noah")
    await noah.do("join-seats", eventId=EVENT)
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    await noah.expect("seats-updated")
    # both servers have used the list that is about to be an old one
    await noah.do("hold-seats", eventId=EVENT, seats=["B-1"])
    await noah.do("release-seats", eventId=EVENT)
    path, api = f"/api/events/{EVENT}", Api(b)

    same = await api.put(path, {"title": "Same", "seats": SEATS})
    taken = await api.put(path, {"title": "Other", "seats": SEATS[1:]})
    other = await api.put(path, {"title": "Other", "seats": [*SEATS[:-1], "D-1", "D-2"]})
    reset = await noah.expect("room-reset", room=ROOM)
    snapshot = await noah.expect("seats-snapshot", room=ROOM)

    assert (200, 409, 200) == (same.status, taken.status, other.status)
    assert ["A-1"] == taken.json["error"]["details"]["seats"]
    assert 19 == other.json["seatCount"]
    assert reset["offset"] == snapshot["offset"]
    assert {"total": 19, "held": ["A-1"], "sold": []} == snapshot["snapshot"]
    assert [*SEATS[:-1], "D-1", "D-2"] == (await api.get(path)).json["seats"]
    held = await noah.do("hold-seats", eventId=EVENT, seats=["D-2"])
    assert ["D-2"] == held["held"]
    assert "unknown_seat" == (await refused(mina, "hold-seats", seats=["C-6"]))["code"]
    assert "unknown_seat" == (await refused(noah, "hold-seats", seats=["C-6"]))["code"]
    assert 1 == len([frame for frame in noah.frames if frame["type"] == "room-reset"])
    await assert_agreement(valkey.client, connect, b, EVENT, noah)


async def test_an_event_with_sold_seats_cannot_be_deleted(servers: Servers, connect: Connect) -> None:
    """After the refund it can, and everyone who watches or holds is told."""
    a, b = servers(2)
    await put(a)
    mina = await connect(b, user="mina")
    await mina.do("join-seats", eventId=EVENT)
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    await book(a, "mina", ["A-1"])
    api, path = Api(a), f"/api/events/{EVENT}"

    kept = await api.delete(path)
    await api.delete(f"{path}/bookings", {"seats": ["A-1"]})
    gone = await api.delete(path)
    await mina.expect("room-reset", room=ROOM)
    expired = await mina.expect("seats-expired")

    assert (409, 204) == (kept.status, gone.status)
    assert ["A-2"] == expired["seats"]


async def test_seats_of_a_deleted_event_are_not_held_in_the_next(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Created anew at once under the same name, with the same seats: all of them are free."""
    a, b = servers(2)
    await put(a)
    buyers = [await connect(b, user=f"buyer-{n}") for n in range(9)]
    for n, buyer in enumerate(buyers):
        await buyer.do("hold-seats", eventId=EVENT, seats=SEATS[2 * n : 2 * n + 2])

    await Api(a).delete(f"/api/events/{EVENT}")
    await put(a)
    for buyer in buyers:
        await buyer.expect("seats-expired")

    assert {} == holds(valkey.client, EVENT)
    await assert_agreement(valkey.client, connect, b, EVENT)


async def test_deltas_are_bundled(servers: Servers, connect: Connect, valkey: StoreProcess) -> None:
    """Many holds in a moment make few frames, and the state is right all the same."""
    a, b = servers(2)
    names = [f"R-{n}" for n in range(1, 301)]
    await put(a, seats=names, maxSeats=1)
    watcher = await connect(b, user="watcher")
    await watcher.do("join-seats", eventId=EVENT)
    buyers = [await connect(a, user=f"buyer-{n}") for n in range(60)]

    await asyncio.gather(
        *(c.do("hold-seats", eventId=EVENT, seats=[name]) for c, name in zip(buyers, names, strict=False))
    )
    await assert_agreement(valkey.client, connect, b, EVENT, watcher)

    assert 60 == len(watcher.boards[EVENT])
    assert len([frame for frame in watcher.frames if frame["type"] == "seats-updated"]) < 30


async def test_the_store_keeps_a_seat_in_two_bytes(servers: Servers, valkey: StoreProcess) -> None:
    """The truth and what was published; who holds what is kept for holders alone."""
    (a,) = servers(1)
    await put(a, seats=[f"R-{n}" for n in range(1000)])
    k = keys.sale(EVENT)

    assert (1000, 1000) == (valkey.client.strlen(k.map), valkey.client.strlen(k.shown))
    assert 0 == valkey.client.exists(k.holds, k.due, k.pending)
