"""A place ends while another of the user's tabs takes a new one: each tab hears of the end, and of the new
place last, however the leaving is answered."""

import asyncio
from typing import Any

import pytest

from session import keys
from session.crowd import Crowd
from session.events import EventDraft
from session.sale import Who
from session.store import Unavailable
from session.waiting_room import Left, Place
from tests.support.client import Frame
from tests.support.lost import hold_back_ledger, kinds, lose
from tests.support.parts import Cluster, Server, Tab
from tests.support.waiting import eventually

EVENT = "42"
K = keys.sale(EVENT)


async def put(cluster: Cluster, **settings: object) -> None:
    await cluster.server(0).services.events.put(EVENT, EventDraft(title="A", **settings))  # type: ignore[arg-type]


async def come(server: Server, count: int = 3) -> list[Tab]:
    """Tabs of one user who has a place; what they were told so far is forgotten."""
    tabs = [Tab(server, "mina") for _ in range(count)]
    for tab in tabs:
        await tab.sign_in()
        await tab.call("join-queue", eventId=EVENT)
    for tab in tabs:
        tab.heard.clear()
    return tabs


async def stand_in_line(cluster: Cluster, *users: str) -> None:
    for user in users:
        await cluster.server(1).services.waiting_rooms.join(EVENT, Who(user))


async def hears(kind: str, *tabs: Tab) -> None:
    """Each is told that last."""
    for tab in tabs:
        await eventually(lambda tab=tab: kinds(tab)[-1:] == [kind], f"{tab} hears {kind} last", 20)  # type: ignore[misc]


def answers(tab: Tab) -> list[str]:
    """What a tab was told of a line, and what it was refused."""
    of_line = [f for f in tab.heard if f["type"].startswith("queue-") or f["type"] == "error"]
    return [frame.get("code", frame["type"]) for frame in of_line]


@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_leaving_that_is_asked_for_again_spares_the_later_place(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """Its answer was lost, another tab has joined again, and the line has gone on since."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first", "second")
    server, far = cluster.server(0), cluster.server(1).services.waiting_rooms
    leaver, joiner, third = tabs = await come(server)

    async def meanwhile() -> None:
        await joiner.call("join-queue", eventId=EVENT)
        await far.leave(EVENT, Who("second"))

    hear = (lambda: None) if is_heard else hold_back_ledger(server, EVENT, monkeypatch)
    lose(server.services.store, "leave", 1, monkeypatch, meanwhile)
    await leaver.call("leave-queue", eventId=EVENT)
    hear()

    await eventually(lambda: [tab.heard[-1].get("position") for tab in tabs] == [1] * 3, "it moves up", 20)
    assert ["mina"] == cluster.redis.zrange(K.present, 0, -1)
    assert ["queue-left", "queue-joined", "queue-updated"] == kinds(joiner)
    for tab in (leaver, third):
        assert ["queue-left", "queue-updated"] == kinds(tab)


@pytest.mark.parametrize("seconds", [None, 100])
async def test_who_leaves_and_is_let_in_again_at_once_knows_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, seconds: int | None
) -> None:
    """Nobody can see from an admission that it is another one: the leaver is told of it all the same, the
    others until when it is, and nothing of the room follows the leaver's answer."""
    await put(cluster, capacity=5, admission_seconds=seconds)
    server = cluster.server(0)
    leaver, joiner, third = await come(server)

    let_in_at = cluster.now_ms()

    async def join_again() -> None:
        await eventually(lambda: cluster.now_ms() > let_in_at, "a later end is another one")
        await joiner.call("join-queue", eventId=EVENT)

    hear = hold_back_ledger(server, EVENT, monkeypatch)
    lose(server.services.store, "leave", 1, monkeypatch, join_again)
    await leaver.call("leave-queue", eventId=EVENT)
    hear()

    assert ["queue-left", "queue-entry-allowed"] == kinds(leaver)[-2:]
    assert joiner.heard[-1]["expiresAt"] == leaver.heard[-1]["expiresAt"]
    assert [joiner.heard[-1]["expiresAt"]] * bool(seconds) == [frame["expiresAt"] for frame in third.heard]
    assert f"queue:{EVENT}" not in leaver.connection.rooms
    assert f"queue:{EVENT}" in joiner.connection.rooms


async def test_who_leaves_when_there_is_nothing_left_hides_no_end(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The back end was quicker, which was not heard yet."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server = cluster.server(0)
    leaver, joiner, third = await come(server)
    hear = hold_back_ledger(server, EVENT, monkeypatch)
    await cluster.server(1).services.waiting_rooms.leave(EVENT, Who("mina"), "removed")

    await leaver.call("leave-queue", eventId=EVENT)
    await joiner.call("join-queue", eventId=EVENT)
    hear()

    assert ["not_joined", "queue-left", "queue-updated"] == answers(leaver)
    assert ["queue-left", "queue-joined"] == answers(joiner)
    assert ["queue-left", "queue-updated"] == answers(third)


@pytest.mark.parametrize("is_heard", [True, False])
async def test_of_two_who_leave_at_once_each_hears_of_the_end(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """The second one's answer is that there is nothing to leave, which is no word of an end."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server = cluster.server(0)
    tabs = await come(server)
    hear = (lambda: None) if is_heard else hold_back_ledger(server, EVENT, monkeypatch)

    await asyncio.gather(*(tab.call("leave-queue", eventId=EVENT) for tab in tabs[:2]))
    hear()

    await hears("queue-left", *tabs)
    assert [1, 1, 1] == [answers(tab).count("queue-left") for tab in tabs]


async def test_a_later_place_is_told_after_a_refusal(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is answered that it has no place, when another tab has taken one, is told of that last."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server = cluster.server(0)
    leaver, joiner, _ = await come(server)
    await cluster.server(1).services.waiting_rooms.leave(EVENT, Who("mina"), "removed")
    unname = server.services.manager.unname

    async def unname_late(*args: Any, **more: Any) -> None:
        await joiner.call("join-queue", eventId=EVENT)
        await unname(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(server.services.manager, "unname", unname_late)
        await leaver.call("leave-queue", eventId=EVENT)

    await hears("queue-updated", leaver)
    assert ["queue-left", "not_joined", "queue-updated"] == answers(leaver)


@pytest.mark.parametrize("is_heard", [True, False])
async def test_who_leaves_without_an_answer_hears_of_the_end_before_a_later_place(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """Both have happened when it is told that nobody knows."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server = cluster.server(0)
    leaver, joiner, third = await come(server)
    rooms, crowd = server.services.waiting_rooms, server.services.lobby._crowds[EVENT]
    hear = (lambda: None) if is_heard else hold_back_ledger(server, EVENT, monkeypatch)
    leave = rooms.leave

    async def lose_answer(event_id: str, who: Who) -> Left:
        left = await leave(event_id, who)
        await eventually(lambda: not is_heard or crowd.has_heard(left.offset), "it is heard", 20)
        await joiner.call("join-queue", eventId=EVENT)
        raise Unavailable("unknown")

    monkeypatch.setattr(rooms, "leave", lose_answer)
    await leaver.call("leave-queue", eventId=EVENT)
    hear()

    await hears("queue-updated", leaver, third)
    assert ["unavailable", "queue-left", "queue-updated"] == answers(leaver)[:3]
    assert 1 == answers(leaver).count("queue-left")
    assert ["queue-left", "queue-updated"] == kinds(third)


async def test_an_end_is_told_that_the_ledger_has_passed_over(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began anew behind the end while the answer to the leaving was on its way."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server = cluster.server(0)
    tabs = await come(server)
    rooms, crowd = server.services.waiting_rooms, server.services.lobby._crowds[EVENT]
    ledger = server.services.hub.rooms[f"{keys.LEDGER}:{EVENT}"]
    leave = rooms.leave

    async def outrun(event_id: str, who: Who) -> Left:
        with monkeypatch.context() as deaf:
            deaf.setattr(crowd, "took", lambda offset, private: None)
            left = await leave(event_id, who)
            await eventually(lambda: ledger.log.hi >= left.offset, "the end is behind the head", 20)
        crowd.restarted()
        return left

    monkeypatch.setattr(rooms, "leave", outrun)
    await tabs[0].call("leave-queue", eventId=EVENT)

    assert [["queue-left"]] * 3 == [answers(tab) for tab in tabs]


async def test_who_leaves_an_event_that_is_gone_is_told_of_no_place(cluster: Cluster) -> None:
    """Nobody here knows yet that it is: the answer is the first word of it."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    tabs = await come(cluster.server(0))
    await cluster.server(1).services.events.delete(EVENT)

    await tabs[0].call("leave-queue", eventId=EVENT)

    await hears("queue-left", *tabs)
    assert ["not_joined", "queue-left"] == answers(tabs[0])
    assert ["queue-left"] == answers(tabs[1])


async def test_the_place_in_an_event_created_anew_is_another(cluster: Cluster) -> None:
    """Though it has the same number."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    joiner, third = await come(cluster.server(0), 2)
    await cluster.server(1).services.events.delete(EVENT)
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")

    await joiner.call("join-queue", eventId=EVENT)

    await hears("queue-updated", third)
    assert ["queue-left", "queue-updated"] == kinds(third)


@pytest.mark.parametrize("how", ["join", "come back"])
async def test_an_answer_tells_of_the_place_that_there_is_by_now(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The place that was read was given up on the way, and a later one taken, behind others."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server = cluster.server(0)
    leaver, joiner, third = await come(server)
    await stand_in_line(cluster, "behind", "them")
    lobby = server.services.lobby

    def outrun(ask: Any) -> Any:
        async def late(*args: Any) -> Place:
            place: Place = await ask(*args)
            monkeypatch.undo()
            await leaver.call("leave-queue", eventId=EVENT)
            await joiner.call("join-queue", eventId=EVENT)
            return place

        return late

    told: Frame | None
    if how == "join":
        monkeypatch.setattr(lobby, "join", outrun(lobby.join))
        told = await third.call("join-queue", eventId=EVENT)
    else:
        monkeypatch.setattr(lobby, "arrive", outrun(lobby.arrive))
        back = Tab(server, "mina")
        await back.sign_in()
        told = back.heard[-1]["queue"]

    assert told is not None
    assert 3 == told["position"]


async def test_who_comes_back_while_another_tab_joins_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session named no line yet: `session-restored` knows of none."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server = cluster.server(0)
    joiner, back = Tab(server, "mina"), Tab(server, "mina")
    await joiner.sign_in()
    await joiner.call("join-seats", eventId=EVENT)
    boards = server.services.boards
    mine = boards.mine

    async def outrun(*args: Any) -> object:
        held = await mine(*args)
        await joiner.call("join-queue", eventId=EVENT)
        return held

    monkeypatch.setattr(boards, "mine", outrun)
    await back.sign_in()

    restored = [frame["type"] for frame in back.heard].index("session-restored")
    assert None is back.heard[restored]["queue"]
    await eventually(lambda: "queue-updated" in [f["type"] for f in back.heard[restored:]], "it is told")


async def test_who_brings_a_place_along_tells_the_others(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server took the place and died before it said so: its tab comes to another server, where the user has
    one that knows of no place yet."""
    await put(cluster, capacity=1)
    await stand_in_line(cluster, "first")
    server, other = cluster.server(0), cluster.server(1)
    third, far = Tab(server, "mina"), Tab(other, "mina")
    for tab in (third, far):
        await tab.sign_in()
    rooms, lobby, is_taken = other.services.waiting_rooms, server.services.lobby, asyncio.Event()
    join, learn = rooms.join, lobby._learn
    learnt: list[Place | None] = []

    def note(crowd: Crowd, user_id: str, place: Place | None) -> None:
        learnt.append(place)
        learn(crowd, user_id, place)

    async def take(event_id: str, who: Who) -> Place:
        await eventually(lambda: learnt, "it was looked up in vain")
        await join(event_id, who)
        is_taken.set()
        return await asyncio.Future()

    monkeypatch.setattr(lobby, "_learn", note)
    monkeypatch.setattr(rooms, "join", take)
    joining = asyncio.create_task(far.call("join-queue", eventId=EVENT))
    await is_taken.wait()
    back = Tab(server, "mina")
    await back.sign_in(far)
    joining.cancel()

    assert 1 == back.heard[-1]["queue"]["position"]
    await hears("queue-updated", third)
