"""The cheapest WebSocket client that is one: thousands are to cost less than the server that they come to."""

import asyncio
import json
import struct
from typing import Any, Self, cast

UPGRADE = (
    b"GET /ws%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PING, CLOSE = 0x9, 0x8
Frame = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an outcome
    """The server has sent the client away; ``retry_ms`` is when it may come again, where it was told."""

    def __init__(self, code: int, retry_ms: int | None) -> None:
        super().__init__(code)
        self.code = code
        self.retry_ms = retry_ms


class Wire(asyncio.Protocol):
    """RFC 6455 on one connection: upgraded by ``request``, then greeted with ``hello``, a frame; pings are
    answered. What becomes of what comes is up to `heard` and `ended`."""

    def __init__(self, request: bytes, hello: bytes) -> None:
        self._request = request
        self._hello = hello
        self._buffer = b""
        self._transport: asyncio.Transport
        self.head = b""
        """The answer to the request; empty until it has come."""
        self.code = 1006
        """What the server has closed with."""

    def heard(self, payload: bytes) -> None:
        """A text frame has come."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection is over, however it came to it."""
        raise NotImplementedError

    def send(self, frame: Frame) -> None:
        self._transport.write(framed(frame))

    def drop(self) -> None:
        """Lose the network: no goodbye."""
        self._transport.abort()

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        if not self.head:
            self.head, found, rest = buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer, self.head = buffer, b""
                return
            if b" 101 " not in self.head[:16]:
                self._transport.abort()
                return
            buffer = rest
            self._transport.write(self._hello)
        at = 0
        while (span := _next(buffer, at)) is not None:
            first, end = span
            self._hear(buffer[at] & 0xF, buffer[first:end])
            at = end
        self._buffer = buffer[at:]

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._transport.write(struct.pack("!BBI", 0x8A, 0x80 | len(payload), 0) + payload)
        elif opcode == CLOSE:
            self.code = int.from_bytes(payload[:2])
            self._transport.close()
        else:
            self.heard(payload)


class RawClient(Wire):
    """One connection; made by `open`. Frames that nobody waits for are counted and forgotten."""

    def __init__(self, hello: bytes, query: bytes) -> None:
        super().__init__(UPGRADE % (query, b"127.0.0.1", b""), hello)
        self._waits: tuple[bytes, asyncio.Future[Frame]] | None = None
        self._retry_ms: int | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self.messages = 0

    @classmethod
    async def open(cls, port: int, first: Frame, query: bytes = b"") -> Self:
        """Connect, and send the first frame as soon as the server speaks WebSocket."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(framed(first), query), "127.0.0.1", port)
        return client

    async def expect(self, kind: str) -> Frame:
        """The next frame of that type, which must not have come yet.

        Raises:
            Refused: the connection has ended before.
        """
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waits = (f'{{"type":"{kind}"'.encode(), future)
        if self.lost.done():
            self._fail()
        return await future

    def ended(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        self._fail()

    def _fail(self) -> None:
        if self._waits is not None and not self._waits[1].done():
            self._waits[1].set_exception(Refused(self.code, self._retry_ms))

    def heard(self, payload: bytes) -> None:
        if self._waits is not None and payload.startswith(self._waits[0]):
            self._waits[1].set_result(json.loads(payload))
            self._waits = None
        elif payload.startswith(b'{"type":"message"'):
            self.messages += 1
        elif payload.startswith(b'{"type":"error"'):
            self._retry_ms = json.loads(payload).get("details", {}).get("retryAfterMs")


def _next(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at ``at`` begins and ends; None where it has not come whole."""
    if len(buffer) < at + 2:
        return None
    size, first = buffer[at + 1], at + 2
    if size >= 126:
        first += 2 if size == 126 else 8
        size = int.from_bytes(buffer[at + 2 : first])
    return (first, first + size) if len(buffer) >= first + size else None


def framed(frame: Frame) -> bytes:
    """A masked text frame; the mask is 0, for it costs nothing and nobody here could be fooled by it."""
    payload = json.dumps(frame).encode()
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + b"\0\0\0\0" + payload
