"""RFC 6455 to the letter, where Tornado is lax or says nothing.

Tornado takes frames that are not masked, drops the line without a word at most other mistakes, echoes any
close code, and closes so abruptly that a code is often lost on the way. Here every mistake has its close
code, and the code arrives. `tests/integration/test_frames.py` holds what it stands on.

No coroutine waits for the next frame: what comes is taken apart where it is read, and a task runs only while
a message is being answered.
"""

import asyncio
import contextlib
import logging
import socket
from typing import Protocol

from tornado.iostream import IOStream
from tornado.util import _websocket_mask
from tornado.websocket import WebSocketProtocol13

from handlers.allowance import Allowance
from handlers.wire import Wire
from session.protocol import Close, Code

log = logging.getLogger(__name__)

GOODBYE_SECONDS = 5.0
"""How long a peer that was said goodbye to may take to answer."""
LINGER_SECONDS = 1.0
LINGER_BYTES = 16_777_216
FRAME_RATE, FRAME_BURST = 100.0, 20_000
"""Frames a second, and at once, that are no command by themselves: pings, pongs, fragments, and all that
comes behind a close frame. Enough for the largest message in pieces of four bytes."""
CRASHED = "a WebSocket is cut off"
AT_ONCE = 16
"""Messages that are answered before anything else has its turn."""

FIN, RESERVED, OPCODE, CONTROL = 0x80, 0x70, 0x0F, 0x8
MASKED, LENGTH = 0x80, 0x7F
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
EMPTY_PING = bytes((FIN | PING, 0))
OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
LENGTH_BYTES = {126: 2, 127: 8}
SHORTEST = {126: 126, 127: 65536}
"""The least that each of the longer forms of a length is for (5.2: the minimal number of bytes)."""


class Reader(Protocol):
    """Who is told what a client says."""

    async def on_message(self, message: str | bytes) -> None:
        """One message; the next is read when it is done."""

    def on_pong(self) -> None:
        """The peer has answered a ping, or sent a pong of its own accord."""

    def on_bad_text(self) -> None:
        """A text was not UTF-8."""

    def on_blocked(self) -> None:
        """Something waits, or nothing may be sent any more."""

    def on_drained(self) -> None:
        """Nothing waits any more."""

    def on_close(self, code: int | None) -> None:
        """No frame will be read any more; the code is the peer's, or that of its mistake."""


class Handshake(WebSocketProtocol13):
    """Tornado's opening handshake; the handler's `open` gives the socket to a `Framing`."""

    async def _receive_frame_loop(self) -> None:
        """Nothing: who has the socket reads it."""


def _may_be_sent(code: int) -> bool:
    """Whether a close code may stand in a frame (RFC 6455, 7.4, and the IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Framing(Wire):
    """A server's end of a WebSocket, the `Transport` of its connection. It reads from `start` on."""

    __slots__ = (
        "_allowance", "_close_code", "_has_said_goodbye", "_has_started", "_is_deaf", "_linger_left", "_most",
        "_opcode", "_pong", "_reader", "_task", "_timer", "_whole",
    )  # fmt: skip

    def __init__(self, stream: IOStream, reader: Reader, max_message_bytes: int) -> None:
        super().__init__(stream)
        self._reader: Reader | None = reader
        self._most = max_message_bytes
        self._has_started = False
        self._is_deaf = False
        """Whether no further frame is read: the peer has said goodbye, or made a mistake."""
        self._has_said_goodbye = False
        self._close_code: int | None = None
        self._whole: bytearray | None = None
        """The message whose pieces are coming, and, next, what kind of message it is."""
        self._opcode = CONTINUATION
        self._allowance: Allowance | None = None
        self._pong: bytes | None = None
        """The answer to the latest ping, while something waits before it: no other is owed (5.5.3)."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._linger_left = 0
        self._listen(listens=True)

    def start(self) -> None:
        """Read what has come, and what comes."""
        self._has_started = True
        self._work()

    # --- frames in ---

    def _came(self) -> None:
        if self._linger_left:
            self._linger_left = max(0, self._linger_left - len(self._unread or b""))
            self._unread = None
            if not self._linger_left:
                self.hang_up()
        elif self._task is not None or not self._has_started:
            self._listen(listens=False)
        else:
            self._work()

    def _ended(self) -> None:
        if self._has_started and self._task is None:
            self._work()

    def _work(self) -> None:
        """Do what has come; where it is a message, a task answers it, and what comes behind it."""
        try:
            message = self._next_message()
        except Exception:
            log.exception(CRASHED)
            self._is_deaf = True
            self.hang_up()
            return
        if message is not None and self._reader is not None:
            self._task = self._loop.create_task(self._answer(message, self._reader))
        else:
            self._rest()

    async def _answer(self, message: str | bytes, reader: Reader) -> None:
        answered = 0
        following: str | bytes | None = message
        try:
            while following is not None:
                await reader.on_message(following)
                answered += 1
                if answered % AT_ONCE == 0:
                    await asyncio.sleep(0)
                following = self._next_message()
        except Exception:
            log.exception(CRASHED)
            self._is_deaf = True
            self.hang_up()
        finally:
            self._task = None
        self._rest()

    def _rest(self) -> None:
        """There is nothing to do until more comes, or nothing will come."""
        if not self.closed and not self._is_deaf:
            self._listen(listens=True)
            return
        reader, self._reader = self._reader, None
        if self._timer is not None:
            self._timer.cancel()
        if reader is not None:
            reader.on_close(self._close_code)

    def _next_message(self) -> str | bytes | None:
        """Do what the frames say that have come, up to the next message; None where there is none yet."""
        while not self._is_deaf and (frame := self._next_frame()) is not None:
            first, data = frame
            opcode = first & OPCODE
            if opcode >= CONTROL:
                self._control(opcode, data)
                continue
            if first & FIN and opcode != CONTINUATION:
                message = self._decoded(opcode, data)
            else:
                message = self._piece(opcode, data, bool(first & FIN))
            if message is not None:
                return message
        return None

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The first byte of a frame that is complete, and what it carries; None where there is none yet."""
        unread = self._unread
        bounds = self._bounds(unread) if unread is not None else None
        if unread is None or bounds is None:
            return None
        begin, end = bounds
        first = unread[0]
        if len(unread) < end:
            return None
        if self._is_flood(first):
            self._fail(Close.POLICY, Code.RATE_LIMITED.value)
            return None
        data = b""
        if begin < end:
            data = _websocket_mask(bytes(unread[begin - 4 : begin]), bytes(unread[begin:end]))
        if len(unread) == end:
            self._unread = None
        else:
            del unread[:end]
        return first, data

    def _bounds(self, unread: bytearray) -> tuple[int, int] | None:
        """Where the payload of the next frame begins and ends; None where that has not come, or is wrong."""
        if len(unread) < 2:
            return None
        first, second = unread[0], unread[1]
        mistake = self._mistake(first, second)
        if mistake:
            self._fail(Close.PROTOCOL_ERROR, mistake)
            return None
        length = second & LENGTH
        begin = 6 + LENGTH_BYTES.get(length, 0)
        if len(unread) < begin:
            return None
        if begin > 6:
            shortest, length = SHORTEST[length], int.from_bytes(unread[2 : begin - 4])
            if length < shortest or length >= 2**63:
                self._fail(Close.PROTOCOL_ERROR, "bad length")
                return None
        begun = self._whole if first & OPCODE < CONTROL else None
        if length + len(begun or b"") > self._most:
            self._fail(Close.TOO_BIG, "message too big")
            return None
        return begin, begin + length

    def _mistake(self, first: int, second: int) -> str:
        """What is wrong with the first two bytes of a frame; empty where nothing is."""
        opcode = first & OPCODE
        if first & RESERVED:
            return "reserved bits"  # no extension was agreed on: compressed frames too
        if not second & MASKED:
            return "not masked"
        if opcode not in OPCODES:
            return "unknown opcode"
        if opcode >= CONTROL:
            return "" if first & FIN and second & LENGTH <= 125 else "bad control frame"
        if (opcode == CONTINUATION) != (self._whole is not None):
            return "nothing to continue" if self._whole is None else "message not finished"
        return ""

    def _is_flood(self, first: int) -> bool:
        """Take one of the frames that a peer may send beside its commands; whether it was one too many."""
        opcode = first & OPCODE
        is_message = first & FIN and opcode in {TEXT, BINARY}
        if is_message and not self._has_said_goodbye:
            return False
        if self._allowance is None:
            self._allowance = Allowance(FRAME_RATE, FRAME_BURST)
        return self._allowance.wait_seconds() > 0

    def _piece(self, opcode: int, data: bytes, is_final: bool) -> str | bytes | None:
        """A piece of a message; the whole where it was the last one."""
        if self._whole is None:
            self._whole, self._opcode = bytearray(), opcode
        self._whole += data
        if not is_final:
            return None
        whole, self._whole = bytes(self._whole), None
        return self._decoded(self._opcode, whole)

    def _decoded(self, opcode: int, data: bytes) -> str | bytes | None:
        if opcode == BINARY:
            return data
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            if self._reader is not None:
                self._reader.on_bad_text()
            return None

    def _control(self, opcode: int, data: bytes) -> None:
        if opcode == PONG:
            if self._reader is not None:
                self._reader.on_pong()
        elif opcode == PING:
            self._answer_ping(data)
        elif self._is_goodbye(data):
            self._is_deaf = True
            self._close_code = int.from_bytes(data[:2]) if data else None
            self._say_goodbye(self._close_code, "")
            self.hang_up()

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

    # --- frames out ---

    def ping(self) -> None:
        """Send a ping (5.5.2), empty."""
        self.write(EMPTY_PING)

    def _answer_ping(self, data: bytes) -> None:
        if self._has_said_goodbye:
            return  # nothing is sent behind a close frame
        if self._waiting:
            self._pong = data
        else:
            self.write(_packed(PONG, data))

    def _blocked(self) -> None:
        if self._reader is not None:
            self._reader.on_blocked()

    def _sent_all(self) -> None:
        pong, self._pong = self._pong, None
        if pong is not None:
            self._answer_ping(pong)
        if self._linger_left:
            self._say_no_more()
        if self._reader is not None:
            self._reader.on_drained()

    # --- the end ---

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; a peer that has not answered after 5 s is cut off."""
        self._say_goodbye(code, reason)
        if self._timer is None and not self.closed:
            self._timer = self._loop.call_later(GOODBYE_SECONDS, self._give_up)

    def abort(self, code: int, reason: str) -> None:
        """Send the close frame if nothing waits before it, and cut the line."""
        if not self._waiting:
            self._say_goodbye(code, reason)
        self.hang_up()

    def _say_goodbye(self, code: int | None, reason: str) -> None:
        if not self._has_said_goodbye:
            self._has_said_goodbye = True
            self._blocked()
            self.write(_packed(CLOSE, b"" if code is None else code.to_bytes(2) + reason.encode()))

    def _give_up(self) -> None:
        # what lingers has its own end
        if not self._linger_left:
            self.hang_up()

    def _fail(self, code: Close, reason: str) -> None:
        """End a line on which no further frame can be read; the reader is told once nothing runs any more."""
        if not self._has_said_goodbye:
            self._close_code = int(code)
        self._say_goodbye(int(code), reason)
        self._is_deaf = True
        if not self.closed:  # else nobody hears our last word
            self._linger()

    def _linger(self) -> None:
        """Throw away what the peer is still sending, so that its kernel does not drop our last word."""
        self._linger_left, self._unread = LINGER_BYTES, None
        if not self._waiting:
            self._say_no_more()
        self._loop.call_later(LINGER_SECONDS, self.hang_up)
        self._listen(listens=True)

    def _say_no_more(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


def _packed(opcode: int, data: bytes) -> bytes:
    """A control frame of ours."""
    return bytes((FIN | opcode, len(data))) + data
