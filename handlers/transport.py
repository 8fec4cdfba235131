"""Bytes to one client: straight to the kernel where nothing waits, and an exact account of what waits."""

import asyncio
import contextlib
import fcntl
import socket
import sys

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketHandler

from session.connection import Connection

PING = b"\x89\x00"
KERNEL_BYTES = 1_048_576
"""Most unsent bytes that the kernel takes for one client: a burst that a reader who keeps up is sent at once.
Its own limit is several megabytes (tcp_wmem), which a stuck reader would fill before anything waits here."""
SIOCOUTQNSD = 0x894B
"""Linux: how many bytes the kernel has not sent. What is sent and not acknowledged is no sign of a slow
reader: on a long fast line that is a megabyte."""


class SocketTransport:
    """The `Transport` of a WebSocket handler. `connection` is told when all that waited was taken."""

    __slots__ = ("_handler", "_send", "_stream", "_waiting", "connection")

    def __init__(self, handler: WebSocketHandler, stream: IOStream) -> None:
        self._handler = handler
        self._stream = stream
        self._send = stream.socket.send
        self._waiting = 0
        self.connection: Connection
        # where the system has no such option, or the line was reset meanwhile
        with contextlib.suppress(OSError, AttributeError):
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_BYTES)

    @property
    def descriptor(self) -> int:
        """The number of the socket's file descriptor."""
        return self._stream.socket.fileno()

    def write(self, frames: bytes) -> None:
        """Send packed frames; what the kernel does not take now waits."""
        if not self._waiting and self.deliver(frames):
            return
        self._wait(frames)

    def deliver(self, frames: bytes) -> bool:
        """Written to the socket itself where Tornado's buffer is empty: no task, no future, no copy for a
        reader that keeps up."""
        if self._waiting or self._stream.writing():
            return False
        try:
            sent = self._send(frames)
        except BlockingIOError:
            sent = 0
        except OSError:
            # nobody is there, for whom nothing waits; the handler hears of it when its command has run
            self._stream.close()
            return True
        if sent != len(frames):
            self._wait(memoryview(frames)[sent:])
        return True

    def _wait(self, rest: bytes | memoryview) -> None:
        size = len(rest)
        try:
            future = self._stream.write(rest)
        except StreamClosedError:
            return
        self._waiting += size
        future.add_done_callback(lambda done: self._taken(done, size))

    def _taken(self, future: "asyncio.Future[None]", size: int) -> None:
        if future.cancelled() or future.exception() is not None:
            return  # the stream has closed; the handler's on_close tells everyone
        self._waiting -= size
        if self._waiting == 0:
            self.connection.drained()

    def backlog(self) -> int:
        """Bytes that wait for the peer to read: 0 where the kernel has taken all, else with those there."""
        return self._waiting and self._waiting + self._in_kernel()

    def _in_kernel(self) -> int:
        """Bytes that the kernel has taken and not sent; 0 where it cannot say."""
        if self._stream.closed():
            return 0
        try:
            return int.from_bytes(fcntl.ioctl(self._stream.socket, SIOCOUTQNSD, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def ping(self) -> None:
        """Send a WebSocket ping (RFC 6455 section 5.5.2), empty."""
        self.write(PING)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; Tornado cuts a peer off that has not answered after 5 s."""
        self._handler.close(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Send the close frame if nothing waits before it, and cut the line."""
        if self._waiting == 0:
            self._handler.close(code, reason)
        self._stream.close()
