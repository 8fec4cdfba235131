"""Another store takes over in the middle of a sale, or the same one comes back: with all its data, without
the newest of it, or with none. What was lost is told; what was not is never told of."""

from tests.chaos.conftest import FreshStores, Networks
from tests.chaos.test_store_away import all_say, assert_went_on, behind
from tests.conftest import Connect, Servers
from tests.support.proxy import Proxy
from tests.support.stores import StoreProcess
from tests.support.traffic import ROOM, Traffic
from tests.support.waiting import eventually


async def assert_agreed_on_what_is_left(traffic: Traffic) -> None:
    """Something was lost: the sale goes on, on the same connections, and everyone knows what is left."""
    await traffic.flows()
    await traffic.stop()
    await traffic.assert_sound()
    traffic.assert_nobody_left()


def resets(traffic: Traffic, room: str) -> list[str]:
    """The visitors who were told that a room begins anew."""
    return [
        visitor.name
        for visitor in traffic.visitors
        if any(f["type"] == "room-reset" and f["room"] == room for f in visitor.client.frames)
    ]


async def test_a_store_that_comes_back_with_everything_resets_nobody(
    servers: Servers, connect: Connect, fresh_stores: FreshStores
) -> None:
    """`kill -9`, and started again from its log: another incarnation with the same past."""
    store = fresh_stores(appendonly="yes", appendfsync="always")
    fleet = servers(2, redis_url=store.url)
    async with Traffic(connect, fleet, store.client) as traffic:
        await traffic.flows()
        store.kill()
        await traffic.is_refused()
        store.start()
        await assert_went_on(traffic)


async def test_a_store_that_comes_back_empty_is_another_life(
    servers: Servers, connect: Connect, fresh_stores: FreshStores
) -> None:
    """Everything is gone, the events too, and the shop makes them again: everyone is told, no message stands
    where another stood before, and nobody keeps a seat or a place of the other life."""
    store = fresh_stores()
    fleet = servers(2, redis_url=store.url)
    async with Traffic(connect, fleet, store.client) as traffic:
        await traffic.flows()
        store.kill()
        store.start()
        await all_say(200, *fleet)
        await traffic.open_sale()
        await assert_agreed_on_what_is_left(traffic)

    assert [visitor.name for visitor in traffic.visitors] == resets(traffic, ROOM)


async def hand_over(traffic: Traffic, network: Proxy, primary: StoreProcess, replica: StoreProcess) -> None:
    """As an operator does: writes stop, the replica has everything and is promoted, the other follows it."""
    primary.client.execute_command("CLIENT", "PAUSE", "5000", "WRITE")
    offset = primary.info("replication")["master_repl_offset"]
    await eventually(
        lambda: replica.info("replication")["slave_repl_offset"] >= offset, "the replica has everything"
    )
    replica.follow(None)
    network.point(replica.port)
    primary.client.replicaof("127.0.0.1", str(replica.port))
    primary.client.execute_command("CLIENT", "UNPAUSE")
    traffic.store = replica.client


async def test_a_failover_that_loses_nothing_is_noticed_by_nobody(
    servers: Servers, connect: Connect, fresh_stores: FreshStores, networks: Networks
) -> None:
    """Planned: the primary is demoted with the servers still connected to it."""
    primary, replica = fresh_stores(), fresh_stores()
    replica.follow(primary)
    network = networks(primary)
    fleet = servers(2, redis_url=behind(network))
    async with Traffic(connect, fleet, primary.client) as traffic:
        await traffic.flows()
        await hand_over(traffic, network, primary, replica)
        await assert_went_on(traffic)
