"""Who is dead, and who is only late: judged by servers whose own store was away a moment ago."""

import asyncio
import time

import pytest

from session import janitor, keys, leases
from session.config import parse
from tests.chaos.conftest import FreshStores, Networks
from tests.support.parts import Server, Tab
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET
from tests.support.waiting import eventually

CONFIG = parse([f"--jwt-secret={SECRET}"], {})
LOADED = 20.0


async def test_nobody_is_dead_after_a_long_outage(
    fleet: list[Server], fresh_stores: FreshStores, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was away for longer than a lease, and is back for two servers before it is for the third: the
    two do not bury it, for they were late themselves."""
    monkeypatch.setattr(leases, "LEASE_MS", 2000)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.4)
    monkeypatch.setattr(leases, "DEAD_AFTER_MS", 400)
    monkeypatch.setattr(janitor, "ROUND_SECONDS", 0.05)
    store = fresh_stores()
    network = networks(store)
    urls = [store.url, store.url, f"redis://127.0.0.1:{network.port}/0"]
    for url in urls:
        fleet.append(await Server.start(CONFIG, url))
    tabs = [Tab(server, f"user-{n}") for n, server in enumerate(fleet)]
    for tab in tabs:
        await tab.sign_in()
    names = [server.services.leases.instance for server in fleet]

    store.freeze()
    network.stall()
    await eventually(
        lambda: not any(server.services.leases.is_valid for server in fleet), "all leases are over", LOADED
    )
    store.thaw()
    for judge in fleet[:2]:
        await eventually(lambda j=judge: names[2] in j.services.leases._over, "it looks dead", LOADED)
    # time to do wrong: many rounds of the sweep
    await asyncio.sleep(1)
    network.mend()
    await eventually(lambda: fleet[2].services.leases.is_valid, "it is back", LOADED)

    assert names == [server.services.leases.instance for server in fleet]
    assert all(tab.is_open for tab in tabs)
    assert set(names) == set(store.client.zrange(keys.LEASES, 0, -1))


async def test_a_count_of_a_server_that_is_new_is_kept(
    fleet: list[Server], valkey: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that begins, and at once has somebody in an event, is heard of before its lease is: the others
    do not take its count for one that a dead server has left behind."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 1000)
    for _ in range(2):
        fleet.append(await Server.start(CONFIG, valkey.url))
    old, new = (server.services for server in fleet)
    tab = Tab(fleet[0], "mina")
    await tab.sign_in()
    await tab.call("join-event", eventId="5")
    room = old.hub.rooms["event:5"]
    await new.rooms.tell_count("5", new.leases.instance, 1, [])
    await eventually(lambda: new.leases.instance in room.counts, "its count is heard", LOADED)
    # as if the round had come a moment later
    room.counts_at = 0.0
    await old.presence._write(room, time.monotonic())
    first = valkey.client.hget(keys.counts("5"), new.leases.instance)
    room.counts_heard = {new.leases.instance: 1}
    await old.presence._write(room, time.monotonic() + 60)

    assert not old.leases.knows(new.leases.instance)
    assert ("1", "1") == (first, valkey.client.hget(keys.counts("5"), new.leases.instance))
