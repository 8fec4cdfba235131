"""One WebSocket of a buyer, over TLS or not: frames are handed on as they come, answers to who waits."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec

from bench.raw import UPGRADE, Frame, Wire, framed

OPEN_SECONDS = 30.0
"""A connection that is not upgraded by then is given up."""


class Target(NamedTuple):
    """Where servers are; ``https`` and ``wss`` are one to it."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> Self:
        """From an http or https URL.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url} is no URL of a server: http://host:port")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)


class Line(Wire):
    """Made by `open`. ``hear`` is called with each frame, ``end`` when it is over."""

    def __init__(
        self, request: bytes, hello: bytes, hear: Callable[[Frame], None], end: "Callable[[Line], None]"
    ) -> None:
        super().__init__(request, hello)
        self._hear_frame = hear
        self._end = end
        self._answers: dict[int, asyncio.Future[Frame]] = {}
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.is_cut = False
        """We have cut it ourselves."""

    @classmethod
    async def open(
        cls,
        target: Target,
        first: Frame,
        cookie: bytes,
        hear: Callable[[Frame], None],
        end: "Callable[[Line], None]",
    ) -> Self:
        """Connect, and send the first frame as soon as the server speaks WebSocket.

        Raises:
            OSError: nobody is there, or not in time.
        """
        query = b"?returning=1" if "resume" in first else b""
        more = b"Cookie: %s\r\n" % cookie if cookie else b""
        host = target.host.encode() if target.port in {80, 443} else f"{target.host}:{target.port}".encode()
        request, hello = UPGRADE % (query, host, more), framed(first)
        tls = ssl.create_default_context() if target.tls else None
        async with asyncio.timeout(OPEN_SECONDS):
            _, line = await asyncio.get_running_loop().create_connection(
                lambda: cls(request, hello, hear, end), target.host, target.port, ssl=tls
            )
        return line

    async def call(self, number: int, command: str, fields: dict[str, Any]) -> Frame | None:
        """The answer to a command; None where the line ends before."""
        if self.lost.done():
            return None
        self._answers[number] = answer = self._loop.create_future()
        self.send({"type": command, "id": number, **fields})
        try:
            await asyncio.wait({answer, self.lost}, return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            self._answers.pop(number, None)

    def cut(self) -> None:
        """Lose the network: no goodbye."""
        self.is_cut = True
        self.drop()

    @property
    def how(self) -> str:
        """How it ended, for who counts."""
        if self.is_cut:
            return "cut by us"
        status = self.head[9:12].decode()
        return str(self.code) if status in {"101", ""} else f"HTTP {status}"

    @property
    def cookie(self) -> bytes:
        """What leads to the same server again; empty where the balancer sets none."""
        headers = self.head.split(b"\r\n")
        return b"; ".join(
            header[11:].partition(b";")[0].strip()
            for header in headers
            if header[:11].lower() == b"set-cookie:"
        )

    def heard(self, payload: bytes) -> None:
        frame = msgspec.json.decode(payload)
        self._hear_frame(frame)
        answer = self._answers.get(frame.get("id"))
        if answer is not None and not answer.done():
            answer.set_result(frame)

    def ended(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        self._end(self)
