"""Where Tornado's WebSocket framing differs from our contract, mended in one place.

Tornado drops the line without a word when a text frame is not UTF-8, and when a frame is too big it
closes so abruptly that the close code is often lost on the way. `tests/unit/test_framing.py` says what
of Tornado's internals this stands on.
"""

import asyncio
import contextlib
import socket
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13

from session.protocol import Close

LINGER_SECONDS = 1.0
LINGER_BYTES = 16_777_216


class Framing(WebSocketProtocol13):
    """RFC 6455 as Tornado speaks it, with 1007 and 1009 told reliably."""

    _lingering: "asyncio.Task[None] | None" = None

    def _handle_message(self, opcode: int, data: bytes) -> Any:
        if opcode == 0x1 and not self.client_terminated:
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                self.handler.on_bad_text()  # type: ignore[attr-defined]  # our own handler
                return None
            return self._run_callback(self.handler.on_message, text)
        return super()._handle_message(opcode, data)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Say goodbye; a frame that is too big is not read, so the rest of it is thrown away first."""
        super().close(code, reason)
        if code == Close.TOO_BIG and self._lingering is None:
            self.close_code, self.close_reason = code, reason
            self._lingering = asyncio.get_running_loop().create_task(self._linger())

    def _abort(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            # ends the reading of frames; closing now would reset the line before the code arrives
            self.client_terminated = True
            return
        super()._abort()

    async def _linger(self) -> None:
        """Throw away what the peer is still sending, so that its kernel does not drop our last word."""
        left = LINGER_BYTES
        with contextlib.suppress(StreamClosedError, OSError, TimeoutError):
            self.stream.socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    left -= len(await self.stream.read_bytes(65536, partial=True))
        self.stream.close()
