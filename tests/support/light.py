"""A client that costs so little that one test can have hundreds: it reads, resumes, and answers pings.

It speaks RFC 6455 by itself. A mask of zeros is allowed there, and spares the masking.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import urlencode

from tests.support import spoken
from tests.support.servers import ServerProcess
from tests.support.tokens import token as make_token

Frame = dict[str, Any]
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class LightClient:
    """One connection. Make it with `connect`; read it with `frames`; end it with `drop`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.close_code = 1006
        """What the server has closed with, once `frames` has ended."""

    @classmethod
    async def connect(cls, server: ServerProcess, user: str, resume: Frame | None = None) -> Self:
        """Sign in by query.

        Raises:
            OSError: nobody listens there, or the upgrade was refused.
        """
        query = {"token": make_token(user)} | ({} if resume is None else {"resume": json.dumps(resume)})
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            f"GET /ws?{urlencode(query)} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            head = error.partial
        if not head.startswith(b"HTTP/1.1 101 "):
            writer.transport.abort()
            raise ConnectionRefusedError(head[:40].decode())
        return cls(reader, writer)

    def send(self, type: str, **fields: Any) -> None:
        """Send a command, without waiting for anything."""
        self._write(TEXT, json.dumps({"type": type, **fields}).encode())

    def _write(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
        self._writer.write(bytes([0x80 | opcode]) + length + bytes(4) + payload)

    async def frames(self) -> AsyncIterator[Frame]:
        """What comes, until the connection ends, however it does."""
        try:
            while True:
                opcode, payload = await self._read()
                if opcode == TEXT:
                    frame = json.loads(payload)
                    spoken.heard(frame)
                    yield frame
                elif opcode == PING:
                    self._write(PONG, payload)
                elif opcode == CLOSE:
                    self.close_code = int.from_bytes(payload[:2], "big")
                    self._write(CLOSE, payload[:2])
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writer.close()

    async def _read(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await self._reader.readexactly(size)

    def drop(self) -> None:
        """Lose the network: no goodbye."""
        self._writer.transport.abort()
