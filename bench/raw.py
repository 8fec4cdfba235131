"""The cheapest WebSocket client that is one: thousands are to cost less than the server that they come to."""

import asyncio
import json
import struct
from typing import Any, Self, cast

UPGRADE = (
    b"GET /ws%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
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


class RawClient(asyncio.Protocol):
    """One connection; made by `open`. Frames that nobody waits for are counted and forgotten."""

    def __init__(self, hello: bytes, query: bytes) -> None:
        self._hello = hello
        self._query = query
        self._buffer = b""
        self._upgraded = False
        self._waits: tuple[bytes, asyncio.Future[Frame]] | None = None
        self._retry_ms: int | None = None
        self._code = 1006
        self._transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()
        self.messages = 0

    @classmethod
    async def open(cls, port: int, first: Frame, query: bytes = b"") -> Self:
        """Connect, and send the first frame as soon as the server speaks WebSocket."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(framed(first), query), "127.0.0.1", port)
        return client

    def send(self, frame: Frame) -> None:
        self._transport.write(framed(frame))

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

    def drop(self) -> None:
        self._transport.abort()

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(UPGRADE % self._query)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        self._fail()

    def _fail(self) -> None:
        if self._waits is not None and not self._waits[1].done():
            self._waits[1].set_exception(Refused(self._code, self._retry_ms))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head[:16]:
                self._transport.abort()
                return
            self._upgraded, self._buffer = True, rest
            self._transport.write(self._hello)
        while (frame := self._next()) is not None:
            self._hear(*frame)

    def _next(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, at = buffer[1], 2
        if size == 126:
            at = 4
            size = int.from_bytes(buffer[2:4])
        elif size == 127:
            at = 10
            size = int.from_bytes(buffer[2:10])
        if len(buffer) < at + size:
            return None
        self._buffer = buffer[at + size :]
        return buffer[0] & 0xF, buffer[at : at + size]

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._transport.write(struct.pack("!BBI", 0x8A, 0x80 | len(payload), 0) + payload)
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2])
            self._transport.close()
        elif self._waits is not None and payload.startswith(self._waits[0]):
            self._waits[1].set_result(json.loads(payload))
            self._waits = None
        elif payload.startswith(b'{"type":"message"'):
            self.messages += 1
        elif payload.startswith(b'{"type":"error"'):
            self._retry_ms = json.loads(payload).get("details", {}).get("retryAfterMs")


def framed(frame: Frame) -> bytes:
    """A masked text frame; the mask is 0, for it costs nothing and nobody here could be fooled by it."""
    payload = json.dumps(frame).encode()
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + b"\0\0\0\0" + payload
