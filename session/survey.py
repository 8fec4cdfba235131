"""What is asked of each node of the store by name: its settings, its incarnation, its clock."""

import asyncio
import logging
import re
from typing import Any

from session.config import ConfigError
from session.line import PATIENCE_SECONDS, LineLostError, take_note
from session.nodes import Node
from session.store import Arg, Store, Unavailable

log = logging.getLogger(__name__)

NO_REPLICATION_ID = "it does not show its replication id (INFO): a failover that loses writes may go unseen"
EVICTS = "its maxmemory-policy is not noeviction: it may evict sessions, places and histories"
MOST_SKEW_MS = 1000
"""Deadlines are given by the clock of the node that has the leases, and judged by each node's own."""


class Survey:
    """Questions to all nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._skewed: frozenset[str] = frozenset()

    async def warnings(self) -> list[str]:
        """What about the store's settings endangers the promises; empty where all is well.

        Raises:
            ConfigError: the URL is one for another kind of store.
            Unavailable: the store did not answer in time.
        """
        nodes = self._store.nodes
        nodes.check()
        if not nodes.all():
            raise Unavailable("none")
        found = {warning: None for node in nodes.all() for warning in await self._warnings_of(node)}
        return list(found)

    async def _warnings_of(self, node: Node) -> list[str]:
        answers = await _ask(node, *(("INFO", section) for section in ("memory", "replication", "cluster")))
        if any(isinstance(answer, (TimeoutError, LineLostError)) for answer in answers):
            raise Unavailable("none")
        memory, replication, cluster = (a if isinstance(a, bytes) else b"" for a in answers)
        if b"cluster_enabled:1" in cluster and not self._store.nodes.has_slots:
            raise ConfigError(
                "--redis-url: the store is a Cluster: use redis+cluster:// or rediss+cluster:// instead"
            )
        found = []
        if memory and b"maxmemory_policy:noeviction" not in memory:
            found.append(EVICTS)
        if b"master_replid:" not in replication:
            found.append(NO_REPLICATION_ID)
        return found

    async def incarnations(self) -> tuple[frozenset[str], bool]:
        """The incarnations of all nodes that answer, and whether all did; warns of clocks that disagree.

        None where there is one node only: the lease tells its incarnation and its time.
        """
        if not self._store.nodes.has_slots:
            return frozenset(), True
        nodes = list(self._store.nodes.all())
        answers = await asyncio.gather(*(_ask(node, ("INFO", "replication"), ("TIME",)) for node in nodes))
        now = self._store.clock.now_ms()
        words = [re.search(rb"master_replid:(\w{10})", a) for a, _ in answers if isinstance(a, bytes)]
        skewed = frozenset(
            node.name
            for node, (_, time) in zip(nodes, answers, strict=True)
            if isinstance(time, list)
            and abs(int(time[0]) * 1000 + int(time[1]) // 1000 - now) > MOST_SKEW_MS + PATIENCE_SECONDS * 1000
        )
        for name in skewed - self._skewed:
            log.warning("the clock of %s differs by more than a second: scripts there may be refused", name)
        self._skewed = skewed
        found = frozenset(word[1].decode() for word in words if word)
        return found, len(found) == len(nodes)


async def _ask(node: Node, *commands: tuple[Arg, ...]) -> list[Any]:
    """The answers of a node, tried once; where there is none, why."""
    futures = []
    try:
        for command in commands:
            futures.append(node.line.submit(*command).future)
            futures[-1].add_done_callback(take_note)
    except LineLostError as error:
        return [error] * len(commands)
    await asyncio.wait(futures, timeout=PATIENCE_SECONDS)
    return [_result(future) for future in futures]


def _result(future: "asyncio.Future[Any]") -> Any:
    if not future.done():
        future.cancel()
        return TimeoutError()
    return future.exception() or future.result()
