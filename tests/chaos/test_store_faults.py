"""The store goes away, comes back empty, or refuses: the servers live on, and say so."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from session import keys
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.waiting import eventually, wait_until

ROOMS = {"rooms": ["chat:*"]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    """A store of one's own, which keeps nothing."""
    process = StoreProcess(valkey_binary(), tmp_path / "store")
    yield process
    process.kill()


async def test_an_emptied_store_is_written_back(
    servers: Servers, connect: Connect, store: StoreProcess
) -> None:
    """What the servers know of connected users is there again: each tab's rooms, on whichever server."""
    a, b = servers(2, redis_url=store.url)
    one = await connect(a, user="mina", **ROOMS)
    await one.do("join-event", eventId="7")
    two = await connect(b, user="mina", **ROOMS)
    await two.expect("session-restored")
    await two.do("join-room", room="chat:b")
    store.kill()
    store.start()
    api = Api(a)

    async def is_back() -> bool:
        answer = await api.get("/api/users/mina")
        known = answer.json if answer.status == 200 else {}
        is_known = len(known.get("connections", ())) == 2 and (known["session"] or {}).get("eventId") == "7"
        # each server writes back what it knows; what the API does not show may come last
        return is_known and store.client.smembers(keys.user("mina").rooms) == {"chat:b"}

    await eventually(is_back, "the session is back", 10)
    await one.close()
    await two.close()
    restored = await (await connect(b, user="mina", **ROOMS)).expect("session-restored")

    assert {"user:mina", "event:7", "chat:b"} == {room["room"] for room in restored["rooms"]}


async def test_a_session_over_its_limit_ends_nobody(
    servers: Servers, connect: Connect, store: StoreProcess
) -> None:
    """Two tabs with more rooms together than a session may have, and the store comes back empty: the rest
    is not written back, and the servers live."""
    (a,) = servers(1, redis_url=store.url, max_rooms=5)
    start = {"epoch": "x", "offset": 0}
    tabs = [
        await connect(a, user="mina", resume={f"chat:{tab}-{n}": start for n in range(5)}, **ROOMS)
        for tab in range(2)
    ]
    for tab in tabs:
        await tab.expect("session-restored")
    store.kill()
    store.start()
    await eventually(lambda: a.ready_status() == 200 and "not written back" in a.output, "it was tried", 15)

    assert a.is_running
    for tab in tabs:
        assert "pong" == (await tab.do("ping"))["type"]


async def test_a_store_that_cannot_save_is_away(
    servers: Servers, connect: Connect, store: StoreProcess
) -> None:
    """MISCONF, a full disk: writes are `unavailable`, connections stay, and it ends with the trouble."""
    (a,) = servers(1, redis_url=store.url)
    client = await connect(a)
    # what stands where the dump should go cannot be replaced
    (store.folder / "dump.rdb").mkdir()
    store.client.config_set("save", "1 1")
    store.client.set("a", 1)
    await eventually(
        lambda: store.client.info("persistence")["rdb_last_bgsave_status"] == "err", "saving fails", 15
    )
    answer = await client.call("join-event", eventId="1")
    store.client.config_set("save", "")
    await eventually(lambda: a.ready_status() == 200, "it is ready again", 15)

    assert ("unavailable", "none") == (answer["code"], answer["details"]["outcome"])
    assert "event-joined" == (await client.do("join-event", eventId="1"))["type"]


async def test_commands_that_wait_are_no_dead_line(
    servers: Servers, connect: Connect, store: StoreProcess
) -> None:
    """Pongs are read behind commands that wait for a frozen store: the connection stays."""
    # a ping that comes soon must be answered before one command gives up, which takes 2 s
    (a,) = servers(1, redis_url=store.url, ping_interval=0.2, ping_timeout=1.5)
    client = await connect(a)
    store.freeze()
    for n in range(3):
        await client.send("update-session", id=n, data={"n": n})
    answers = [await client.expect("error", id=n, timeout=20) for n in range(3)]
    store.thaw()

    assert {"unavailable"} == {answer["code"] for answer in answers}
    await eventually(lambda: a.ready_status() == 200, "it is ready again", 15)
    assert "pong" == (await client.do("ping"))["type"]


def count_told(client: Client) -> int:
    """What the newest room-info said."""
    return int([frame["userCount"] for frame in client.frames if frame["type"] == "room-info"][-1])


async def test_counts_forget_a_killed_server(servers: Servers, connect: Connect) -> None:
    """Its connections count no more after 30 s."""
    a, b = servers(2)
    here = await connect(b, user="1")
    await here.do("join-event", eventId="5")
    there = await connect(a, user="2")
    await there.do("join-event", eventId="5")
    await here.expect("room-info", userCount=2)
    a.kill()
    await eventually(lambda: count_told(here) == 1, "the dead are not counted", 30)
    await Api(b).put("/api/events/5", {"title": "x"})

    assert 1 == (await Api(b).get("/api/events/5/stats")).json["connections"]


async def test_counts_forget_a_server_that_left(servers: Servers, connect: Connect) -> None:
    """And at once where it said goodbye."""
    a, b = servers(2, drain_seconds=2)
    here = await connect(b, user="1")
    await here.do("join-event", eventId="5")
    there = await connect(a, user="2")
    await there.do("join-event", eventId="5")
    await here.expect("room-info", userCount=2)
    status = a.terminate()
    await eventually(lambda: count_told(here) == 1, "who left is not counted", 10)

    assert 0 == status


async def test_a_drain_leaves_no_mapping_behind(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Not even of a client that is asleep and never answers the goodbye."""
    (a,) = servers(1, drain_seconds=3)
    asleep = await connect(a, user="1")
    await asleep.do("join-event", eventId="5")
    asleep.pause()
    status = a.terminate()
    left = [key for key in valkey.client.scan_iter("*") if "}i:" in key]
    session = next(key for key in valkey.client.scan_iter("{u:*}s:1"))

    assert 0 == status
    assert [] == left
    assert [] == [field for field in valkey.client.hkeys(session) if field.startswith("c:")]
    assert 0 == valkey.client.zcard("{srv}leases")


def test_a_store_that_hangs_up_is_not_dialled_without_pause(servers: Servers) -> None:
    """Whoever accepts and ends at once (a full store, a balancer before a dead one) is given time."""
    accepted = 0
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            nonlocal accepted
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                line.close()
                accepted += 1

        threading.Thread(target=hang_up, daemon=True).start()
        port = listening.getsockname()[1]
        (a,) = servers(1, ready=False, redis_url=f"redis://127.0.0.1:{port}/0")
        wait_until(lambda: a.ready_status() == 503, "it says that the store is away", 10)
        before, began = accepted, time.monotonic()
        while time.monotonic() - began < 2:
            a.ready_status()
        rate = (accepted - before) / (time.monotonic() - began)

    assert 0 < rate < 30


async def test_a_removal_during_the_connect_is_not_missed(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Whoever is removed while connecting does not stay: twenty connects race with twenty removals."""
    a, b = servers(2)
    api = Api(b)

    async def come() -> None:
        client = await connect(a, user="mina", wait=False)
        await client.expect("connected")

    removal = "/api/users/mina/disconnect"
    await asyncio.gather(*(come() for _ in range(20)), *(api.post(removal) for _ in range(20)))
    await api.post(removal)
    await eventually(lambda: a.metric("keepseat_connections") == 0, "all have gone", 5)
    known = await api.get("/api/users/mina")

    assert 404 == known.status or [] == known.json["connections"]


async def test_a_store_that_evicts_is_warned_of(servers: Servers, store: StoreProcess) -> None:
    """The default of managed stores evicts whatever has a TTL: sessions and holds. It is said."""
    store.client.config_set("maxmemory-policy", "volatile-lru")
    (warned,) = servers(1, redis_url=store.url)
    # a server may be ready before it has looked at the settings
    await eventually(lambda: "about the store: its maxmemory-policy" in warned.output, "it is said", 5)
    store.client.config_set("maxmemory-policy", "noeviction")
    (calm,) = servers(1, redis_url=store.url)

    assert "about the store" not in calm.output
