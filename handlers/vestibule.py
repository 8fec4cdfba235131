"""Where WebSockets wait before anything is done for them, while many come at once.

An upgrade is half of what a sign-in costs. Who is upgraded and then waits has cost that already, and costs it
again if its patience ends; and a health check that stands behind five thousand of them makes the balancer
take the server for dead. So only as many are upgraded as can be served soon, and everything that is no
WebSocket goes past them.
"""

import asyncio
import re
import socket
from typing import Any

from tornado.iostream import IOStream

from handlers.front import Front
from session.metrics import Metrics
from session.turnstile import Lanes, Turnstile

AT_ONCE = 16
"""Taken in before anything else has its turn: some ten milliseconds of work."""
MOST_AHEAD = 64
"""While so many wait for their turn to sign in, nobody is upgraded to stand behind them."""
PAUSE_SECONDS = 0.001
REQUEST_LINE_BYTES = 8192
"""So far `resume` is looked for: a token may stand before it."""
SOCKET = re.compile(rb"GET /ws[ ?]")
RETURNING = re.compile(rb"GET /ws\?(?:[^ ]*&)?(?:returning|resume)=")

Visit = tuple[IOStream, Any]


class Vestibule(Front):
    """The HTTP server of a process; ``most`` WebSockets may wait before it."""

    def initialize(  # type: ignore[override]  # Tornado calls it with what the class was called with
        self, *args: Any, turnstile: Turnstile, metrics: Metrics, most: int, **options: Any
    ) -> None:
        """Called by Tornado in place of a constructor."""
        super().initialize(*args, **options)
        self._turnstile = turnstile
        self._metrics = metrics
        self._most = most
        self._lanes: Lanes[Visit] = Lanes()
        self._taken_in = 0
        self._pump_planned = False

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """A connection was accepted."""
        if not self._lanes and self._may_enter():
            self._take_in(stream, address)
            return
        request = _peek(stream)
        if not SOCKET.match(request):
            super().handle_stream(stream, address)
        elif len(self._lanes) >= self._most:
            stream.close()
        else:
            self._metrics.waiting.inc()
            self._lanes.put((stream, address), returning=RETURNING.match(request) is not None)
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

    def _take_in(self, stream: IOStream, address: Any) -> None:
        self._taken_in += 1
        self._plan()
        super().handle_stream(stream, address)

    def _plan(self) -> None:
        if not self._pump_planned:
            self._pump_planned = True
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._pump)

    def _pump(self) -> None:
        self._pump_planned = False
        self._taken_in = 0
        while self._lanes and self._may_enter():
            self._take_in(*self._take())
        if self._lanes:
            self._plan()


def _peek(stream: IOStream) -> bytes:
    """The beginning of what the peer has sent; nothing where it has not come yet."""
    try:
        return stream.socket.recv(REQUEST_LINE_BYTES, socket.MSG_PEEK)
    except OSError:
        return b""
