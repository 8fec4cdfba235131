"""RFC 6455 to the letter, where Tornado is lax or says nothing.

Tornado takes frames that are not masked, drops the line without a word at most other mistakes, echoes any
close code, and closes so abruptly that a code is often lost on the way. Here every mistake has its close
code, and the code arrives. `tests/integration/test_frames.py` holds what it stands on.
"""

import asyncio
import contextlib
import socket
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.util import _websocket_mask
from tornado.websocket import WebSocketProtocol13

from handlers.allowance import Allowance
from session.protocol import Close, Code

LINGER_SECONDS = 1.0
LINGER_BYTES = 16_777_216
FRAME_RATE, FRAME_BURST = 100.0, 20_000
"""Frames a second, and at once, that are no command by themselves: pings, pongs, fragments, and all that
comes behind a close frame. Enough for the largest message in pieces of four bytes."""

FIN, RESERVED, OPCODE, CONTROL = 0x80, 0x70, 0x0F, 0x8
MASKED, LENGTH = 0x80, 0x7F
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
LENGTH_BYTES = {126: 2, 127: 8}
SHORTEST = {126: 126, 127: 65536}
"""The least that each of the longer forms of a length is for (5.2: the minimal number of bytes)."""


def _may_be_sent(code: int) -> bool:
    """Whether a close code may stand in a frame (RFC 6455, 7.4, and the IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Framing(WebSocketProtocol13):
    """A server's end of a WebSocket; its handler has `on_bad_text`."""

    _lingering: "asyncio.Task[None] | None" = None
    _allowance: Allowance | None = None

    # --- frames in ---

    async def _receive_frame(self) -> None:
        """Read one frame, and do what it says."""
        first, second = await self._read_bytes(2)
        mistake = self._mistake(first, second)
        if mistake:
            self._fail(Close.PROTOCOL_ERROR, mistake)
            return
        length = second & LENGTH
        extended = LENGTH_BYTES.get(length, 0)
        head = await self._read_bytes(extended + 4)
        if extended:
            shortest, length = SHORTEST[length], int.from_bytes(head[:extended])
            if length < shortest or length >= 2**63:
                self._fail(Close.PROTOCOL_ERROR, "bad length")
                return
        opcode, is_final = first & OPCODE, bool(first & FIN)
        begun = self._fragmented_message_buffer
        is_control = opcode >= CONTROL
        if length + (0 if begun is None or is_control else len(begun)) > self.params.max_message_size:
            self._fail(Close.TOO_BIG, "message too big")
            return
        if self._is_flood(is_control or not is_final or opcode == CONTINUATION):
            self._fail(Close.POLICY, Code.RATE_LIMITED.value)
            return
        data = _websocket_mask(head[extended:], await self._read_bytes(length))
        if is_control:
            await self._done(opcode, data)
        else:
            await self._piece(opcode, data, is_final)

    async def _piece(self, opcode: int, data: bytes, is_final: bool) -> None:
        """A message, or a piece of one."""
        if is_final and opcode != CONTINUATION:
            await self._done(opcode, data)
            return
        if opcode != CONTINUATION:
            self._fragmented_message_opcode = opcode  # type: ignore[assignment]  # Tornado declares None alone
            self._fragmented_message_buffer = bytearray()
        assert self._fragmented_message_buffer is not None  # noqa: S101 - or _mistake would have found it
        self._fragmented_message_buffer += data
        if is_final:
            whole, self._fragmented_message_buffer = bytes(self._fragmented_message_buffer), None
            await self._done(self._fragmented_message_opcode, whole)

    def _mistake(self, first: int, second: int) -> str:
        """What is wrong with the first two bytes of a frame; empty where nothing is."""
        opcode = first & OPCODE
        begun = self._fragmented_message_buffer is not None
        if first & RESERVED:
            return "reserved bits"  # no extension was agreed on: compressed frames too
        if not second & MASKED:
            return "not masked"
        if opcode not in OPCODES:
            return "unknown opcode"
        if opcode >= CONTROL:
            return "" if first & FIN and second & LENGTH <= 125 else "bad control frame"
        if (opcode == CONTINUATION) != begun:
            return "nothing to continue" if not begun else "message not finished"
        return ""

    def _is_flood(self, counts: bool) -> bool:
        """Take one of the frames that a peer may send beside its commands."""
        if not counts and not self.server_terminated:
            return False
        if self._allowance is None:
            self._allowance = Allowance(FRAME_RATE, FRAME_BURST)
        return self._allowance.wait_seconds() > 0

    async def _done(self, opcode: Any, data: bytes) -> None:
        running = self._handle_message(opcode, data)
        if running is not None:
            await running

    def _handle_message(self, opcode: int, data: bytes) -> Any:
        if self.client_terminated:
            return None
        if opcode == TEXT:
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                self.handler.on_bad_text()  # type: ignore[attr-defined]  # our own handler
                return None
            return self._run_callback(self.handler.on_message, text)
        if opcode == CLOSE and not self._is_goodbye(data):
            return None
        return super()._handle_message(opcode, data)

    def _is_goodbye(self, data: bytes) -> bool:
        """Whether a close frame's payload is one: nothing, or a code that may be sent and UTF-8."""
        if not data:
            return True
        if len(data) == 1 or not _may_be_sent(int.from_bytes(data[:2])):
            self._fail(Close.PROTOCOL_ERROR, "bad close code")
            return False
        try:
            data[2:].decode("utf-8")
        except UnicodeDecodeError:
            self._fail(Close.NOT_UTF8, "not_utf8")
            return False
        return True

    # --- the end ---

    def _fail(self, code: Close, reason: str) -> None:
        """End a line on which no further frame can be read; the handler is told once reading has ended."""
        if not self.server_terminated:
            self.close_code, self.close_reason = int(code), reason
        self.close(int(code), reason)
        self.client_terminated = True
        if self._lingering is None:
            self._lingering = asyncio.get_running_loop().create_task(self._linger())

    def _abort(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            return  # closing now would reset the line before the code arrives
        super()._abort()

    async def _linger(self) -> None:
        """Throw away what the peer is still sending, so that its kernel does not drop our last word."""
        if self.stream.closed():
            return  # it was reset: nobody hears our last word
        left = LINGER_BYTES
        with contextlib.suppress(StreamClosedError, OSError, TimeoutError):
            self.stream.socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    left -= len(await self.stream.read_bytes(65536, partial=True))
        self.stream.close()
