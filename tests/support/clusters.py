"""A Cluster of real nodes on this machine."""

from itertools import count, islice
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from session import keys
from tests.support.ports import free_port
from tests.support.stores import StoreProcess
from tests.support.waiting import wait_until

SLOTS = 16384
NODES = 3


class ClusterNode(StoreProcess):
    """A node, not yet one of a Cluster."""

    def __init__(self, binary: str, folder: Path, settings: str) -> None:
        self.bus_port = free_port()
        folder.mkdir(parents=True)
        (folder / "more.conf").write_text(settings)
        super().__init__(
            binary, folder, cluster_enabled="yes", cluster_port=str(self.bus_port),
            cluster_node_timeout="60000", include=str(folder / "more.conf"),
        )  # fmt: skip

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"))

    def has_slot(self, slot: int) -> bool:
        """By its own word."""
        rows = self.ask("CLUSTER", "SLOTS")
        return any(first <= slot <= last and where[1] == self.port for first, last, where, *_ in rows)

    def ask(self, *command: str | int) -> Any:
        return self.client.execute_command(*command)

    def cluster_info(self) -> dict[str, str]:
        lines = (line.split(":", 1) for line in self.ask("CLUSTER", "INFO").split())
        return dict(lines)


class ClusterOfNodes:
    """Three nodes with equal shares of the slots; ``settings`` are lines of their configuration."""

    def __init__(self, binary: str, folder: Path, settings: str = "") -> None:
        self._binary = binary
        self._folder = folder
        self._settings = settings
        self.nodes: list[ClusterNode] = []
        for n in range(NODES):
            node = self._new()
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", SLOTS * n // NODES, SLOTS * (n + 1) // NODES - 1)
        for node in self.nodes[1:]:
            self._meet(node)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        self.wait_until_whole()
        self.client: Any = redis.RedisCluster(
            host="127.0.0.1", port=self.nodes[0].port, decode_responses=True
        )
        """Blocking, for looking at the store from outside."""

    def _new(self) -> ClusterNode:
        node = ClusterNode(self._binary, self._folder / f"node-{len(self.nodes)}", self._settings)
        self.nodes.append(node)
        return node

    def _meet(self, node: ClusterNode) -> None:
        node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus_port)

    def wait_until_whole(self) -> None:
        """Until every node knows all the others, and says that all slots are served."""
        wait_until(lambda: all(map(self._is_whole, self.nodes)), "the Cluster is whole", 60)

    def _is_whole(self, node: ClusterNode) -> bool:
        info = node.cluster_info()
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes))

    def add_replica(self, primary: ClusterNode) -> ClusterNode:
        """A fourth node, which follows one of the three."""
        replica = self._new()
        self._meet(replica)
        self.wait_until_whole()
        replica.ask("CLUSTER", "REPLICATE", primary.id)
        wait_until(
            lambda: replica.info("replication").get("master_link_status") == "up", "the replica follows", 60
        )
        replica.ask("READONLY")  # so that it answers itself, on the one connection that is used here
        return replica

    def owner(self, key: str) -> ClusterNode:
        """Who has had a key since the Cluster was made."""
        return self.nodes[key_slot(key.encode()) * NODES // SLOTS]

    def event_at(self, node: ClusterNode) -> str:
        """An event that a node has."""
        return next(event for event in map(str, count(42)) if self.owner(keys.event(event)) is node)

    def users_at(self, node: ClusterNode, how_many: int) -> list[str]:
        """Users whom a node has."""
        found = (user for user in map(str, count()) if self.owner(keys.user(user).session) is node)
        return list(islice(found, how_many))

    def move_keys(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """All keys of a slot that is on the move."""
        while names := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)

    def stop(self) -> None:
        self.client.close()
        for node in self.nodes:
            node.kill()
