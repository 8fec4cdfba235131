"""The store did what it was asked and its answer was lost: asked again nothing happens twice, and nobody whom
the store believes to be there is forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest
import redis

from session import keys
from session.events import EventDraft
from session.hub import Room
from session.listener import Start
from session.recovery import Position
from session.sale import Who
from session.seats import NOTHING, Holding
from session.waiting_room import NOWHERE, Place
from tests.support.client import Frame
from tests.support.lost import hold_back_ledger, kinds, lose
from tests.support.parts import Cluster, Tab
from tests.support.sale import assert_one_holder, holds
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT = "42"
K = keys.sale(EVENT)


async def put(cluster: Cluster, **settings: object) -> None:
    draft = EventDraft(title="A", seats=[f"A-{n}" for n in range(1, 9)], **settings)  # type: ignore[arg-type]
    await cluster.server(0).services.events.put(EVENT, draft)


async def test_the_stores_own_retry_does_nothing_twice(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Best seats, a booking without a key, an extension, a release, a leave: each answers as if it were asked
    once."""
    await put(cluster, capacity=5, hold_seconds=20, max_hold_seconds=20.5)
    services = cluster.server(0).services
    lost = {
        name: lose(services.store, name, 1, monkeypatch)
        for name in ("hold", "book", "extend", "release", "leave")
    }
    mina = Who("mina")
    await services.waiting_rooms.join(EVENT, mina)

    best = await services.seats.hold_best(EVENT, mina, 2, None)
    booked = await services.seats.book(EVENT, "mina", best.seats[:1], "")
    longer = await services.seats.extend(EVENT, mina)
    held, rest = await services.seats.release(EVENT, mina)
    left = await services.waiting_rooms.leave(EVENT, mina)

    assert {name: [name] for name in lost} == lost
    assert (2, 1, best.seats[1:]) == (len(best.seats), len(booked.seats), longer.seats)
    assert (True, [], True) == (held, rest.seats, left.had)
    figures = await services.waiting_rooms.figures(EVENT)
    assert (0, 1, 0) == (figures.held, figures.sold, figures.admitted)


async def test_a_late_answer_undoes_nothing_that_came_after_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has done what it was asked, and another of the user's tabs the contrary, before it is asked
    again: who has joined again stays, seats that are held again are, those given back are free."""
    await put(cluster, capacity=1)
    a, b = (server.services for server in cluster.servers)
    mina, noah = Who("mina"), Who("noah")
    await a.waiting_rooms.join(EVENT, mina)
    await a.waiting_rooms.join(EVENT, noah)
    held = await a.seats.hold(EVENT, mina, ["A-1"])

    async def hold() -> None:
        await b.seats.hold(EVENT, mina, ["A-1"])

    lose(a.store, "release", 1, monkeypatch, hold)
    was_held, _ = await a.seats.release(EVENT, mina)
    assert was_held
    assert {0: "A-1"} == holds(cluster.redis, EVENT)["mina"]

    lose(a.store, "hold", 1, monkeypatch, lambda: b.seats.release(EVENT, mina))
    await b.seats.release(EVENT, mina)
    await a.seats.hold(EVENT, mina, ["A-1"], again=held)
    assert {} == holds(cluster.redis, EVENT)

    lose(a.store, "leave", 1, monkeypatch, lambda: b.waiting_rooms.join(EVENT, noah))
    left = await a.waiting_rooms.leave(EVENT, noah)
    assert left.had
    assert ["noah"] == cluster.redis.zrange(K.present, 0, -1)


@pytest.mark.parametrize("lost", [0, 1], ids=["at once", "asked again"])
async def test_who_leaves_hears_of_the_end_before_a_new_place(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """One tab of a user leaves, and another joins again, before the first has its answer, and before anybody
    has heard of the end: each hears of the end once, and of the new place after it."""
    await put(cluster, capacity=1)
    server, other = cluster.server(0), cluster.server(1)
    tabs = [Tab(server, "first"), *(Tab(one, "mina") for one in (server, server, server, other))]
    for tab in tabs:
        await tab.sign_in()
        await tab.call("join-queue", eventId=EVENT)
    _, leaver, joiner, third, far = tabs
    for tab in tabs:
        tab.heard.clear()
    joining: list[asyncio.Task[Frame | None]] = []

    async def join_again() -> None:
        joining.append(asyncio.create_task(joiner.call("join-queue", eventId=EVENT)))
        await eventually(lambda: "queue-joined" in kinds(joiner), "it has a place again")

    # the ledger is slower than all answers
    hear_ledger = [hold_back_ledger(one, EVENT, monkeypatch) for one in (server, other)]
    unname = server.services.manager.unname

    async def unname_late(*args: Any, **more: Any) -> None:
        if not joining:
            await join_again()
        await unname(*args, **more)

    monkeypatch.setattr(server.services.manager, "unname", unname_late)
    lose(server.services.store, "leave", lost, monkeypatch, join_again)
    await leaver.call("leave-queue", eventId=EVENT)
    await asyncio.gather(*joining)
    await eventually(lambda: "queue-updated" in kinds(far), "the other server has looked it up", 20)
    for hear in hear_ledger:
        hear()

    assert ["queue-left", "queue-joined"] == kinds(joiner)
    for tab in (leaver, third, far):
        assert ["queue-left", "queue-updated"] == kinds(tab)
        assert 1 == tab.heard[-1]["position"]
    assert ["id" in tab.heard[0] for tab in (leaver, joiner, third, far)] == [True, False, False, False]


async def test_a_place_that_was_given_up_while_it_was_put_back_is_gone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was lost and put back, and the user has left, before the store is asked again to put it back."""
    await put(cluster, capacity=1)
    a, b = (server.services for server in cluster.servers)
    await a.waiting_rooms.join(EVENT, Who("first"))
    place = await a.waiting_rooms.join(EVENT, Who("mina"))
    cluster.redis.zrem(K.present, "mina")
    cluster.redis.hset(K.state, mapping={"inc": "0" * 10, "ainc": "0" * 10, "seq": place.seq - 1})
    lost = lose(a.store, "put_back", 1, monkeypatch, lambda: b.waiting_rooms.leave(EVENT, Who("mina")))

    await a.waiting_rooms.put_back(EVENT, place.made, [("mina", place.seq, None)])

    assert ["put_back"] == lost
    assert [] == cluster.redis.zrange(K.present, 0, -1)


async def test_who_has_gone_without_an_answer_is_absent(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer to its join was lost, and its tab is closed: no place is kept as if it were there."""
    await put(cluster, capacity=1)
    first, mina = Tab(cluster.server(1), "first"), Tab(cluster.server(0), "mina")
    for tab in (first, mina):
        await tab.sign_in()
    await first.call("join-queue", eventId=EVENT)
    lose(cluster.server(0).services.store, "join", 100, monkeypatch)

    answer = await mina.call("join-queue", eventId=EVENT)
    assert answer is not None
    assert ("unavailable", "unknown") == (answer["code"], answer["details"]["outcome"])
    assert ["mina"] == cluster.redis.zrange(K.present, 0, -1)
    await mina.drop()

    await eventually(lambda: cluster.redis.zrange(K.absent, 0, -1) == ["mina"], "she is absent")
    assert [] == cluster.redis.zrange(K.present, 0, -1)


async def test_a_departure_that_the_store_has_lost_is_reported_again(cluster: Cluster) -> None:
    """It came back to a moment at which somebody was there who has gone since."""
    await put(cluster, capacity=1)
    server = cluster.server(0)
    first, mina = Tab(server, "first"), Tab(server, "mina")
    for tab in (first, mina):
        await tab.sign_in()
        await tab.call("join-queue", eventId=EVENT)
    await mina.drop()
    await eventually(lambda: cluster.redis.zrange(K.absent, 0, -1) == ["mina"], "she is absent")
    instance = server.services.leases.instance
    seq = cluster.redis.zscore(K.absent, "mina")
    cluster.redis.zrem(K.absent, "mina")
    cluster.redis.zrem(K.lapse, "mina")
    cluster.redis.zadd(K.present, {"mina": seq})
    cluster.redis.sadd(keys.here(EVENT, instance), "mina")

    server.services.lobby.put_back_all()

    await eventually(lambda: cluster.redis.zrange(K.absent, 0, -1) == ["mina"], "she is absent again")


async def test_an_end_that_is_heard_before_the_answer_is_the_last_word(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pub/sub is quicker than the answer to the join, and the back end quicker than both: nobody is told of a
    place that it was told has ended, neither at once nor where it comes back to it."""
    await put(cluster, capacity=1)
    server = cluster.server(0)
    lobby, rooms = server.services.lobby, server.services.waiting_rooms
    mina = Tab(server, "mina")
    await mina.sign_in()

    def outrun(ask: Callable[[str, Who], Awaitable[Place]]) -> Callable[[str, Who], Awaitable[Place]]:
        async def late(event_id: str, who: Who) -> Place:
            place = await ask(event_id, who)
            if place.status != NOWHERE:
                left = await cluster.server(1).services.waiting_rooms.leave(EVENT, Who("mina"), "removed")
                crowd = lobby._crowds[EVENT]
                await eventually(lambda: crowd.has_heard(left.offset), "the end is heard", 20)
            return place

        return late

    with monkeypatch.context() as slow:
        slow.setattr(rooms, "join", outrun(rooms.join))
        answer = await mina.call("join-queue", eventId=EVENT)
    assert answer is not None
    joined = await mina.call("join-queue", eventId=EVENT)
    assert joined is not None
    back = Tab(server, "mina")
    monkeypatch.setattr(rooms, "arrive", outrun(rooms.arrive))  # type: ignore[arg-type]
    await back.sign_in()

    assert "not_joined" == answer["code"]
    assert "admitted" == joined["status"]
    assert [None] == [f["queue"] for f in back.heard if f["type"] == "session-restored"]
    await eventually(lambda: not lobby.doubts and not lobby.of("mina"), "it is looked up")
    assert ["removed"] * 2 == [f["reason"] for f in mina.heard if f["type"] == "queue-left"]


async def test_a_place_that_is_missed_before_the_loss_is_known_is_no_end(cluster: Cluster) -> None:
    """The store has lost it, and it is looked up before anybody knows that this is another incarnation."""
    await put(cluster, capacity=1)
    server = cluster.server(0)
    first, mina = Tab(server, "first"), Tab(server, "mina")
    for tab in (first, mina):
        await tab.sign_in()
        await tab.call("join-queue", eventId=EVENT)
    seq = cluster.redis.zscore(K.present, "mina")
    assert seq is not None
    cluster.redis.zrem(K.present, "mina")
    older = {"inc": "0" * 10, "ainc": "0" * 10, "seq": int(seq) - 1}
    cluster.redis.hset(K.state, mapping=older)

    lobby = server.services.lobby
    lobby.doubts.add(EVENT, "mina")
    await eventually(lambda: (EVENT, "mina") in lobby._missed, "it is missed")
    lobby.put_back_all()

    await eventually(lambda: cluster.redis.zscore(K.present, "mina") == seq, "it is back")
    await eventually(
        lambda: not lobby._missed and not lobby._second_look and not lobby._postponed, "all is well"
    )
    assert not [frame for frame in mina.heard if frame["type"] == "queue-left"]


async def test_an_end_that_an_answer_outran_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the answer to a join was on its way the ledger began anew, behind the end of that place."""
    await put(cluster, capacity=1)
    server = cluster.server(0)
    lobby, rooms = server.services.lobby, server.services.waiting_rooms
    mina = Tab(server, "mina")
    await mina.sign_in()
    join = rooms.join

    async def outrun(event_id: str, who: Who) -> object:
        place = await join(event_id, who)
        crowd = lobby._crowds[EVENT]
        ledger = server.services.hub.rooms[f"{keys.LEDGER}:{EVENT}"]
        monkeypatch.setattr(crowd, "took", lambda offset, private: None)
        left = await cluster.server(1).services.waiting_rooms.leave(EVENT, Who("mina"), "removed")
        await eventually(lambda: ledger.log.hi >= left.offset, "the end is behind the head", 20)
        monkeypatch.undo()
        crowd.restarted()
        return place

    monkeypatch.setattr(rooms, "join", outrun)
    answer = await mina.call("join-queue", eventId=EVENT)

    # a slow server knows of the end before it answers
    assert answer["type"] == "queue-joined" or answer["code"] == "not_joined"
    await eventually(
        lambda: [f["reason"] for f in mina.heard if f["type"] == "queue-left"] == ["expired"],
        "it is told",
        20,
    )


async def test_a_rush_reads_a_list_of_seats_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants it while it is being read waits for the same answer."""
    await put(cluster, max_seats=1)
    services = cluster.server(1).services
    asked: list[object] = []
    ask = services.store.command

    async def command(*args: object) -> object:
        asked.append(args[-1])
        return await ask(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(services.store, "command", command)
    seats = await asyncio.gather(
        *(services.seats.hold(EVENT, Who(f"user-{n}"), [f"A-{n}"]) for n in range(1, 9))
    )

    assert 8 == len({seat for holding in seats for seat in holding.seats})
    assert 1 == asked.count("seats")


async def test_what_was_given_back_before_its_room_was_open_stays_given_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that she held by has not heard of it, and looks up what she holds when the room is open."""
    await put(cluster)
    a, b = cluster.server(0).services, cluster.server(1).services
    may_open, opens = asyncio.Event(), a.listener.openers["seats"]

    async def open_late(room: Room) -> Start:
        await may_open.wait()
        return await opens(room)

    monkeypatch.setitem(a.listener.openers, "seats", open_late)
    # the notice is lost
    monkeypatch.setattr(a.listener.notices, "on_holding", lambda *_: None)
    mina = Tab(cluster.server(0), "mina")
    await mina.sign_in()
    await mina.call("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    await b.seats.release(EVENT, Who("mina"), ["A-2"])

    may_open.set()

    await eventually(lambda: a.boards.newest(EVENT, "mina", NOTHING).seats == ["A-1"], "it is looked up")
    assert {0: "A-1"} == holds(cluster.redis, EVENT)["mina"]
    assert_one_holder(cluster.redis, EVENT)


async def test_what_is_heard_while_a_check_is_answered_is_no_loss(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pub/sub is quicker than the answer, which is older than what was heard then: neither is a room read
    again, nor are the users of a bucket."""
    services = cluster.server(0).services
    watch, hub, bucket = services.watch, services.hub, keys.bucket("mina")
    mina = Tab(cluster.server(0), "mina")
    await mina.sign_in()
    await mina.call("join-event", eventId=EVENT)
    room = hub.rooms[f"event:{EVENT}"]
    await eventually(lambda: room.is_settled, "the room is open")

    published = count()

    async def publish(name: str) -> None:
        rooms = cluster.server(1).services.rooms
        now = await rooms.publish(name, b"1", request_id=str(next(published)))
        await eventually(lambda: hub.rooms[name].log.hi >= now.offset, "it is heard")

    await publish(room.name)
    await publish("user:mina")
    looked: list[str] = []
    monkeypatch.setattr(watch, "look_at", looked.append)
    read_head, read_counters = services.rooms.head, watch._read_counters

    async def head(name: str) -> Position | None:
        answer = await read_head(name)
        if name == room.name:
            await publish(name)
        return answer

    async def counters(buckets: list[str]) -> dict[str, int]:
        answer = await read_counters(buckets)
        await publish("user:mina")
        return answer

    monkeypatch.setattr(services.rooms, "head", head)
    monkeypatch.setattr(watch, "_read_counters", counters)
    repaired = services.metrics.repairs.labels("head")
    before = repaired._value.get()
    await watch._check_heads()
    await watch._check_counters()

    assert bucket in services.listener.notices.known
    assert ([], before) == (looked, repaired._value.get())


async def test_what_is_sold_is_not_said_to_have_expired(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What she holds is read again for another reason, and the answer is quicker than the notice of her
    booking: she is told what she still holds, and of no time that was over."""
    await put(cluster)
    a, b = (server.services for server in cluster.servers)
    mina = Tab(cluster.server(0), "mina")
    await mina.sign_in()
    held = await mina.call("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    assert held is not None
    notice = a.listener.notices.on_holding
    late: list[tuple[str, str, str, Holding]] = []
    monkeypatch.setattr(a.listener.notices, "on_holding", lambda *heard: late.append(heard))
    await b.seats.book(EVENT, "mina", ["A-1"], "")

    a.boards.doubts.add(EVENT, "mina")
    await eventually(lambda: a.boards.newest(EVENT, "mina", NOTHING).seats == ["A-2"], "it is read")
    await eventually(lambda: late, "it is heard")
    for heard in late:
        notice(*heard)

    told = [frame for frame in mina.heard if frame["type"].startswith("seats-") and "id" not in frame]
    assert [("seats-held", ["A-2"])] == [(frame["type"], frame.get("held")) for frame in told]
    assert held["holdExpiresAt"] == told[0]["holdExpiresAt"]


async def test_a_hold_is_lost_before_its_room_was_open(
    cluster: Cluster, valkey: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What she holds is looked up in a store that has lost it, before it is known that it is another one: she
    is told of no end, and has it again."""
    await put(cluster)
    services = cluster.server(0).services
    may_open, opens, asked = asyncio.Event(), services.listener.openers["seats"], asyncio.Event()
    mine = services.seats.mine

    async def open_late(room: Room) -> Start:
        await may_open.wait()
        return await opens(room)

    async def look(event_id: str, who: Who) -> Holding:
        holding = await mine(event_id, who)
        asked.set()
        return holding

    monkeypatch.setitem(services.listener.openers, "seats", open_late)
    raw = redis.from_url(valkey.url)
    before = {key: raw.dump(key) for key in raw.scan_iter(f"{{e:{EVENT}}}*")}
    mina = Tab(cluster.server(0), "mina")
    await mina.sign_in()
    held = await mina.call("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    assert held is not None
    monkeypatch.setattr(services.seats, "mine", look)
    raw.delete(*raw.scan_iter(f"{{e:{EVENT}}}*"))
    for key, value in before.items():
        raw.restore(key, 0, value)

    may_open.set()
    await asked.wait()
    services.boards.doubt_all()

    seats = {0: "A-1", 1: "A-2"}
    await eventually(lambda: holds(cluster.redis, EVENT).get("mina") == seats, "she has it again")
    assert [] == [frame for frame in mina.heard if frame["type"] == "seats-expired"]
    assert held["holdExpiresAt"] == (await mine(EVENT, Who("mina"))).until
    assert_one_holder(cluster.redis, EVENT)


async def test_holds_of_a_former_event_do_not_come_back_into_another(
    cluster: Cluster, valkey: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was emptied and the shop has made another sale under the same id, before this server has read
    the room of its seats again: what was held is over, and told so."""
    await put(cluster)
    services = cluster.server(0).services
    mina = Tab(cluster.server(0), "mina")
    await mina.sign_in()
    await mina.call("join-seats", eventId=EVENT)
    await mina.call("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    monkeypatch.setattr(services.listener, "repair", lambda room, cause: None)
    raw = redis.from_url(valkey.url)
    raw.delete(*raw.scan_iter(f"{{e:{EVENT}}}*"))
    await put(cluster)

    services.boards.doubt_all()

    def told() -> list[list[str]]:
        return [frame["seats"] for frame in mina.heard if frame["type"] == "seats-expired"]

    await eventually(lambda: told() or holds(cluster.redis, EVENT), "it is looked up")
    assert {} == holds(cluster.redis, EVENT)
    assert [["A-1", "A-2"]] == told()
