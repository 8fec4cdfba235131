"""Pub/sub over all nodes of the store: each channel is listened to where it is published.

Pub/sub is the bell, not the truth: whatever was published while nobody listened is gone, so every cut is
told, and every acknowledgement is an occasion to look at the truth. Where channels belong to slots and a slot
goes to another node, its channels follow, and are cut and heard again on the way.
"""

import asyncio
from collections.abc import Collection
from itertools import count
from typing import Protocol

from session import keys
from session.metrics import Metrics
from session.nodes import Node, Nodes
from session.subscriber import Subscriber


class Ear(Protocol):
    """Who is told what the bell brings."""

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """Something was published."""

    def on_ack(self, channel: str) -> None:
        """From now on the channel is heard."""

    def on_cut(self, channels: Collection[str]) -> None:
        """These are not heard any more; what is published on them now is missed."""


class Bell:
    """A subscription for each node. `run` it as a task."""

    def __init__(self, nodes: Nodes, instance: str, ear: Ear, metrics: Metrics) -> None:
        self._nodes = nodes
        self._instance = instance
        self._ear = ear
        self._metrics = metrics
        self._homes: dict[str, Subscriber | None] = {}
        """Who listens to each channel; None where nobody is known yet who has it."""
        self._subscribers: dict[Node, Subscriber] = {}
        self._tasks: dict[Node, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self.message, self.heard = ear.on_message, ear.on_ack

    def subscribe(self, channel: str) -> None:
        """Ask for a channel; its acknowledgement is told to the ear."""
        if channel not in self._homes:
            self._homes[channel] = None
            self._place(channel)

    def unsubscribe(self, channel: str) -> None:
        """Give a channel up."""
        home = self._homes.pop(channel, None)
        if home is not None:
            home.unsubscribe(channel)

    def hears(self, channel: str) -> bool:
        """Whether the channel is acknowledged on the connection that stands now."""
        home = self._homes.get(channel)
        return home is not None and home.hears(channel)

    def canary_age(self) -> float:
        """Seconds since this server last heard itself through each node; infinite before the first time."""
        return max((s.canary_age() for s in self._subscribers.values()), default=float("inf"))

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            self._nodes.on_change = self._follow
            self._follow()
            await asyncio.Event().wait()

    # --- who listens to what ---

    def _follow(self) -> None:
        """Listen to each node that has keys, and to each channel where it is."""
        nodes = self._nodes.all()
        for node in nodes:
            subscriber = self._subscribers.get(node)
            if subscriber is None:
                self._start(node)
            elif self._nodes.of(subscriber.canary) is not node or not subscriber.wants(subscriber.canary):
                subscriber.listen_to(self._canary(node))
        for channel in self._homes:
            self._place(channel)
        for node in [node for node in self._subscribers if node not in nodes]:
            del self._subscribers[node]
            self._tasks.pop(node).cancel()

    def _start(self, node: Node) -> None:
        if self._group is None:
            return
        subscriber = Subscriber(
            node, self._canary(node), self, self._metrics, is_sharded=self._nodes.is_sharded
        )
        self._subscribers[node] = subscriber
        self._tasks[node] = self._group.create_task(subscriber.run())

    def _canary(self, node: Node) -> str:
        """A channel of this server that the node has."""
        return next(c for c in (keys.canary(self._instance, n) for n in count()) if self._nodes.of(c) is node)

    def _place(self, channel: str) -> None:
        node, old = self._nodes.of(channel), self._homes[channel]
        new = self._subscribers.get(node) if node is not None else None
        if new is old:
            return
        self._homes[channel] = new
        if old is not None:
            old.unsubscribe(channel)
            self._ear.on_cut((channel,))
        if new is not None:
            new.subscribe(channel)

    # --- what subscribers tell ---

    def cut(self, channels: Collection[str]) -> None:
        """A connection has ended."""
        self._ear.on_cut(channels)
        self._nodes.doubt()

    def taken_away(self, subscriber: Subscriber, channel: str) -> None:
        """A node has a channel no more: soon it is known who has it now."""
        if self._homes.get(channel) is subscriber:
            self._homes[channel] = None
            self._ear.on_cut((channel,))
        self._nodes.doubt()

    def is_elsewhere(self, error: Exception) -> bool:
        """Whether an error reply to a subscription says that another node has the channel."""
        return self._nodes.is_elsewhere(error)
