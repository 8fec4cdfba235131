"""The HTTP server within limits: how many lines, and how long each may take.

Tornado waits an hour for a request, and for ever for a peer to read the answer, on as many lines as come.
Whoever opens lines and says nothing, or little by little, gets what it came for: that nobody else is served.
Here a line that is not a WebSocket has a deadline at every moment, and where there are too many, the one
goes that has waited longest in vain.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPMessageDelegate
from tornado.iostream import IOStream

from session.config import Config

IDLE_SECONDS = 75.0
"""Longer than an AWS ALB keeps a line to us that nothing runs on (60 s): it must be the one to close it."""
MAX_HEAD_BYTES = 65_536
"""A request with its headers: a token, and 200 rooms to resume, in the query."""
EXCHANGE_SECONDS = 60.0
"""From the head of a request to the last byte of its answer taken: 8 MiB from a slow office."""


class Waits(Enum):
    """What a line waits for, in the order in which they are given up."""

    FIRST_REQUEST = "first request"
    NEXT_REQUEST = "next request"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Limits:
    """Most lines that are no WebSockets, and seconds that each may wait."""

    lines: int
    first_request: float
    next_request: float = IDLE_SECONDS
    answer: float = EXCHANGE_SECONDS


def limits(config: Config) -> Limits:
    """A third as many lines without a WebSocket as with one, so that a storm of reconnects has room."""
    return Limits(lines=max(256, config.max_connections // 3), first_request=config.auth_timeout)


class Front(HTTPServer):
    """`HTTPServer` whose lines have deadlines; the other options are those of the base."""

    def initialize(  # type: ignore[override]
        self, app: Any, limits: Limits, metric: Any = None, **options: Any
    ) -> None:
        """Tornado's constructor. ``metric`` shows how many lines there are."""
        super().initialize(app, **options)
        self._most = limits.lines
        self._seconds = {
            Waits.FIRST_REQUEST: limits.first_request,
            Waits.NEXT_REQUEST: limits.next_request,
            Waits.ANSWER: limits.answer,
        }
        self._lines: dict[Waits, dict[IOStream, asyncio.TimerHandle]] = {waits: {} for waits in Waits}
        if metric is not None:
            metric.set_function(lambda: len(self))

    def __len__(self) -> int:
        """Lines that are no WebSockets."""
        return sum(map(len, self._lines.values()))

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """A line waits for a request: its first, or one more."""
        line = _stream(server_conn)
        # the clock of one that had to be waited for before anything was read runs on
        if line not in self._lines[Waits.FIRST_REQUEST]:
            self._wait(line, Waits.NEXT_REQUEST if self._forget(line) else Waits.FIRST_REQUEST)
        delegate = super().start_request(server_conn, request_conn)
        return _Asked(delegate, lambda: self._asked(line))

    def on_close(self, server_conn: object) -> None:
        """A line has ended, or has become a WebSocket."""
        self._forget(_stream(server_conn))
        super().on_close(server_conn)

    def give_up(self, line: IOStream) -> None:
        """Close a line, whatever it waits for."""
        self._forget(line)
        line.close()

    def _asked(self, line: IOStream) -> None:
        if self._forget(line):
            self._wait(line, Waits.ANSWER)

    def _wait(self, line: IOStream, waits: Waits) -> None:
        if len(self) >= self._most:
            self.give_up(next(oldest for lines in self._lines.values() for oldest in lines))
        loop = asyncio.get_running_loop()
        self._lines[waits][line] = loop.call_later(self._seconds[waits], self.give_up, line)

    def _forget(self, line: IOStream) -> bool:
        """Stop the clock of a line; whether it ran."""
        for lines in self._lines.values():
            timer = lines.pop(line, None)
            if timer is not None:
                timer.cancel()
                return True
        return False


def _stream(server_conn: object) -> IOStream:
    assert isinstance(server_conn, HTTP1ServerConnection)  # noqa: S101 - what HTTPServer makes
    return server_conn.stream


class _Asked(HTTPMessageDelegate):
    """Tells when the head of a request has come."""

    def __init__(self, inner: HTTPMessageDelegate, asked: Callable[[], None]) -> None:
        self._asked = asked
        self._inner = inner
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.finish = inner.finish  # type: ignore[method-assign]
        self.on_connection_close = inner.on_connection_close  # type: ignore[method-assign]

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        """Pass on, and tell."""
        self._asked()
        return self._inner.headers_received(start_line, headers)
