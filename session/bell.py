"""The pub/sub connection: which channels are wanted, which are acknowledged, and whether it really hears.

Pub/sub is the bell, not the truth: whatever was published while this connection was away is gone, so
every cut is told, and every acknowledgement is an occasion to look at the truth. A healthy TCP
connection is no proof of delivery: a connection that hears no canary for 3 s is closed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from session.line import Wire, keep_connected
from session.metrics import Metrics

log = logging.getLogger(__name__)

DEAF_SECONDS = 3.0
BATCH = 256


class Ear(Protocol):
    """Who is told what the bell brings."""

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """Something was published."""

    def on_ack(self, channel: str) -> None:
        """From now on the channel is heard."""

    def on_cut(self) -> None:
        """Nothing is heard any more; what is published now is missed."""


class Bell:
    """One subscription connection, made anew whenever it ends. `run` it as a task."""

    def __init__(
        self, open_wire: Callable[[], Awaitable[Wire]], canary: str, ear: Ear, metrics: Metrics
    ) -> None:
        self._open_wire = open_wire
        self._canary = canary
        self._ear = ear
        self._metrics = metrics
        self._wanted: dict[str, bool] = {canary: False}
        self._orders: list[tuple[str, str]] = []
        self._ordered = asyncio.Event()
        self._heard = float("-inf")

    def subscribe(self, channel: str) -> None:
        """Ask for a channel; its acknowledgement is told to the ear."""
        if channel not in self._wanted:
            self._wanted[channel] = False
            self._order("SUBSCRIBE", channel)

    def unsubscribe(self, channel: str) -> None:
        """Give a channel up. One that is not acknowledged yet is kept: its late acknowledgement could be
        taken for that of a later subscribe."""
        if self._wanted.get(channel):
            del self._wanted[channel]
            self._order("UNSUBSCRIBE", channel)

    def hears(self, channel: str) -> bool:
        """Whether the channel is acknowledged on the connection that stands now."""
        return self._wanted.get(channel, False)

    def canary_age(self) -> float:
        """Seconds since this server last heard itself; infinite before the first time."""
        return time.monotonic() - self._heard

    def _order(self, verb: str, channel: str) -> None:
        self._orders.append((verb, channel))
        self._ordered.set()

    async def run(self) -> None:
        """Connect, listen, and connect again, until cancelled."""
        await keep_connected(self._open_wire, self._serve)

    async def _serve(self, wire: Wire) -> None:
        self._orders = [("SUBSCRIBE", channel) for channel in self._wanted]
        self._ordered.set()
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
            for channel in self._wanted:
                self._wanted[channel] = False
            self._ear.on_cut()
        self._metrics.pubsub_reconnects.inc()
        log.warning("the subscription ended and is made anew: %r", why or "no canary heard")

    async def _watch(self) -> None:
        began = time.monotonic()
        while time.monotonic() - max(began, self._heard) < DEAF_SECONDS:
            await asyncio.sleep(0.25)

    async def _write(self, wire: Wire) -> None:
        while True:
            await self._ordered.wait()
            self._ordered.clear()
            orders, self._orders = self._orders, []
            commands: list[list[str]] = []
            for verb, channel in orders:
                if not commands or commands[-1][0] != verb or len(commands[-1]) > BATCH:
                    commands.append([verb])
                commands[-1].append(channel)
            await wire.send_packed_command(wire.pack_commands(commands), check_health=False)

    async def _read(self, wire: Wire) -> None:
        canary = self._canary.encode()
        while True:
            kind, channel, payload = await wire.read_response()
            if kind == b"message":
                if channel == canary:
                    self._heard = time.monotonic()
                else:
                    self._ear.on_message(channel, payload)
            elif kind == b"subscribe":
                name = channel.decode()
                if name in self._wanted:
                    self._wanted[name] = True
                    self._ear.on_ack(name)
