"""The flight recorder: what befell a user, over all servers, and why it was thrown out."""

import asyncio
from typing import Any, cast

from msgspec import to_builtins

from session import keys
from session.config import Config
from session.manager import SessionManager, new_socket_id
from session.metrics import Metrics, counted
from session.protocol import Refused
from session.recorder import MOST, Recorder, history, lost
from session.store import Store
from tests.conftest import Connect, Servers
from tests.integration.test_manager import Membership
from tests.support.api import Api
from tests.support.parts import Cluster
from tests.support.stores import StoreProcess
from tests.support.tokens import token
from tests.support.waiting import eventually

USER = "mina"
PATIENCE = 30.0


async def events(api: Api, user: str = USER) -> list[dict[str, Any]]:
    """A user's history, as it came about."""
    answer = await api.get(f"/api/users/{user}/history")
    assert answer.status == 200, answer
    assert answer.json["userId"] == user
    return list(reversed(answer.json["events"]))


async def history_with(api: Api, *types: str, user: str = USER) -> list[dict[str, Any]]:
    """The same, as soon as these have come to stand in it."""

    async def read() -> list[dict[str, Any]] | None:
        found = await events(api, user)
        return found if set(types) <= {event["type"] for event in found} else None

    return await eventually(read, f"the history has {types}", PATIENCE)


def only(found: list[dict[str, Any]], type_: str) -> dict[str, Any]:
    """The one event of a type."""
    (event,) = [event for event in found if event["type"] == type_]
    return event


async def test_the_history_of_a_user_over_two_servers(servers: Servers, connect: Connect) -> None:
    """Everything that happens to a session, in order, with where and why: until an administrator ends it."""
    a, b = servers(2)
    api = Api(a)
    await api.put("/api/events/1", {"title": "E", "seats": ["A-1", "A-2", "A-3"], "capacity": 5})
    first = await connect(a, user=USER)
    await first.do("join-event", eventId="1")
    await first.do("join-queue", eventId="1")
    await first.do("join-seats", eventId="1")
    await first.do("hold-seats", eventId="1", seats=["A-1", "A-2"])
    await first.do("release-seats", eventId="1", seats=["A-2"])
    await first.do("auth", token=token(USER))
    await first.drop()
    await history_with(api, "closed")
    second = await connect(b, user=USER, before=first)
    restored = await second.expect("session-restored", 15)
    booked = await Api(b).post("/api/events/1/bookings", {"userId": USER, "seats": ["A-1"]})
    await second.do("leave-queue", eventId="1")
    await history_with(api, "queue-left", "seats-booked")
    await api.post(f"/api/users/{USER}/disconnect")
    await second.closed(PATIENCE)

    found = await history_with(api, "removed")
    # the last word is the server's that had the connection
    found = await eventually(
        lambda: _with_closes(api, 2), "both connections are told of to their end", PATIENCE
    )
    instance_a, instance_b = first.connected["instance"], second.connected["instance"]
    assert restored["rooms"]
    assert booked.status == 201
    expected = [
        "connected", "room-joined", "queue-admitted", "room-joined", "seats-held", "seats-released",
        "renewed", "closed", "connected", "restored", "seats-booked", "queue-left", "removed", "closed",
    ]  # fmt: skip
    assert sorted(expected) == sorted(event["type"] for event in found)
    assert ["connected", "closed", "connected", "removed", "closed"] == [
        e["type"] for e in found if e["type"] in {"connected", "closed", "removed"}
    ]
    closes = [event for event in found if event["type"] == "closed"]
    assert {"code": 1006, "by": "network", "reason": None, "instance": instance_a} == {
        k: closes[0][k] for k in ("code", "by", "reason", "instance")
    }
    assert {"code": 3003, "by": "server", "reason": "removed", "instance": instance_b} == {
        k: closes[1][k] for k in ("code", "by", "reason", "instance")
    }
    back = only(found, "restored")
    assert (instance_a, instance_b, 0) == (back["from"], back["instance"], back["missed"])
    assert {"eventId": "1", "count": 2, "seats": ["A-1", "A-2"]}.items() <= only(found, "seats-held").items()
    assert {"count": 1, "seats": ["A-1"]}.items() <= only(found, "seats-released").items()
    assert ["event:1", "seats:1"] == [e["room"] for e in found if e["type"] == "room-joined"]


async def _with_closes(api: Api, count: int) -> list[dict[str, Any]] | None:
    found = await events(api)
    return found if sum(event["type"] == "closed" for event in found) == count else None


async def test_nothing_is_told_of_whom_nothing_is_known(servers: Servers) -> None:
    """404; and none but the back end may ask."""
    (server,) = servers()

    answers = [await Api(server).get("/api/users/nobody/history")]
    answers += [await Api(server).get("/api/users/not%20valid/history")]
    answers += [await Api(server, key=None).get("/api/users/nobody/history")]

    assert [404, 422, 401] == [answer.status for answer in answers]


async def test_who_comes_with_a_token_that_has_expired_is_told_of(servers: Servers, connect: Connect) -> None:
    """It is signed, so it is known whose it is; a forged one says nothing of anybody."""
    (server,) = servers()
    for bad in (token(USER, lifetime=-100), token(USER, secret="another secret of 32 bytes, at least")):
        await (await connect(server, token=bad, wait=False)).closed(PATIENCE)

    (refused,) = await history_with(Api(server), "refused")

    assert "token_expired" == refused["reason"]


async def test_a_dead_servers_connections_are_told_of(valkey: StoreProcess) -> None:
    """It wrote nothing itself: the servers that find what it has left do, with since when it was there."""
    cluster = Cluster(Config(), valkey.url, valkey.client)
    await cluster.start(2)
    try:
        a, b = cluster.servers
        socket = new_socket_id(USER)
        attached = await a.services.manager.attach(USER, socket)
        instance = await cluster.crash(0)

        async def found() -> list[dict[str, Any]]:
            events = await read(b.services.store)
            return [event for event in events if event["type"] == "lost"] and events

        events = await eventually(found, "the connection is found", PATIENCE)
    finally:
        await cluster.stop()

    assert ["lost", "connected"] == [event["type"] for event in events]
    assert [(instance, socket)] * 2 == [(event["instance"], event["socketId"]) for event in events]
    assert attached.order == events[1]["at"]


# --- what the scripts note ---


def manager(store: Store, most: int = 10, ttl: float = 100.0) -> SessionManager:
    config = Config(session_ttl=ttl, max_connections_per_user=most)
    return SessionManager(store, config, Membership("i-a", {"i-a"}, set()))


async def read(store: Store, user: str = USER) -> list[dict[str, Any]]:
    """What is noted of a user, newest first."""
    notes = await Recorder(store, Config(), Metrics()).read(user)
    return cast("list[dict[str, Any]]", to_builtins(history(notes, [])))


async def test_an_end_is_noted_once(store: Store) -> None:
    """Also where it is told twice, as the answer was lost, and by whoever sweeps besides. A connection that
    never began leaves nothing."""
    sessions, socket = manager(store), new_socket_id(USER)
    order = (await sessions.attach(USER, socket)).order
    for _ in range(2):
        await sessions.detach(USER, socket, how=f"closed i-a {socket} 4001 server no_pong")
    await sessions.detach(USER, socket, "i-a", lost("i-a", socket))
    await sessions.detach(USER, new_socket_id(USER), how="closed i-a x 1000 client -")

    found = await read(store)

    assert ["closed", "connected"] == [event["type"] for event in found]
    assert {"code": 4001, "reason": "no_pong", "instance": "i-a"}.items() <= found[0].items()
    assert {"at": order, "type": "connected", "instance": "i-a", "socketId": socket} == found[1]


async def test_who_is_replaced_is_noted(store: Store) -> None:
    """By a connection that names it, or by one too many."""
    sessions = manager(store, most=1)
    one, two, three = (new_socket_id(USER) for _ in range(3))
    await sessions.attach(USER, one)
    await sessions.attach(USER, two, replaces=one)
    await sessions.attach(USER, three)

    found = [event for event in await read(store) if event["type"] == "replaced"]

    assert [two, one] == [event["socketId"] for event in found]


async def test_a_history_is_bounded(store: Store, store_process: StoreProcess) -> None:
    """50 entries, for as long as a session; who is refused ever anew takes one of them, the last time."""
    sessions, recorder = manager(store), keys.user(USER).recorder
    for n in range(MOST + 10):
        await sessions.update(USER, {}, notes=[f"room joined chat:{n}"])
    full = await read(store)
    await store.command("ZADD", keys.user(USER).revoked, 2**53, "t:1")
    for _ in range(3):
        try:
            await sessions.attach(USER, new_socket_id(USER), marks=["t:1"])
        except Refused:
            continue
    refused = await read(store)

    assert (MOST, "chat:59", "chat:10") == (len(full), full[0]["room"], full[-1]["room"])
    assert ["refused", "room-joined"] == [event["type"] for event in refused[:2]]
    assert (MOST, "chat:59", "token_revoked") == (len(refused), refused[1]["room"], refused[0]["reason"])
    assert 0 < int(store_process.client.pttl(recorder)) <= 100_000  # type: ignore[arg-type]
    assert store_process.client.memory_usage(recorder) < 8192  # type: ignore[operator]


# --- what servers note ---


async def test_refusals_by_turns_are_one(store: Store) -> None:
    """Who knocks at two servers with a token that is over pushes out nothing of what explains it."""
    recorder = Recorder(store, Config(), Metrics())
    task = asyncio.create_task(recorder.run())
    recorder.note(USER, "room joined chat:1")
    for n in range(MOST):
        recorder.note(USER, f"refused i-{'ab'[n % 2]} token_expired")
        await recorder.settled()
    task.cancel()

    found = [(event["type"], event.get("instance")) for event in await read(store)]

    assert [("refused", f"i-{'ab'[(MOST - 1) % 2]}"), ("room-joined", None)] == found


async def test_what_several_servers_see_is_noted_once(store: Store) -> None:
    """A change of a place or a hold; `gone` only where the last word was that it was there."""
    a, b = (Recorder(store, Config(), Metrics()) for _ in range(2))
    tasks = [asyncio.create_task(recorder.run()) for recorder in (a, b)]
    for change in ("gone", "waiting", "admitted", "expired", "gone", "waiting", "gone"):
        for recorder in (a, b):
            recorder.queue(USER, "1", change)
            await recorder.settled()
    a.seats(USER, "1", "held", ["A-1"])
    a.seats(USER, "2", "gone", [])
    a.seats(USER, "1", "gone", [])
    await a.settled()
    for task in tasks:
        task.cancel()

    found = [(event["type"], event["eventId"]) for event in reversed(await read(store))]

    assert [
        *((f"queue-{change}", "1") for change in ("waiting", "admitted", "expired", "waiting", "gone")),
        ("seats-held", "1"), ("seats-gone", "1"),
    ] == found  # fmt: skip


async def test_notes_of_many_are_written_together(store: Store, store_process: StoreProcess) -> None:
    """A user whose notes cannot be written costs nobody else's."""
    metrics, users = Metrics(), [f"u-{n}" for n in range(90)]
    store_process.client.set(keys.user("u-7").recorder, "no list")
    store_process.client.config_resetstat()
    recorder = Recorder(store, Config(), metrics)
    for user in users:
        recorder.queue(user, "1", "waiting")
    task = asyncio.create_task(recorder.run())
    await recorder.settled()
    task.cancel()
    calls = sum(
        figures["calls"]
        for name, figures in store_process.info("commandstats").items()
        if name in {"cmdstat_evalsha", "cmdstat_eval"}
    )
    users.remove("u-7")

    # five of twenty users each at most, and each once more where the store does not know the script yet
    assert calls <= 5 + 5
    assert [["queue-waiting"]] * 89 == [[event["type"] for event in await read(store, u)] for u in users]
    assert 1 == counted(metrics.notes_lost)


async def test_notes_wait_for_the_store(valkey: StoreProcess) -> None:
    """Nothing waits for them; what is noted while it is away is written when it is back, with the time at
    which it happened."""
    metrics = Metrics()
    store = Store(valkey.url, metrics)
    recorder = Recorder(store, Config(), metrics)
    running = [asyncio.create_task(part.run()) for part in (store, recorder)]
    seconds, _ = await store.command("TIME")
    store.clock.set(int(seconds) * 1000, int(seconds) * 1000 + 86_400_000)
    valkey.freeze()
    try:
        recorder.note(USER, "refused i-a first")
        await eventually(lambda: counted(metrics.store_errors, outcome="unknown"), "it was tried", PATIENCE)
        for n in range(MOST + 5):
            recorder.note(USER, f"refused i-a r{n}")
        noted_by = store.clock.now_ms()
    finally:
        valkey.thaw()
    await asyncio.wait_for(recorder.settled(), PATIENCE)

    found = await read(store)
    for task in running:
        task.cancel()

    assert [f"r{n}" for n in reversed(range(5, MOST + 5))] == [event["reason"] for event in found]
    assert all(event["at"] <= noted_by for event in found)


def test_what_a_newer_server_notes_is_told_as_far_as_it_is_known() -> None:
    """Old and new ones run side by side while a new version comes."""
    (event,) = history(["5 teleported i-a there"], [])

    assert (5, "teleported") == (event.at, event.type)
