"""The processes that the store is made of: which of them has a key, and the two lines to each."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Protocol

from redis.exceptions import BusyLoadingError, ResponseError

from session.line import Line, Wire

OpenWire = Callable[[], Awaitable[Wire]]


class Node:
    """One process of the store that takes writes. `run` it as a task."""

    def __init__(self, name: str, open_wire: OpenWire, on_up: Callable[[], None]) -> None:
        self.name = name
        self.open_wire = open_wire
        """Makes a connection of its own, for whoever subscribes."""
        self.line = self._new_line()
        self.line.on_up = on_up
        self.apart = self._new_line()
        """A line for commands that wait for the replicas: everything else would wait behind them."""
        self.replicating = asyncio.Lock()
        self.replicas_slow_until = 0.0

    def _new_line(self) -> Line:
        return Line(self.open_wire, (ResponseError, BusyLoadingError))

    async def run(self) -> None:
        """Keep the lines open until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.line.run())
            group.create_task(self.apart.run())

    def drop(self) -> None:
        """Connect anew: what the process at the other end says is not to be believed."""
        self.line.drop()
        self.apart.drop()


class Nodes(Protocol):
    """All of them. `run` it as a task."""

    has_slots: bool
    """Whether it is a Cluster."""
    is_sharded: bool
    """Whether channels belong to slots, and are heard at their owner only (SPUBLISH)."""
    on_change: Callable[[], None]
    """Told that `all` or `of` may answer otherwise from now on."""

    @property
    def is_up(self) -> bool:
        """Whether every key has a node, and a connection to each stands."""

    def of(self, key: Any) -> Node | None:
        """Who has a key or channel; None where that is not known (yet)."""

    def all(self) -> Collection[Node]:
        """Those who have keys."""

    def redirected(self, error: Exception) -> Node | None:
        """Whom an error reply names for this one command; None where it names nobody.

        A reply that names somebody for good (MOVED) is taken note of.
        """

    def is_elsewhere(self, error: Exception) -> bool:
        """Whether an error reply says that another node has the slot."""

    def doubt(self) -> None:
        """Somebody did not answer, or is not who it was: look soon who has what."""

    def check(self) -> None:
        """See whether the URL names the layout that was found.

        Raises:
            ConfigError: it does not.
        """

    async def run(self) -> None:
        """Keep connected until cancelled."""


def _nobody() -> None: ...


class OneNode:
    """A store that is one process, or seems so: behind a fixed address, or by the word of Sentinel."""

    has_slots = False
    is_sharded = False

    def __init__(
        self,
        open_wire: OpenWire,
        on_up: Callable[[], None],
        watch: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._node = Node("the store", open_wire, on_up)
        self._watch = watch
        self.on_change: Callable[[], None] = _nobody

    @property
    def is_up(self) -> bool:
        """See `Nodes`."""
        return self._node.line.is_up

    def of(self, key: Any) -> Node:
        """See `Nodes`."""
        return self._node

    def all(self) -> Collection[Node]:
        """See `Nodes`."""
        return (self._node,)

    def redirected(self, error: Exception) -> None:
        """See `Nodes`; `Survey.warnings` tells whoever should have named a Cluster."""

    def is_elsewhere(self, error: Exception) -> bool:
        """See `Nodes`."""
        return False

    def doubt(self) -> None:
        """See `Nodes`."""

    def check(self) -> None:
        """See `Nodes`."""

    async def run(self) -> None:
        """See `Nodes`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._node.run())
            if self._watch is not None:
                group.create_task(self._watch())
