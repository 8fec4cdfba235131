"""A command was answered `unavailable` with outcome `unknown`, and happens all the same: whoever asked hears
what has come of it, as do the user's other connections."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from session import keys
from session.config import parse
from session.events import EventDraft
from session.sale import Who
from session.store import Unavailable
from session.waiting_room import Place
from tests.support.client import Frame
from tests.support.parts import Cluster, Server, Tab
from tests.support.proxy import Proxy
from tests.support.sale import assert_one_holder, holds
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET
from tests.support.waiting import eventually

EVENT = "42"
K = keys.sale(EVENT)


@pytest.fixture
def network(valkey: StoreProcess) -> Iterator[Proxy]:
    """What lies between the first server and the store."""
    with Proxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def cluster(
    io_loop: IOLoop, valkey: StoreProcess, network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """The parts of two servers: of the first one the store hears late, the second one is next to it."""
    # given up sooner, and later too late: so a slow machine does not come between
    monkeypatch.setattr("session.store.BUDGET_SECONDS", 0.6)
    monkeypatch.setattr("session.store.DEADLINE_MS", 60_000)
    monkeypatch.setattr("session.line.CONNECT_SECONDS", 0.3)
    monkeypatch.setattr("session.subscriber.DEAF_SECONDS", 60)
    config = parse([f"--jwt-secret={SECRET}"], {})
    made = Cluster(config, valkey.url, valkey.client)

    async def start() -> None:
        made.servers.append(await Server.start(config, f"redis://127.0.0.1:{network.port}/0"))
        await made.start(1)
        # one that has to ask for a script's text first has done nothing
        for script in made.server(1).services.store._scripts[False].values():
            valkey.client.script_load(script.text)

    io_loop.run_sync(start, timeout=20)
    yield made
    network.mend()
    io_loop.run_sync(made.stop, timeout=20)


async def put(cluster: Cluster, **settings: object) -> None:
    draft = EventDraft(title="A", seats=[f"A-{n}" for n in range(1, 9)], **settings)  # type: ignore[arg-type]
    await cluster.server(1).services.events.put(EVENT, draft)


async def come(cluster: Cluster, *servers: int, user: str = "mina") -> list[Tab]:
    tabs = [Tab(cluster.server(n), user) for n in servers]
    for tab in tabs:
        await tab.sign_in()
    return tabs


async def ask_in_vain(cluster: Cluster, network: Proxy, script: str, tab: Tab, **command: Any) -> None:
    """Give a command that is answered `unavailable`, while its script lies on its way to the store."""
    store = cluster.server(0).services.store
    run = store.script

    async def stall(name: str, *args: Any, **named: Any) -> list[Any]:
        if name == script:
            network.stall()
        return await run(name, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "script", stall)
        answer = await tab.call(eventId=EVENT, **command)
    assert answer is not None
    assert ("unavailable", "unknown") == (answer["code"], answer["details"]["outcome"])


async def mend(cluster: Cluster, network: Proxy) -> None:
    """The network speaks again: what lay on its way arrives, and what is asked next is answered."""
    network.mend()
    await eventually(lambda: cluster.server(0).services.store.is_up, "the store is reached")


def told(tab: Tab, *kinds: str) -> list[Frame]:
    """What a connection was told of by itself, not as an answer."""
    return [frame for frame in tab.heard if frame["type"] in kinds and "id" not in frame]


async def hears_of_seats(tab: Tab, *seats: str) -> None:
    def heard() -> bool:
        return [frame["held"] for frame in told(tab, "seats-held")][-1:] == [[*seats]]

    await eventually(heard, f"{tab} hears that it holds {seats}")


async def hears(tab: Tab, *kinds: str) -> Frame:
    await eventually(lambda: told(tab, *kinds), f"{tab} hears {kinds}")
    return told(tab, *kinds)[-1]


def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store has not done by now it never does."""
    monkeypatch.setattr("session.doubts.DONE_SECONDS", 0.1)
    monkeypatch.setattr("session.doubts.LATE_SECONDS", 0.2)


# --- seats ---


@pytest.mark.parametrize(
    "command", [{"type": "hold-seats", "seats": ["A-1"]}, {"type": "hold-best", "count": 1}]
)
async def test_a_hold_that_comes_true_late_is_told(
    cluster: Cluster, network: Proxy, command: dict[str, Any]
) -> None:
    """To who asked, and to a tab beside it; the user has no other server, and nobody watches the seats."""
    await put(cluster)
    asker, beside = await come(cluster, 0, 0)
    await ask_in_vain(cluster, network, "hold", asker, **command)
    assert {} == holds(cluster.redis, EVENT)
    await mend(cluster, network)

    (seat,) = (await hears(asker, "seats-held"))["held"]
    await hears_of_seats(beside, seat)
    assert {"mina": [seat]} == {user: [*held.values()] for user, held in holds(cluster.redis, EVENT).items()}
    assert_one_holder(cluster.redis, EVENT)


async def test_who_watches_hears_of_a_late_hold_at_once(
    cluster: Cluster, network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to look it up: the notice that others go by tells who asked, too; each of them once."""
    await put(cluster)
    asker, beside = await come(cluster, 0, 0)
    await asker.call("hold-seats", eventId=EVENT, seats=["A-1"])
    # where it comes later, no server has been told to look for the first hold again
    (elsewhere,) = await come(cluster, 1)
    tabs = (asker, beside, elsewhere)
    for tab in tabs:
        await tab.call("join-seats", eventId=EVENT)

    monkeypatch.setattr(cluster.server(0).services.boards.doubts, "add", lambda *_: None)
    await ask_in_vain(cluster, network, "hold", asker, type="hold-seats", seats=["A-2"])
    await mend(cluster, network)

    for tab in tabs:
        await hears_of_seats(tab, "A-1", "A-2")
    answer = await asker.call("hold-seats", eventId=EVENT, seats=["A-3"])
    assert answer is not None
    assert ["A-1", "A-2", "A-3"] == answer["held"]
    await hears_of_seats(beside, "A-1", "A-2", "A-3")
    await hears_of_seats(elsewhere, "A-1", "A-2", "A-3")
    assert [["A-1", "A-2"]] == [frame["held"] for frame in told(asker, "seats-held")]


async def test_what_changes_late_of_a_hold_is_told(cluster: Cluster, network: Proxy) -> None:
    """That it is longer, and that seats were given back."""
    await put(cluster, hold_seconds=20, max_hold_seconds=60)
    (asker,) = await come(cluster, 0)
    held = await asker.call("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    assert held is not None

    await ask_in_vain(cluster, network, "extend", asker, type="extend-hold")
    await mend(cluster, network)
    longer = await hears(asker, "seats-held")
    assert ["A-1", "A-2"] == longer["held"]
    assert held["holdExpiresAt"] < longer["holdExpiresAt"]

    await ask_in_vain(cluster, network, "release", asker, type="release-seats", seats=["A-2"])
    await mend(cluster, network)
    await hears_of_seats(asker, "A-1")


async def test_a_hold_is_told_that_is_known_here(
    cluster: Cluster, network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store had answered, and was silent when the session was to say so."""
    soon(monkeypatch)
    await put(cluster)
    (asker,) = await come(cluster, 0)
    await ask_in_vain(cluster, network, "session_update", asker, type="hold-seats", seats=["A-1"])
    assert {"mina": {0: "A-1"}} == holds(cluster.redis, EVENT)
    await mend(cluster, network)

    await hears_of_seats(asker, "A-1")


async def test_that_nothing_has_happened_is_told(
    cluster: Cluster, network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line broke before the store had read it: who asked for seats holds none, who wanted to leave is
    where it was."""
    soon(monkeypatch)
    await put(cluster)
    (asker,) = await come(cluster, 0)
    await ask_in_vain(cluster, network, "hold", asker, type="hold-seats", seats=["A-1"])
    network.blink()
    await mend(cluster, network)
    await hears_of_seats(asker)
    assert {} == holds(cluster.redis, EVENT)

    await put(cluster, capacity=1)
    await cluster.server(1).services.waiting_rooms.join(EVENT, Who("first"))
    await asker.call("join-queue", eventId=EVENT)
    await ask_in_vain(cluster, network, "leave", asker, type="leave-queue")
    network.blink()
    await mend(cluster, network)
    assert 1 == (await hears(asker, "queue-updated"))["position"]
    assert [] == told(asker, "queue-left")


# --- the line ---


@pytest.mark.parametrize(("capacity", "kind"), [(1, "queue-updated"), (2, "queue-entry-allowed")])
async def test_a_place_that_is_taken_late_is_told(
    cluster: Cluster, network: Proxy, capacity: int, kind: str
) -> None:
    """To who asked, and to a tab beside it: the place in the line, or that it was let in."""
    await put(cluster, capacity=capacity)
    await cluster.server(1).services.waiting_rooms.join(EVENT, Who("first"))
    asker, beside = await come(cluster, 0, 0)

    await ask_in_vain(cluster, network, "join", asker, type="join-queue")
    assert [] == [*cluster.redis.zrange(K.present, 0, -1)]
    await mend(cluster, network)

    for tab in (asker, beside):
        assert EVENT == (await hears(tab, kind))["eventId"]


async def test_a_place_is_told_that_is_known_here(
    cluster: Cluster, network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store had answered, and was silent when the session was to say so; and the same of its end."""
    soon(monkeypatch)
    await put(cluster, capacity=1)
    await cluster.server(1).services.waiting_rooms.join(EVENT, Who("first"))
    (asker,) = await come(cluster, 0)

    await ask_in_vain(cluster, network, "session_update", asker, type="join-queue")
    await mend(cluster, network)
    assert 1 == (await hears(asker, "queue-updated"))["position"]

    await ask_in_vain(cluster, network, "session_update", asker, type="leave-queue")
    await mend(cluster, network)
    assert {"type": "queue-left", "eventId": EVENT} == await hears(asker, "queue-left")


@pytest.mark.parametrize("comes", ["before", "after"])
async def test_a_place_whose_room_cannot_be_read_is_no_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, comes: str
) -> None:
    """The place is taken while its room is read, in vain: that nothing was changed would be a lie."""
    soon(monkeypatch)
    await put(cluster, capacity=1)
    await cluster.server(1).services.waiting_rooms.join(EVENT, Who("first"))
    (asker,) = await come(cluster, 0)
    services = cluster.server(0).services
    join, has_joined, has_failed = services.lobby.join, asyncio.Event(), asyncio.Event()

    async def take(*args: Any) -> Place:
        if comes == "after":
            await has_failed.wait()
        place = await join(*args)
        has_joined.set()
        return place

    async def fail(*_: Any) -> None:
        has_failed.set()
        if comes == "before":
            await has_joined.wait()
        raise Unavailable("none")

    with monkeypatch.context() as patch:
        patch.setattr(services.lobby, "join", take)
        patch.setattr(services.listener, "admit", fail)
        answer = await asker.call("join-queue", eventId=EVENT)

    assert answer is not None
    assert ("unavailable", "unknown") == (answer["code"], answer["details"]["outcome"])
    assert 1 == (await hears(asker, "queue-updated"))["position"]


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ({"type": "join-event", "eventId": EVENT}, f"event:{EVENT}"),
        ({"type": "join-room", "room": "chat:1"}, "chat:1"),
    ],
    ids=["event", "room"],
)
async def test_a_session_that_names_a_room_that_cannot_be_read_is_no_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, command: dict[str, str], named: str
) -> None:
    """It would be joined at the next restore, of which its client was told that it had not happened."""
    asker, other = (Tab(cluster.server(0), "mina"), Tab(cluster.server(0), "mina"))
    await asker.sign_in(rooms=["chat:*"])

    async def fail(*_: Any) -> None:
        raise Unavailable("none")

    with monkeypatch.context() as patch:
        patch.setattr(cluster.server(0).services.listener, "admit", fail)
        answer = await asker.call(**command)

    assert answer is not None
    assert ("unavailable", "unknown") == (answer["code"], answer["details"]["outcome"])
    await other.sign_in(rooms=["chat:*"])
    (restored,) = told(other, "session-restored")
    assert named in [room["room"] for room in restored["rooms"]]


async def test_a_place_that_is_given_up_late_is_told(cluster: Cluster, network: Proxy) -> None:
    """To who asked to leave, and has come again before the store did what it had been asked first."""
    await put(cluster, capacity=1)
    await cluster.server(1).services.waiting_rooms.join(EVENT, Who("first"))
    asker, elsewhere = await come(cluster, 0, 1)
    await asker.call("join-queue", eventId=EVENT)
    await hears(elsewhere, "queue-updated")

    await ask_in_vain(cluster, network, "leave", asker, type="leave-queue")
    network.strand()

    async def is_back() -> bool:
        return (await asker.call("join-queue", eventId=EVENT) or {})["type"] == "queue-joined"

    await eventually(is_back, "it has come again")
    await mend(cluster, network)

    await hears(elsewhere, "queue-left")
    assert {"type": "queue-left", "eventId": EVENT} == await hears(asker, "queue-left")
    assert None is cluster.redis.zscore(K.present, "mina")
    assert 1 == len(told(asker, "queue-left"))
