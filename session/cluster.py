"""A Redis or Valkey Cluster: which node has which slot, learnt again and again.

The scripts, the budget of a call and the subscriptions are the same as elsewhere; this tells them whom to
ask. Nothing is repeated here: MOVED, TRYAGAIN and CLUSTERDOWN are answers after which the store asks again
within its budget, by then perhaps somebody else.
"""

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, ResponseError

from session.config import ConfigError
from session.endpoint import Address, Endpoint
from session.nodes import Node

log = logging.getLogger(__name__)

ASK_SECONDS = 0.5
ASKED_AT_ONCE = 2
"""So many are asked who has what, and the one who knows more is believed."""
CALM_SECONDS, HURRY_SECONDS, LEAST_SECONDS = 10.0, 0.25, 0.2
"""Between two looks while all is well, while it is not, and at least."""
LINGER_SECONDS = 60.0
"""A node without slots is kept so long after it was named: one that a slot is being moved to."""


class Layout(NamedTuple):
    """What one node says; they compare by how much they should be believed."""

    is_ok: bool
    epoch: int
    is_sharded: bool
    ranges: list[tuple[int, int, Address]]


class Cluster:
    """The nodes of a Cluster. `run` it as a task."""

    has_slots = True

    def __init__(self, endpoint: Endpoint, on_up: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._on_up = on_up
        self._slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._known: dict[Address, Node] = {}
        self._named_at: dict[Node, float] = {}
        self._owners: frozenset[Node] = frozenset()
        self._tasks: dict[Node, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._doubted = asyncio.Event()
        self._wrong = ""
        self._told = ""
        self.is_sharded = True
        self.on_change: Callable[[], None] = lambda: None

    @property
    def is_up(self) -> bool:
        """See `Nodes`."""
        return None not in self._slots and all(node.line.is_up for node in self._owners)

    def of(self, key: Any) -> Node | None:
        """See `Nodes`."""
        return self._slots[key_slot(str(key).encode())]

    def all(self) -> Collection[Node]:
        """See `Nodes`."""
        return self._owners

    def redirected(self, error: Exception) -> Node | None:
        """See `Nodes`."""
        if not isinstance(error, AskError):
            return None
        if not error.host:
            self.doubt()  # it does not know how it is reached from here
            return None
        named = self._node(Address(error.host, error.port))
        if not isinstance(error, MovedError):
            return named
        self.doubt()
        if self._slots[error.slot_id] is not named:
            self._slots[error.slot_id] = named
            self._owners = frozenset(node for node in self._slots if node is not None)
            self.on_change()
        return None

    def is_elsewhere(self, error: Exception) -> bool:
        """See `Nodes`."""
        return isinstance(error, MovedError)

    def doubt(self) -> None:
        """See `Nodes`."""
        self._doubted.set()

    def check(self) -> None:
        """See `Nodes`."""
        if self._wrong:
            raise ConfigError(self._wrong)

    def _node(self, address: Address) -> Node:
        """The node there; made where it was not known, and connected to from now on."""
        node = self._known.get(address)
        if node is None:
            node = self._known[address] = Node(
                str(address), lambda: self._endpoint.open(address), self._on_up
            )
            if self._group is not None:
                self._tasks[node] = self._group.create_task(node.run())
        self._named_at[node] = time.monotonic()
        return node

    # --- looking ---

    async def run(self) -> None:
        """See `Nodes`."""
        async with asyncio.TaskGroup() as self._group:
            while True:
                self._doubted.clear()
                layout = await self._look()
                if layout is not None:
                    self._take(layout)
                await asyncio.sleep(LEAST_SECONDS)
                await self._wait(CALM_SECONDS if self.is_up else HURRY_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._doubted.wait()

    async def _look(self) -> Layout | None:
        """What those say who answer; the nodes that are known are asked, and those that the URL names."""
        candidates = list({*self._known, *self._endpoint.addresses})
        random.shuffle(candidates)
        why = ""
        for at in range(0, len(candidates), ASKED_AT_ONCE):
            asked = (self._ask(address) for address in candidates[at : at + ASKED_AT_ONCE])
            answers = await asyncio.gather(*asked, return_exceptions=True)
            layouts = [answer for answer in answers if isinstance(answer, Layout)]
            if layouts:
                self._told = ""
                return max(layouts, key=lambda layout: (layout.is_ok, layout.epoch))
            why = "; ".join(str(answer) or repr(answer) for answer in answers)
        if why != self._told:
            self._told = why
            log.warning("no node of the Cluster says who has what: %s", why)
        return None

    async def _ask(self, address: Address) -> Layout:
        async with asyncio.timeout(ASK_SECONDS):
            wire = await self._endpoint.open(address)
        try:
            questions = ("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"), ("COMMAND", "INFO", "SPUBLISH")
            async with asyncio.timeout(ASK_SECONDS):
                await wire.send_packed_command(wire.pack_commands(questions), check_health=False)
                info, slots, sharded = [await wire.read_response() for _ in questions]
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                self._wrong = f"--redis-url: {address} is no node of a Cluster: use redis:// or rediss://"
            raise
        finally:
            await wire.disconnect(nowait=True)
        epoch = re.search(rb"cluster_current_epoch:(\d+)", info)
        return Layout(
            b"cluster_state:ok" in info, int(epoch[1]) if epoch else 0, sharded[0] is not None,
            [(first, last, _address(where, address)) for first, last, where, *_ in slots],
        )  # fmt: skip

    def _take(self, layout: Layout) -> None:
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, address in layout.ranges:
            slots[first : last + 1] = [self._node(address)] * (last + 1 - first)
        if not self._owners:
            # once for all: who publishes and who listens must agree
            self.is_sharded = layout.is_sharded
        self._slots = slots
        self._owners = frozenset(node for node in slots if node is not None)
        self._forget()
        self.on_change()

    def _forget(self) -> None:
        """Leave the nodes that have no slots any more."""
        edge = time.monotonic() - LINGER_SECONDS
        for address, node in list(self._known.items()):
            if node not in self._owners and self._named_at[node] < edge:
                del self._known[address], self._named_at[node]
                self._tasks.pop(node).cancel()


def _address(where: Sequence[Any], asked: Address) -> Address:
    """How a node is reached: by what it is called, or as the one who was asked where it has no name."""
    host = (where[0] or b"").decode()
    return Address(asked.host if host in {"", "?"} else host, int(where[1]))
