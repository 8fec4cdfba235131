"""Where WebSockets wait before anything is done for them, while many come at once.

Who is upgraded and then waits has cost something already, and costs it again if its patience ends; and a
health check that stands behind five thousand of them makes the balancer
take the server for dead. So only as many are upgraded as can be served soon, and everything that is no
WebSocket goes past them.
"""

import asyncio
import re
import socket
from typing import Any

from tornado.iostream import IOStream

from handlers.front import Front, Waits
from handlers.upgrade import Upgrades
from session.metrics import Metrics
from session.turnstile import Lanes, Turnstile

AT_ONCE = 16
"""Taken in before anything else has its turn: some milliseconds of work."""
MOST_AHEAD = 64
"""While so many wait for their turn to sign in, nobody is upgraded to stand behind them."""
PAUSE_SECONDS = 0.001
SEEN_BYTES = 8192
"""So much of a request is looked at: `resume` may stand behind a token."""
SOCKET = re.compile(rb"GET /ws[ ?]")
RETURNING = re.compile(rb"GET /ws\?(?:[^ ]*&)?(?:returning|resume)=")

Visit = tuple[IOStream, Any]


class Vestibule(Front):
    """The HTTP server of a process; ``most`` WebSockets may wait before it."""

    def initialize(  # type: ignore[override]  # Tornado calls it with what the class was called with
        self,
        *args: Any,
        upgrades: Upgrades,
        turnstile: Turnstile,
        metrics: Metrics,
        most: int,
        **options: Any,
    ) -> None:
        """Called by Tornado in place of a constructor."""
        super().initialize(*args, **options)
        self._upgrades = upgrades
        self._turnstile = turnstile
        self._metrics = metrics
        self._most_waiting = most
        self._lanes: Lanes[Visit] = Lanes()
        self._taken_in = 0
        self._pump_planned = False

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """A connection was accepted. What it wants is looked at when it says so."""
        seen = _peek(stream)
        if seen is None:
            self._wait(stream, Waits.FIRST_REQUEST)
            asyncio.get_running_loop().add_reader(
                stream.socket.fileno(), self._on_first_bytes, stream, address
            )
        else:
            self._receive(stream, address, seen)

    def give_up(self, line: IOStream) -> None:
        """Close a line, whatever it waits for."""
        if not line.closed():
            asyncio.get_running_loop().remove_reader(line.socket.fileno())
        super().give_up(line)

    def _on_first_bytes(self, stream: IOStream, address: Any) -> None:
        seen = _peek(stream)
        if seen is not None:
            asyncio.get_running_loop().remove_reader(stream.socket.fileno())
            self._receive(stream, address, seen)

    def _receive(self, stream: IOStream, address: Any, seen: bytes) -> None:
        """A line has begun to speak, or has ended."""
        if not SOCKET.match(seen):
            super().handle_stream(stream, address)
        elif not self._lanes and self._may_enter():
            self._take_in(stream, address, seen)
        elif len(self._lanes) >= self._most_waiting:
            self.give_up(stream)
        else:
            self._forget(stream)
            self._metrics.waiting.inc()
            self._lanes.put((stream, address), returning=RETURNING.match(seen) is not None)
            self._plan()

    def stop(self) -> None:
        """Take nobody in any more."""
        super().stop()
        while self._lanes:
            self._take()[0].close()

    def _may_enter(self) -> bool:
        return self._taken_in < AT_ONCE and self._turnstile.waiting < MOST_AHEAD

    def _take(self) -> Visit:
        self._metrics.waiting.dec()
        return self._lanes.take()

    def _take_in(self, stream: IOStream, address: Any, seen: bytes) -> None:
        self._taken_in += 1
        self._plan()
        if self._upgrades.take(stream, address, seen):
            self._forget(stream)
        else:
            super().handle_stream(stream, address)

    def _plan(self) -> None:
        if not self._pump_planned:
            self._pump_planned = True
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._pump)

    def _pump(self) -> None:
        self._pump_planned = False
        self._taken_in = 0
        while self._lanes and self._may_enter():
            stream, address = self._take()
            self._take_in(stream, address, _peek(stream) or b"")
        if self._lanes:
            self._plan()


def _peek(stream: IOStream) -> bytes | None:
    """The beginning of what the peer has sent; None where nothing has come yet, nothing at all where the line
    has ended."""
    if stream.closed():
        return b""
    try:
        return stream.socket.recv(SEEN_BYTES, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
