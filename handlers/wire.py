"""One client's TCP connection, on the event loop itself, and an exact account of what waits in it.

Tornado's stream is made for whoever waits in a coroutine: one that does nothing costs its buffers, a future
and the frames of all coroutines down to the read, 10 kB; and each read 64 KiB of fresh memory. A WebSocket
does nothing most of the time, so after the handshake the socket is taken out of the stream. The server
speaks no TLS: that is the balancer's.
"""

import asyncio
import contextlib
import fcntl
import socket
import sys
from collections import deque

from tornado.iostream import IOStream

READ_BYTES = 16_384
"""Most that is read at a time, and most that is read ahead while a command runs."""
SEND_BYTES = 262_144
"""Most that is handed to the kernel in one call, where much waits."""
KERNEL_BYTES = 1_048_576
"""Most unsent bytes that the kernel takes for one client: a burst that a reader who keeps up is sent at once.
Its own limit is several megabytes (tcp_wmem), which a stuck reader would fill before anything waits here."""
SIOCOUTQNSD = 0x894B
"""Linux: how many bytes the kernel has not sent. What is sent and not acknowledged is no sign of a slow
reader: on a long fast line that is a megabyte."""


def prepare(listening: socket.socket) -> None:
    """Set the options that all connections have from the first that a socket takes in from here on: to set
    them later would send what is kept back for what follows (TCP_NODELAY does)."""
    # where the system has no such option, or the socket is none of TCP's
    with contextlib.suppress(OSError, AttributeError):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_BYTES)


class Wire:
    """A connected socket, taken out of an open stream. Who inherits says what is done with what comes."""

    __slots__ = (
        "_has_reader", "_loop", "_socket", "_unread", "_unsent", "_waiting", "closed", "descriptor", "send",
    )  # fmt: skip

    def __init__(self, stream: IOStream) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed = False
        """Whether the line has ended, by whomever."""
        self._socket, unread, unsent = take_out(stream)
        self._unread = unread or None
        self.send = self._socket.send
        """The kernel's own, for who sends the same to many: not to be called once `_blocked` was."""
        self.descriptor = self._socket.fileno()
        """The number of the socket's file descriptor."""
        self._unsent: deque[memoryview] | None = None
        self._waiting = 0
        self._has_reader = False
        if unsent:
            self._keep(memoryview(unsent))

    # --- out ---

    def write(self, frames: bytes) -> None:
        """Send packed frames; what the kernel does not take now waits."""
        if not self._waiting and self.deliver(frames):
            return
        self._wait(memoryview(frames))

    def deliver(self, frames: bytes) -> bool:
        """Send packed frames if nothing waits before them; False where something does."""
        if self._waiting:
            return False
        try:
            sent = self.send(frames)
        except BlockingIOError:
            sent = 0
        except OSError:
            # nobody is there, for whom nothing waits; who is above hears of it when its command has run
            self.hang_up()
            return True
        if sent != len(frames):
            self._wait(memoryview(frames)[sent:])
        return True

    def _wait(self, rest: memoryview) -> None:
        if self.closed:
            return
        is_first = not self._waiting
        self._keep(rest)
        if is_first:
            self._blocked()

    def _keep(self, rest: memoryview) -> None:
        if self._unsent is None:
            self._unsent = deque()
            self._loop.add_writer(self.descriptor, self._on_writable)
        self._unsent.append(rest)
        self._waiting += len(rest)

    def _on_writable(self) -> None:
        unsent, left = self._unsent, SEND_BYTES
        while unsent and left > 0:
            try:
                sent = self.send(unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self.hang_up()
                return
            self._waiting -= sent
            left -= sent
            if sent < len(unsent[0]):
                unsent[0] = unsent[0][sent:]
            else:
                unsent.popleft()
        if not unsent:
            self._unsent = None
            self._loop.remove_writer(self.descriptor)
            self._sent_all()

    def _blocked(self) -> None:
        """Something waits, or the line has ended: nothing may be handed to the kernel by itself any more."""
        raise NotImplementedError

    def _sent_all(self) -> None:
        """Nothing waits any more."""
        raise NotImplementedError

    def backlog(self) -> int:
        """Bytes that wait for the peer to read: 0 where the kernel has taken all, else with those there."""
        return self._waiting and self._waiting + self._in_kernel()

    def _in_kernel(self) -> int:
        """Bytes that the kernel has taken and not sent; 0 where it cannot say."""
        try:
            return int.from_bytes(fcntl.ioctl(self._socket, SIOCOUTQNSD, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    # --- in ---

    def _listen(self, listens: bool) -> None:
        """Read what comes, or leave it with the kernel."""
        if listens != self._has_reader and not self.closed:
            self._has_reader = listens
            if listens:
                self._loop.add_reader(self.descriptor, self._on_readable)
            else:
                self._loop.remove_reader(self.descriptor)

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.hang_up()
            return
        # an unfinished frame grows in place, however small the pieces are that it comes in
        if self._unread is None:
            self._unread = bytearray()
        self._unread += data
        self._came()
        # a socket that was reset is watched no more (libuv), though what came before the reset was read
        if not self.closed and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.hang_up()

    def _came(self) -> None:
        """There is more in ``_unread``, where None stands for nothing."""
        raise NotImplementedError

    # --- the end ---

    def hang_up(self) -> None:
        """Close the socket; what waits is thrown away, and `_ended` called in a later turn of the loop."""
        if self.closed:
            return
        self._listen(listens=False)
        if self._unsent is not None:
            self._loop.remove_writer(self.descriptor)
            self._unsent, self._waiting = None, 0
        self.closed = True
        self._socket.close()
        self._blocked()
        self._loop.call_soon(self._ended)

    def _ended(self) -> None:
        """The line is no more."""
        raise NotImplementedError


def take_out(stream: IOStream) -> tuple[socket.socket, bytearray, bytearray]:
    """Take the socket out of a stream that nobody reads; with what was read and not used, and what was
    written and not sent. The stream is closed afterwards as far as it knows.

    It stands on what Tornado keeps to itself; `tests/unit/test_wire.py` says what.
    """
    if stream._state is not None:
        stream.io_loop.remove_handler(stream.fileno())
        stream._state = None
    unsent = bytearray()
    while stream._write_buffer:
        with stream._write_buffer.peek(len(stream._write_buffer)) as piece:
            unsent += piece
            size = len(piece)
        stream._write_buffer.advance(size)
    unread, stream._read_buffer = stream._read_buffer, bytearray()
    stream._read_buffer_size = 0
    stream._closed = True
    return stream.socket, unread, unsent
