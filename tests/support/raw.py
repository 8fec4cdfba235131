"""A client that says whatever bytes it likes: frames that no library would send, sockets that do nothing."""

import asyncio
import contextlib
import json
import os
import socket
import struct
from itertools import cycle
from typing import Any, NamedTuple, Self

from tests.support import spoken
from tests.support.servers import ServerProcess
from tests.support.tokens import token as make_token

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
TIMEOUT = 20.0
"""Seconds for whatever must come; a loaded machine is no defect."""


def frame(
    payload: bytes | str = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
    size_bytes: int | None = None,
) -> bytes:
    """One frame as a client sends it (RFC 6455, 5.2), with whatever is wrong about it.

    ``length`` is what the header claims, in ``size_bytes`` (0, 2 or 8) bytes; both fit the payload.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    claimed = len(data) if length is None else length
    if size_bytes is None:
        size_bytes = 0 if claimed < 126 else 2 if claimed < 65536 else 8
    short = {0: claimed, 2: 126, 8: 127}[size_bytes]
    head = bytes((0x80 * fin | reserved << 4 | opcode, 0x80 * masked | short))
    head += claimed.to_bytes(size_bytes) if size_bytes else b""
    if not masked:
        return head + data
    mask = os.urandom(4)
    return head + mask + bytes(a ^ b for a, b in zip(data, cycle(mask), strict=False))


def command(type: str, **fields: Any) -> bytes:
    """A command as a good frame."""
    return frame(json.dumps({"type": type, **fields}))


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """A close frame with any code."""
    return frame((b"" if code is None else struct.pack(">H", code)) + reason, CLOSE)


def upgrade(path: str = "/ws", **headers: str) -> bytes:
    """The request of a handshake; a header given as "" is left out."""
    named = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in named.items() if value]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


class Heard(NamedTuple):
    """One frame of the server's."""

    opcode: int
    payload: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Raw:
    """A TCP connection to a server, and what of WebSocket one wants on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.heard: list[Heard] = []
        """All whole frames that came."""
        self._finished = False

    @classmethod
    async def dial(cls, server: ServerProcess | int, *, receive_buffer: int = 0) -> Self:
        """Connect, and say nothing. A small ``receive_buffer`` makes a reader that is soon full."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        port = server if isinstance(server, int) else server.port
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock))

    @classmethod
    async def open(cls, server: ServerProcess, path: str = "/ws", *, receive_buffer: int = 0,
                   **headers: str) -> Self:  # fmt: skip
        """Connect and shake hands."""
        raw = await cls.dial(server, receive_buffer=receive_buffer)
        raw.write(upgrade(path, **headers))
        status, _ = await raw.response()
        assert status == 101, status
        return raw

    @classmethod
    async def sign_in(
        cls, server: ServerProcess, user: str, *, receive_buffer: int = 0, **claims: Any
    ) -> Self:
        """Connect, and be let in as a user."""
        raw = await cls.open(server, receive_buffer=receive_buffer)
        raw.write(command("auth", token=make_token(user, **claims)))
        assert (await raw.hear()).json["type"] == "connected"
        return raw

    def write(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def response(self) -> tuple[int, dict[str, str]]:
        """Status and headers (in lower case) of an HTTP response; status 0 where the line ends first."""
        async with asyncio.timeout(TIMEOUT):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0, {}
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def hear(self) -> Heard:
        """The next frame.

        Raises:
            IncompleteReadError, ConnectionError: the line has ended.
        """
        async with asyncio.timeout(TIMEOUT):
            first, second = await self.reader.readexactly(2)
            assert second < 128, "a server masks nothing"
            size = second
            if second > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8))
            heard = Heard(first & 0xF, await self.reader.readexactly(size))
        assert first & 0xF0 == 0x80, f"a server sends whole frames without extensions, not {first:#x}"
        if heard.opcode == TEXT:
            spoken.heard(heard.json)
        self.heard.append(heard)
        return heard

    async def answer(self, command_id: Any) -> Any:
        """The answer that carries this id; other frames are left in ``heard``."""
        while True:
            heard = await self.hear()
            if heard.opcode == TEXT and heard.json.get("id") == command_id:
                return heard.json

    async def ended(self) -> tuple[int, str]:
        """Hear until the line ends: code and reason of the server's close frame, else 1006."""
        try:
            while (await self.hear()).opcode != CLOSE:
                pass
            self.finish(close_frame())
            said = self.heard[-1].payload
            code = int.from_bytes(said[:2]) if said else 1005
            assert await self.is_cut(), "something came behind the close frame"
        except (asyncio.IncompleteReadError, ConnectionError):
            return 1006, ""
        else:
            return code, said[2:].decode()
        finally:
            self.drop()

    async def is_cut(self) -> bool:
        """Wait until the line ends, by FIN or RST; False where bytes came first."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return not await self.reader.read(1)
            except ConnectionError:
                return True

    def finish(self, *data: bytes) -> None:
        """Say a last word, and then no more (FIN); what comes is still heard."""
        if not self._finished:
            self._finished = True
            with contextlib.suppress(OSError):
                self.write(*data)
                self.writer.write_eof()

    def drop(self) -> None:
        """End the line at once."""
        self.writer.transport.abort()

    async def reset(self) -> None:
        """End the line with an RST, whether or not there is something to read; it has gone out on return."""
        at_once = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.drop()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
