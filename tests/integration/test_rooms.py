"""Rooms over real servers: positions, resume, resets, patterns, publish, counts, repair."""

import asyncio
import json
from typing import Any

import pytest

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT = "event:123"
CHAT = {"rooms": ["chat:*"], "publish": ["chat:*"]}


async def test_a_join_answers_before_the_messages(servers: Servers, connect: Connect) -> None:
    """A join with `since` answers with recovered and missed; the missed messages follow, then live ones."""
    (a,) = servers()
    api = Api(a)
    first = await connect(a, user="1")
    empty = await first.do("join-event", eventId=123)
    for n in range(3):
        await api.publish(EVENT, n)
    await first.expect_messages(EVENT, 3)

    second = await connect(a, user="2")
    position = {"epoch": first.positions[EVENT].epoch, "offset": 1}
    joined = await second.do("join-event", eventId="123", since=position)
    await api.publish(EVENT, 3)
    heard = await second.expect_messages(EVENT, 3)

    assert ("123", EVENT, 0) == (empty["eventId"], empty["room"], empty["offset"])
    assert "recovered" not in empty
    assert (True, 2, 3) == (joined["recovered"], joined["missed"], joined["offset"])
    assert [1, 2, 3] == heard
    first.assert_contiguous()
    second.assert_contiguous()


async def test_who_joined_an_empty_room_misses_nothing(servers: Servers, connect: Connect) -> None:
    """A room that was never used has an epoch and offset 0, and that position is recovered later."""
    a, b = servers(2)
    before = await connect(a)
    await before.do("join-event", eventId="123")
    position = before.resume(EVENT)
    await before.drop()
    await Api(b).publish(EVENT, "first")

    after = await connect(b, resume=position)
    restored = await after.expect("session-restored")
    heard = await after.expect_messages(EVENT, 1)

    assert [True] == [r["recovered"] for r in restored["rooms"] if r["room"] == EVENT]
    assert ["first"] == heard
    after.assert_contiguous()


async def test_positions_that_are_not_of_this_history(servers: Servers, connect: Connect) -> None:
    """An unknown epoch, or an offset beyond the head, is not recovered: it starts where it is told."""
    (a,) = servers()
    # somebody reads the room already, so that the ring has the messages too
    reader = await connect(a, user="2")
    await reader.do("join-event", eventId="123")
    for n in range(3):
        where = await Api(a).publish(EVENT, n)
    await reader.expect_messages(EVENT, 3)
    for since in (
        {"epoch": "unknown", "offset": 1},
        {"epoch": "", "offset": 0},
        {"epoch": where["epoch"], "offset": 9},
    ):
        client = await connect(a, resume={EVENT: since})
        restored = await client.expect("session-restored")
        await Api(a).publish(EVENT, "live")
        await client.expect_messages(EVENT, 1)

        verdict = next(r for r in restored["rooms"] if r["room"] == EVENT)
        assert (False, 0) == (verdict["recovered"], verdict["missed"])
        client.assert_contiguous()


async def test_a_trimmed_history_is_not_recovered(servers: Servers, connect: Connect) -> None:
    """The history no longer reaches back: recovered is false, and never a part of it sent as the whole."""
    (a,) = servers(history_size=5)
    api = Api(a)
    where = [await api.publish(EVENT, n) for n in range(10)]
    old, young = where[3], where[5]
    lost = await connect(a, user="1", resume={EVENT: {"epoch": old["epoch"], "offset": old["offset"]}})
    kept = await connect(a, user="2", resume={EVENT: {"epoch": young["epoch"], "offset": young["offset"]}})

    def verdict(frame: dict[str, Any]) -> tuple[bool, int]:
        room = next(r for r in frame["rooms"] if r["room"] == EVENT)
        return room["recovered"], room["missed"]

    assert (False, 0) == verdict(await lost.expect("session-restored"))
    assert (True, 4) == verdict(await kept.expect("session-restored"))
    assert [6, 7, 8, 9] == await kept.expect_messages(EVENT, 4)


async def test_a_long_replay_comes_whole(servers: Servers, connect: Connect) -> None:
    """900 large messages, far more than a slow reader may have waiting, are replayed in pieces."""
    a, b = servers(2, max_buffer_bytes=65536)
    api = Api(a)
    start = await api.publish(EVENT, "start")
    blob = "x" * 4000
    for _ in range(900):
        await api.publish(EVENT, blob)
    client = await connect(b, resume={EVENT: {"epoch": start["epoch"], "offset": 1}})
    await client.expect("session-restored")
    await api.publish(EVENT, "end")
    await eventually(lambda: client.messages(EVENT)[-1:] == ["end"], "the last message has come", 30)

    assert 901 == len(client.messages(EVENT))
    client.assert_contiguous()


async def test_personal_messages_reach_every_connection(servers: Servers, connect: Connect) -> None:
    """user:<id> is joined by itself, on every connection on every server; what was missed is resumed."""
    a, b = servers(2)
    tabs = [await connect(a, user="7"), await connect(b, user="7")]
    other = await connect(b, user="8")
    await Api(a).publish("user:7", "for you")
    for tab in tabs:
        assert ["for you"] == await tab.expect_messages("user:7", 1)
    await tabs[0].drop()
    await Api(b).publish("user:7", "while away")
    back = await connect(b, user="7", resume=tabs[0].resume())
    await back.expect("session-restored")

    assert ["while away"] == await back.expect_messages("user:7", 1)
    assert [] == [f for f in other.frames if f["type"] == "message"]
    for client in (back, *tabs):
        client.assert_contiguous()


async def test_token_patterns_open_rooms(servers: Servers, connect: Connect) -> None:
    """`rooms` and `publish` of the token decide; a pattern never opens user:, queue: or seats: rooms."""
    (a,) = servers()
    client = await connect(a, user="1", rooms=["chat:*", "*", "news:1"], publish=["chat:lobby", "user:*"])
    plain = await connect(a, user="2")
    answers = {
        room: (await client.call("join-room", room=room)).get("code", "ok")
        for room in ("chat:lobby", "news:1", "user:2", "queue:1", "seats:1", "event:1")
    }
    said = {
        room: (await client.call("publish", room=room, data=1)).get("code", "ok")
        for room in ("chat:lobby", "chat:other", "user:2")
    }

    assert {"chat:lobby": "ok", "news:1": "ok"} | dict.fromkeys(
        ("user:2", "queue:1", "seats:1", "event:1"), "forbidden"
    ) == answers
    assert {"chat:lobby": "ok", "chat:other": "forbidden", "user:2": "forbidden"} == said
    assert "forbidden" == (await plain.call("join-room", room="chat:lobby"))["code"]
    assert "forbidden" == (await plain.call("publish", room="chat:lobby", data=1))["code"]


async def test_the_same_key_brings_the_first_answer(servers: Servers, connect: Connect) -> None:
    """A client whose answer was lost asks again on another server: one message, one offset."""
    a, b = servers(2)
    left, right = await connect(a, user="1", **CHAT), await connect(b, user="1", **CHAT)
    stranger = await connect(b, user="2", **CHAT)
    await stranger.do("join-room", room="chat:x")
    first = await left.do("publish", room="chat:x", data={"n": 1}, key="k")
    again = await right.do("publish", room="chat:x", data={"n": 1}, key="k")
    others = await stranger.do("publish", room="chat:x", data={"n": 2}, key="k")

    assert (first["epoch"], first["offset"]) == (again["epoch"], again["offset"])
    assert first["offset"] + 1 == others["offset"]
    assert [{"n": 1}, {"n": 2}] == await stranger.expect_messages("chat:x", 2)


async def test_leaving(servers: Servers, connect: Connect) -> None:
    """Nothing of a room follows room-left; leaving what was not joined is not_joined; joining another event
    leaves the first one."""
    (a,) = servers()
    client = await connect(a, user="1", **CHAT)
    await client.do("join-room", room="chat:x")
    await client.do("leave-room", room="chat:x")
    await client.do("join-event", eventId="1")
    await client.do("join-event", eventId="2")
    for room in ("chat:x", "event:1", "event:2"):
        await Api(a).publish(room, room)
    heard = await client.expect_messages("event:2", 1)

    assert ["event:2"] == heard
    assert ["event:2"] == [f["room"] for f in client.frames if f["type"] == "message"]
    assert "not_joined" == (await client.call("leave-room", room="chat:x"))["code"]
    assert "not_joined" == (await client.call("leave-event", eventId="1"))["code"]
    assert "2" == (await client.do("leave-event", eventId=2))["eventId"]
    assert (await Api(a).get("/api/users/1")).json["session"]["eventId"] is None


async def test_a_second_join_changes_nothing(servers: Servers, connect: Connect) -> None:
    """Joining a room again answers with the place that the connection has in it."""
    (a,) = servers()
    client = await connect(a)
    await client.do("join-event", eventId="1")
    await Api(a).publish("event:1", 1)
    await client.expect_messages("event:1", 1)
    again = await client.do("join-event", eventId="1")
    await Api(a).publish("event:1", 2)
    await client.expect_messages("event:1", 1)

    assert 1 == again["offset"]
    client.assert_contiguous()


async def test_rooms_are_limited(servers: Servers, connect: Connect) -> None:
    """A connection has at most max_rooms rooms, its own not counted."""
    (a,) = servers(max_rooms=2)
    client = await connect(a, **CHAT)
    await client.do("join-room", room="chat:1")
    await client.do("join-event", eventId="1")
    answer = await client.call("join-room", room="chat:2")
    await client.do("join-event", eventId="2")

    assert "too_many_rooms" == answer["code"]


async def test_room_info_counts_over_all_servers(servers: Servers, connect: Connect) -> None:
    """userCount is the number of connections over all servers, and room-info tells when it changes."""
    a, b = servers(2)
    one = await connect(a, user="1")
    assert 1 == (await one.do("join-event", eventId="5"))["userCount"]
    two = await connect(b, user="2")
    await one.expect("room-info", eventId="5", userCount=1)
    assert 2 == (await two.do("join-event", eventId="5"))["userCount"]
    info = await one.expect("room-info", eventId="5", userCount=2)
    await two.close()
    await one.expect("room-info", eventId="5", userCount=1)

    back = await connect(a, user="1")
    await back.expect("session-restored")
    await one.close()
    again = await back.expect("room-info", eventId="5", userCount=1)

    assert "offset" not in info
    assert "offset" not in again


async def test_who_joins_is_told_how_many_there_are(servers: Servers, connect: Connect) -> None:
    """userCount is right at once, whichever servers the others joined through or left a moment ago."""
    a, b = servers(2)
    clients = [await connect(server, user=str(n)) for n, server in enumerate((a, b, a, b, b))]
    counts = [(await client.do("join-event", eventId="5"))["userCount"] for client in clients]
    await clients[1].do("leave-event", eventId="5")
    await clients[2].do("join-event", eventId="6")
    back = await connect(b, user="1", resume={"event:5": {"epoch": "", "offset": 0}})
    counts.append((await back.do("join-event", eventId="5"))["userCount"])
    fewer = (await (await connect(a, user="9")).do("join-event", eventId="5"))["userCount"]

    assert [1, 2, 3, 4, 5, 4] == counts
    assert 5 == fewer


async def test_who_names_a_room_without_a_position_starts_at_its_head(
    servers: Servers, connect: Connect
) -> None:
    """Nothing is promised about the past, and what comes is told; seats begin with a snapshot."""
    (server,) = servers()
    await Api(server).put("/api/events/123", {"title": "A", "seats": ["A-1"]})
    await Api(server).publish(EVENT, "before")
    client = await connect(server, resume={EVENT: None, "seats:123": None})
    restored = await client.expect("session-restored")
    snapshot = await client.expect("seats-snapshot")
    await Api(server).publish(EVENT, "after")
    rooms = {room["room"]: room for room in restored["rooms"]}

    assert [(False, 0, 1)] == [(room["recovered"], room["missed"], room["offset"]) for room in [rooms[EVENT]]]
    assert (rooms["seats:123"]["offset"], 1) == (snapshot["offset"], snapshot["snapshot"]["total"])
    assert "after" == (await client.expect("message"))["data"]


async def test_who_came_back_by_resume_is_told_so_too(servers: Servers, connect: Connect) -> None:
    """To a server that had nobody of the event so far."""
    a, b = servers(2)
    await (await connect(a, user="1")).do("join-event", eventId="5")
    back = await connect(b, user="2", resume={"event:5": {"epoch": "", "offset": 0}})
    await back.expect("session-restored")

    assert 2 == (await back.do("join-event", eventId="5"))["userCount"]


async def test_room_info_is_sent_on_change_alone(servers: Servers, connect: Connect) -> None:
    """Who joins again changes no count, and nobody is told it again."""
    (a,) = servers()
    client = await connect(a)
    await client.do("join-event", eventId="5")
    await client.expect("room-info", userCount=1)
    await client.do("join-event", eventId="5")
    other = await connect(a, user="2")
    await other.do("join-event", eventId="6")
    # the round that comes next is over
    await other.expect("room-info", eventId="6")
    await other.do("join-event", eventId="5")
    await client.expect("room-info", userCount=2)

    told = [frame["userCount"] for frame in client.frames if frame["type"] == "room-info"]
    assert [1, 2] == told


async def test_the_session_names_the_rooms_to_rejoin(servers: Servers, connect: Connect) -> None:
    """Without `resume` the rooms of the stored session come back; an empty `resume` means none."""
    a, b = servers(2)
    client = await connect(a, **CHAT)
    await client.do("join-event", eventId="5")
    await client.do("join-room", room="chat:a")
    await client.do("join-room", room="chat:b")
    await client.do("leave-room", room="chat:b")
    await client.drop()
    stored = await (await connect(b, **CHAT)).expect("session-restored")
    none = await (await connect(b, resume={}, **CHAT)).expect("session-restored")
    refused = await (await connect(b)).expect("session-restored")

    assert ["user:1", "event:5", "chat:a"] == [r["room"] for r in stored["rooms"]]
    assert ["user:1"] == [r["room"] for r in none["rooms"]]
    assert {"room": "chat:a", "error": "forbidden"} == refused["rooms"][-1]


async def test_a_lost_subscription_is_repaired(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """The pub/sub connection is killed in the middle of a burst: everyone has everything within 2 s."""
    a, b = servers(2)
    clients = [await connect(server, user=str(n)) for n, server in enumerate((a, b, a, b))]
    for client in clients:
        await client.do("join-event", eventId="123")
    api = Api(a)
    for n in range(200):
        if n % 50 == 25:
            valkey.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await api.publish(EVENT, n)
        await api.publish("user:0", n)
    valkey.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await api.publish(EVENT, "last")
    await api.publish("user:0", "last")

    for client in clients:
        await eventually(lambda c=client: c.messages(EVENT)[-1:] == ["last"], "the last message has come", 3)
        assert [*range(200), "last"] == client.messages(EVENT)
        client.assert_contiguous()
    await eventually(
        lambda: clients[0].messages("user:0")[-1:] == ["last"], "the last personal one has come", 3
    )
    assert [*range(200), "last"] == clients[0].messages("user:0")
    assert a.metric('keepseat_repairs_total{cause="subscribe"}') > 0


@pytest.mark.parametrize("room", [EVENT, "user:1"])
async def test_a_silent_loss_is_found(
    room: str, servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """The last message of a burst never rings: the check of heads and counters finds it within 2 s."""
    (a,) = servers()
    client = await connect(a, user="1")
    await client.do("join-event", eventId="123")
    await Api(a).publish(room, "heard")
    await client.expect_messages(room, 1)
    # append one message as the script does, but without ringing
    tag = "{e:123}" if room == EVENT else next(k for k in valkey.client.scan_iter("{u:*}m:user:1"))[:6]
    frame = json.dumps({"type": "message", "room": room, "offset": 2, "data": "silent", "sentAt": 1})
    now = valkey.client.time()[0] * 1000
    valkey.client.xadd(f"{tag}h:{room}", {"f": frame, "p": "", "t": now}, id="2-0")
    valkey.client.hset(f"{tag}m:{room}", "h", 2)
    if room != EVENT:
        valkey.client.incr(f"{tag}n")

    assert ["silent"] == await client.expect_messages(room, 1, timeout=4)
    client.assert_contiguous()


async def test_a_lost_history_is_told(servers: Servers, connect: Connect, valkey: StoreProcess) -> None:
    """Everything is gone from the store: the readers are told room-reset, never left in silence."""
    (a,) = servers()
    client = await connect(a, user="1")
    await client.do("join-event", eventId="123")
    await Api(a).publish(EVENT, 1)
    await client.expect_messages(EVENT, 1)
    valkey.client.delete("{e:123}m:event:123", "{e:123}h:event:123", "{e:123}q:event:123")
    reset = await client.expect("room-reset", room=EVENT)
    await Api(a).publish(EVENT, 2)

    assert 0 == reset["offset"]
    assert [2] == await client.expect_messages(EVENT, 1)
    client.assert_contiguous()


async def test_a_deleted_event_begins_anew(servers: Servers, connect: Connect) -> None:
    """Deleting an event turns its rooms' epochs: readers are told, old positions are not recovered."""
    (a,) = servers()
    api = Api(a)
    await api.put("/api/events/123", {"title": "x"})
    client = await connect(a, user="1")
    await client.do("join-event", eventId="123")
    await api.publish(EVENT, 1)
    await client.expect_messages(EVENT, 1)
    position = client.resume(EVENT)
    await api.delete("/api/events/123")
    await client.expect("room-reset", room=EVENT)
    back = await connect(a, user="1", resume=position)
    restored = await back.expect("session-restored")

    assert [False] == [r["recovered"] for r in restored["rooms"] if r["room"] == EVENT]


async def test_a_slow_reader_is_closed_and_comes_back(servers: Servers, connect: Connect) -> None:
    """Who does not read falls out of the ring and is closed with 1013; the others are served, and resume
    brings the rest. It costs at most the buffer."""
    (a,) = servers(max_buffer_bytes=65536, ping_interval=100)
    api = Api(a)
    slow, quick = await connect(a, user="1", max_queue=1), await connect(a, user="2")
    for client in (slow, quick):
        await client.do("join-event", eventId="123")
    slow.pause()
    blob, count = "x" * 60000, 250
    for _ in range(count):
        await api.publish(EVENT, blob)
    slow.unpause()
    closed = await slow.closed()
    a.wait_metric("keepseat_slow_readers_total", 1)
    a.wait_metric('keepseat_connections_closed_total{code="1013"}', 1)
    back = await connect(a, user="1", resume=slow.resume())
    await back.expect("session-restored")
    await api.publish(EVENT, "end")
    await asyncio.gather(
        *(
            eventually(lambda c=c: c.messages(EVENT)[-1:] == ["end"], "all has come", 30)
            for c in (back, quick)
        )
    )

    # who does not even read the goodbye is cut off
    assert closed in {(1013, "slow_reader"), (1006, "")}
    assert count + 1 == len(quick.messages(EVENT))
    assert count + 1 == len(slow.messages(EVENT)) + len(back.messages(EVENT))
    for client in (slow, back, quick):
        client.assert_contiguous()


async def test_a_repair_larger_than_the_ring(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """More was missed than the ring of a room holds: everyone who reads along gets all of it."""
    a, b = servers(2, max_buffer_bytes=65536)
    client = await connect(a)
    await client.do("join-event", eventId="123")
    a.freeze()
    valkey.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    api = Api(b)
    blob = "x" * 4000
    for n in range(150):
        await api.publish(EVENT, f"{n}{blob}")
    a.thaw()
    heard = await client.expect_messages(EVENT, 150)

    assert list(range(150)) == [int(text.rstrip("x")) for text in heard]
    client.assert_contiguous()
