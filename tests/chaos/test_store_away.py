"""The store is silent, full, read-only or slow in the middle of a sale: it is said, and nothing is lost."""

from tests.chaos.conftest import FreshStores, Networks
from tests.conftest import Connect, Servers
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess
from tests.support.traffic import Traffic
from tests.support.waiting import eventually

LOADED = 20.0
"""How long is waited for what is promised within 6 s, or 2 s: the machine may be busy."""
ANSWER_SECONDS = 10.0
"""The same for an answer, promised within 3 s."""


def behind(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


async def all_say(status: int, *servers: ServerProcess) -> None:
    """Wait until ``/readyz`` of each has this status."""
    for server in servers:
        await eventually(lambda s=server: s.ready_status() == status, f"{server.url} says {status}", LOADED)


async def assert_went_on(traffic: Traffic) -> None:
    """The sale goes on, on the same connections, and the trouble was told as it must be."""
    await traffic.flows()
    await traffic.stop()
    await traffic.assert_sound()
    traffic.assert_nothing_lost()
    traffic.assert_nobody_left()
    for trouble in traffic.troubles:
        assert trouble.retryable
        assert trouble.outcome in {"none", "unknown"}
        assert trouble.seconds < ANSWER_SECONDS, trouble


async def test_a_silent_store_is_told_and_outlived(
    servers: Servers, connect: Connect, fresh_stores: FreshStores
) -> None:
    """Frozen: commands are `unavailable`, `/readyz` is red and `/healthz` green, connections stay; thawed, it
    all goes on as if nothing had been."""
    store = fresh_stores()
    fleet = servers(2, redis_url=store.url)
    async with Traffic(connect, fleet, store.client) as traffic:
        await traffic.flows()
        store.freeze()
        await all_say(503, *fleet)
        alive = [server.get("/healthz")[0] for server in fleet]
        await traffic.is_refused()
        store.thaw()
        await all_say(200, *fleet)
        await assert_went_on(traffic)

    assert [200, 200] == alive


async def test_a_store_that_takes_no_writes_is_away(
    servers: Servers, connect: Connect, fresh_stores: FreshStores
) -> None:
    """Full, then demoted to read-only: it answers, and hears, and still nothing can be done: `/readyz` says
    so too, and it ends with the trouble."""
    store = fresh_stores()
    fleet = servers(2, redis_url=store.url)
    async with Traffic(connect, fleet, store.client) as traffic:
        await traffic.flows()
        store.client.config_set("maxmemory", "1")
        await all_say(503, *fleet)
        await traffic.is_refused()
        store.client.config_set("maxmemory", "0")
        await all_say(200, *fleet)
        store.client.replicaof("127.0.0.1", "1")
        await traffic.is_refused()
        store.client.replicaof("NO", "ONE")
        await all_say(200, *fleet)
        await assert_went_on(traffic)


async def test_small_troubles_are_nobodys(
    servers: Servers, connect: Connect, fresh_stores: FreshStores, networks: Networks
) -> None:
    """100 ms an answer, then every script forgotten again and again, then a second of sleep, then every
    connection lost: no message, no seat and no place is, and nobody is sent away."""
    store = fresh_stores()
    network = networks(store)
    fleet = servers(2, redis_url=behind(network))
    async with Traffic(connect, fleet, store.client) as traffic:
        network.slow(0.1)
        await traffic.flows()
        network.mend()
        for _ in range(3):
            store.client.script_flush()
            await traffic.flows()
        store.client.execute_command("DEBUG", "SLEEP", "1")
        await traffic.flows()
        network.blink()
        await assert_went_on(traffic)


async def test_servers_wait_for_a_store_that_is_not_there_yet(
    servers: Servers, connect: Connect, fresh_stores: FreshStores
) -> None:
    """They start without it, turn clients away with a reason, and are ready when it comes."""
    store = fresh_stores()
    store.kill()
    fleet = servers(2, ready=False, redis_url=store.url)
    await all_say(503, *fleet)
    early = [await connect(server, wait=False) for server in fleet]
    for client in early:
        refused = await client.expect("error", timeout=LOADED)
        assert ("unavailable", True) == (refused["code"], refused["retryable"])
        assert (1013, "unavailable") == await client.closed()
    store.start()
    await all_say(200, *fleet)
    async with Traffic(connect, fleet, store.client) as traffic:
        await assert_went_on(traffic)
