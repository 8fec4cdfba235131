"""One pub/sub connection to one node: which channels are wanted there, which are heard, and whether it hears.

A healthy TCP connection is no proof of delivery: once a second the node is told to publish on a channel that
only this connection listens to, its canary, and a connection that hears none for 3 s is made anew.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Collection
from typing import Protocol

from session.line import LineLostError, Wire, keep_connected, take_note
from session.metrics import Metrics
from session.nodes import Node

log = logging.getLogger(__name__)

RING_SECONDS = 1.0
DEAF_SECONDS = 3.0
BATCH = 256
HEARD = 0
"""In place of the number of an order that was not acknowledged yet."""


class Hearer(Protocol):
    """Who is told what a subscriber hears."""

    def message(self, channel: bytes, payload: bytes) -> None:
        """Something was published."""

    def heard(self, channel: str) -> None:
        """From now on the channel is heard."""

    def cut(self, channels: Collection[str]) -> None:
        """The connection has ended; it will be made anew and these subscribed to again."""

    def taken_away(self, subscriber: "Subscriber", channel: str) -> None:
        """The node has the channel no more; it is not subscribed to again."""

    def is_elsewhere(self, error: Exception) -> bool:
        """Whether an error reply to a subscription says that another node has the channel."""


class Subscriber:
    """One subscription connection, made anew whenever it ends. `run` it as a task."""

    def __init__(
        self, node: Node, canary: str, hearer: Hearer, metrics: Metrics, *, is_sharded: bool
    ) -> None:
        self._node = node
        self._hearer = hearer
        self._metrics = metrics
        self._letter = "S" if is_sharded else ""
        self._batch = 1 if is_sharded else BATCH
        """Channels a command: sharded ones in one command must be of one slot."""
        self._wanted: dict[str, int] = {}
        self._numbers = HEARD
        self._orders: list[tuple[str, str, int]] = []
        self._sent: deque[tuple[str, str, int]] = deque()
        self._ordered = asyncio.Event()
        self._is_connected = False
        self._rung: asyncio.Future[int] | None = None
        self._heard = float("-inf")
        self.canary = canary
        self._canary_name = canary.encode()
        self.subscribe(canary)

    def subscribe(self, channel: str) -> None:
        """Ask for a channel; the hearer is told once it is heard."""
        self._numbers += 1
        self._wanted[channel] = self._numbers
        self._order("SUBSCRIBE", channel, self._numbers)

    def unsubscribe(self, channel: str) -> None:
        """Give a channel up."""
        if self._wanted.pop(channel, None) is not None:
            self._order("UNSUBSCRIBE", channel, HEARD)

    def listen_to(self, canary: str) -> None:
        """Take another canary: the node has the old one no more."""
        self.unsubscribe(self.canary)
        self.canary = canary
        self._canary_name = canary.encode()
        self.subscribe(canary)

    def wants(self, channel: str) -> bool:
        """Whether the channel is subscribed to, or will be."""
        return channel in self._wanted

    def hears(self, channel: str) -> bool:
        """Whether the channel is acknowledged on the connection that stands now."""
        return self._wanted.get(channel) == HEARD

    def canary_age(self) -> float:
        """Seconds since this server last heard itself; infinite before the first time."""
        return time.monotonic() - self._heard

    def _order(self, verb: str, channel: str, number: int) -> None:
        # else everything that is wanted then is ordered with the connection
        if self._is_connected:
            self._orders.append((verb, channel, number))
            self._ordered.set()

    async def run(self) -> None:
        """Connect, listen, and connect again, until cancelled."""
        await keep_connected(self._node.open_wire, self._serve)

    async def _serve(self, wire: Wire) -> None:
        self._is_connected = True
        self._sent.clear()
        self._order_all()
        tasks = [asyncio.create_task(part) for part in (self._write(wire), self._read(wire), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            why = next(iter(done)).exception()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Exception):
                await wire.disconnect(nowait=True)
            self._is_connected = False
            self._order_all()
            self._hearer.cut(self._wanted.keys() - {self.canary})
        self._metrics.pubsub_reconnects.inc()
        log.warning("the subscription ended and is made anew: %r", why or "no canary heard")

    def _order_all(self) -> None:
        """Nothing is heard: everything is to be subscribed to."""
        self._numbers += 1
        self._wanted = dict.fromkeys(self._wanted, self._numbers)
        self._orders = [("SUBSCRIBE", channel, self._numbers) for channel in self._wanted]
        self._ordered.set()

    # --- the canary ---

    async def _watch(self) -> None:
        began = rung = time.monotonic()
        while time.monotonic() - max(began, self._heard) < DEAF_SECONDS:
            if time.monotonic() - rung >= RING_SECONDS:
                rung = time.monotonic()
                self._ring()
            await asyncio.sleep(0.25)

    def _ring(self) -> None:
        """Have the node publish on the canary's channel; one at a time."""
        if self._rung is not None and not self._rung.done():
            return
        with contextlib.suppress(LineLostError):
            self._rung = self._node.line.submit(f"{self._letter}PUBLISH", self.canary, "tweet").future
            self._rung.add_done_callback(take_note)

    # --- the wire ---

    async def _write(self, wire: Wire) -> None:
        while True:
            await self._ordered.wait()
            self._ordered.clear()
            orders, self._orders = self._orders, []
            commands: list[list[str]] = []
            for order in orders:
                verb, channel = self._letter + order[0], order[1]
                if not commands or commands[-1][0] != verb or len(commands[-1]) > self._batch:
                    commands.append([verb])
                commands[-1].append(channel)
            self._sent.extend(orders)
            await wire.send_packed_command(wire.pack_commands(commands), check_health=False)

    async def _read(self, wire: Wire) -> None:
        message, acknowledged = (
            f"{self._letter.lower()}{kind}".encode() for kind in ("message", "subscribe")
        )
        while True:
            try:
                kind, channel, payload = await wire.read_response()
            except Exception as error:
                self._refused(error)
                continue
            if kind == message:
                if channel == self._canary_name:
                    self._heard = time.monotonic()
                else:
                    self._hearer.message(channel, payload)
            elif kind == acknowledged:
                self._acknowledged()
            else:
                self._unsubscribed(channel.decode())

    def _acknowledged(self) -> None:
        _, channel, number = self._sent.popleft()
        if self._wanted.get(channel) != number:
            return  # given up, or given up and wanted again, meanwhile
        self._wanted[channel] = HEARD
        if channel == self.canary:
            self._ring()
        else:
            self._hearer.heard(channel)

    def _unsubscribed(self, channel: str) -> None:
        if self._sent and self._sent[0][:2] == ("UNSUBSCRIBE", channel):
            self._sent.popleft()
        elif self._wanted.pop(channel, None) is not None:
            # nobody asked for it: the slot has gone to another node
            self._hearer.taken_away(self, channel)

    def _refused(self, error: Exception) -> None:
        if not self._sent or not self._hearer.is_elsewhere(error):
            raise error
        _, channel, number = self._sent.popleft()
        if self._wanted.get(channel) == number:
            del self._wanted[channel]
            self._hearer.taken_away(self, channel)
