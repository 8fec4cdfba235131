"""Only the bell is broken: what it does not bring is fetched, and what it brings twice is told once."""

from typing import Any

from session import keys
from tests.chaos.conftest import FreshStores, Networks
from tests.chaos.test_store_away import LOADED, all_say, assert_went_on, behind
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.traffic import ROOM, Traffic
from tests.support.waiting import eventually


async def checks(server: ServerProcess) -> dict[str, bool]:
    answer: dict[str, Any] = (await Api(server, key=None).get("/readyz")).json
    return dict(answer["checks"])


async def test_a_killed_subscription_loses_nothing(
    servers: Servers, connect: Connect, fresh_stores: FreshStores
) -> None:
    """`CLIENT KILL TYPE pubsub`, again and again, while messages, seats and the line move."""
    store = fresh_stores()
    fleet = servers(2, redis_url=store.url)
    async with Traffic(connect, fleet, store.client) as traffic:
        for _ in range(5):
            await traffic.flows()
            store.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await assert_went_on(traffic)

    assert all(server.metric('keepseat_repairs_total{cause="subscribe"}') > 0 for server in fleet)


async def test_a_subscription_that_hears_nothing_is_seen_and_made_up_for(
    servers: Servers, connect: Connect, fresh_stores: FreshStores, networks: Networks
) -> None:
    """Commands work, subscribers hear nothing, and no connection ends: `/readyz` names pub/sub alone;
    messages, seats and the line go on meanwhile, a second late."""
    store = fresh_stores()
    network = networks(store)
    fleet = servers(2, redis_url=behind(network))
    async with Traffic(connect, fleet, store.client) as traffic:
        await traffic.flows()
        network.deafen()
        await all_say(503, *fleet)
        found = [await checks(server) for server in fleet]
        await traffic.flows()
        late = await connect(fleet[0], user="late", rooms=[ROOM])
        await late.do("join-room", room=ROOM)
        await late.expect("message", timeout=LOADED)
        still = [server.ready_status() for server in fleet]
        network.mend()
        await all_say(200, *fleet)
        await assert_went_on(traffic)

    assert [{"store": True, "pubsub": False, "draining": False}] * 2 == found
    assert [503, 503] == still
    late.assert_contiguous()


def subscribers(store: StoreProcess) -> int:
    return len(store.client.client_list(_type="pubsub"))


async def test_a_subscriber_that_the_store_cuts_off_catches_up(
    servers: Servers, connect: Connect, fresh_stores: FreshStores
) -> None:
    """A frozen server reads nothing, and the store drops it when too much waits for it. Thawed, it brings its
    clients all that was said meanwhile."""
    store = fresh_stores()
    store.client.config_set("client-output-buffer-limit", "pubsub 262144 0 0")
    a, b = servers(2, redis_url=store.url)
    async with Traffic(connect, [a, b], store.client) as traffic:
        await traffic.flows()
        before = subscribers(store)
        b.freeze()
        # what the kernel keeps for b comes first; of strings above 16 KiB Valkey 9 counts the references only
        while subscribers(store) == before:
            store.client.publish(keys.room(ROOM).channel, "0 g " + "x" * 12_000)
        talker = traffic.talkers[0]
        said = len(talker.published)
        await eventually(lambda: len(talker.published) >= said + 5, "something is said meanwhile", LOADED)
        b.thaw()
        await assert_went_on(traffic)

    assert b.metric("keepseat_pubsub_reconnects_total") > 0
