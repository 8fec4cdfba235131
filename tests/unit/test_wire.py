"""Bytes to and from one client, down to the socket; and what of Tornado's stream that stands on."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
from tornado.iostream import IOStream

from handlers.framing import Framing
from session.config import parse
from session.connection import NEVER, Connection
from session.hub import Room
from session.metrics import Metrics
from session.protocol import Close
from tests.support.raw import PONG, TEXT, frame
from tests.support.waiting import eventually

LONG = 30.0
PLENTY = 8 * 2**20
"""More than the kernel takes of one connection that nobody reads."""

Pair = Callable[[], tuple[IOStream, socket.socket]]


class Told:
    """Keeps what a framing tells its reader."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.pongs = self.drained = self.blocked = 0
        self.closed: list[int | None] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def on_message(self, message: str | bytes) -> None:
        """Answer, when the test lets it."""
        self.messages.append(message)
        await self.may_answer.wait()

    def on_pong(self) -> None:
        """Count."""
        self.pongs += 1

    def on_bad_text(self) -> None:
        """Nothing here is none."""

    def on_blocked(self) -> None:
        """Count."""
        self.blocked += 1

    def on_drained(self) -> None:
        """Count."""
        self.drained += 1

    def on_close(self, code: int | None) -> None:
        """Keep the code."""
        self.closed.append(code)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Makes a stream of ours, and the socket at its other end."""
    opened: list[socket.socket] = []

    def make() -> tuple[IOStream, socket.socket]:
        ours, theirs = socket.socketpair()
        opened.extend((ours, theirs))
        theirs.setblocking(False)
        return IOStream(ours), theirs

    yield make
    for each in opened:
        each.close()


def framed(stream: IOStream, told: Told) -> Framing:
    """A framing that has taken a stream over."""
    return Framing(stream, told, 65_536)


async def test_the_socket_is_taken_out_of_a_stream_with_all_that_is_in_it(pair: Pair) -> None:
    """What Tornado has read and not used is the first that is read, what it could not send yet is the first
    that is sent, and it does not look at the socket any more. Where this fails after an update of Tornado,
    `take_out` has to learn its streams anew."""
    stream, theirs = pair()
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(theirs, b"request\r\n" + frame("first"))
    await stream.read_until(b"\r\n")
    stream.write(b"a" * PLENTY)
    stream.write(b"b")
    assert stream.writing()
    told = Told()
    framing = framed(stream, told)
    framing.write(b"c")
    framing.start()
    await loop.sock_sendall(theirs, frame("second"))
    got = bytearray()
    while not got.endswith(b"c"):
        got += await loop.sock_recv(theirs, 2**20)
    await eventually(lambda: len(told.messages) == 2, "both are read", LONG)

    assert b"a" * PLENTY + b"bc" == got
    assert ["first", "second"] == told.messages
    assert stream.closed()
    assert 0 == framing.backlog()
    stream.close()
    framing.write(b"d")
    assert b"d" == await loop.sock_recv(theirs, 2)
    framing.hang_up()


async def test_while_a_message_is_answered_the_next_one_waits_in_the_kernel(pair: Pair) -> None:
    """One piece is read ahead, no more; and then everything comes, in order, each message once."""
    stream, theirs = pair()
    told, loop = Told(), asyncio.get_running_loop()
    framing = framed(stream, told)
    framing.start()
    told.may_answer.clear()
    texts = [f"{n} {'x' * 1000}" for n in range(500)]
    sending = loop.create_task(loop.sock_sendall(theirs, b"".join(map(frame, texts))))
    await eventually(lambda: not framing._has_reader, "nothing is read any more", LONG)
    read_ahead = len(framing._unread or b"")
    told.may_answer.set()
    await sending
    await loop.sock_sendall(theirs, frame("", PONG))
    await eventually(lambda: told.pongs == 1, "everything is read", LONG)

    assert read_ahead < 64_000
    assert texts == told.messages
    assert framing._unread is None
    framing.hang_up()


async def test_what_was_said_before_the_line_ended_is_done(pair: Pair) -> None:
    """Also where the line has gone while the command before it ran; the end is told once, behind all."""
    stream, theirs = pair()
    told = Told()
    framing = framed(stream, told)
    framing.start()
    told.may_answer.clear()
    await asyncio.get_running_loop().sock_sendall(theirs, frame("leave") + frame("goodbye") + frame("x")[:3])
    theirs.close()
    await eventually(lambda: framing.closed, "the end has been read", LONG)
    assert (["leave"], []) == (told.messages, told.closed)
    told.may_answer.set()
    await eventually(lambda: bool(told.closed), "the end is told", LONG)
    framing.hang_up()
    framing.abort(1011, "")

    assert (["leave", "goodbye"], [None]) == (told.messages, told.closed)


async def test_it_is_known_to_the_byte_what_waits(pair: Pair) -> None:
    """From when the kernel takes no more until the peer has read, and then whoever waits for it is told."""
    stream, theirs = pair()
    told, loop = Told(), asyncio.get_running_loop()
    framing = framed(stream, told)
    framing.start()
    assert framing.deliver(b"a" * PLENTY)
    before = framing._waiting
    framing.write(b"b" * 1000)
    delivered = framing.deliver(b"never")
    told_before = told.drained
    assert before + 1000 == framing._waiting
    got = bytearray()
    while len(got) < PLENTY + 1000:
        got += await loop.sock_recv(theirs, 2**20)
    await eventually(lambda: told.drained == 1, "it is told that nothing waits", LONG)

    assert 0 < before < PLENTY
    assert (False, 0, 1) == (delivered, told_before, told.blocked)
    assert b"a" * PLENTY + b"b" * 1000 == got
    assert 0 == framing.backlog()
    framing.hang_up()


async def test_nobody_waits_for_who_has_gone(pair: Pair) -> None:
    """A client has gone while its command runs, so that nobody knows: it is no slow reader, to which a room
    would come back again and again at once, for as long as the command takes."""
    stream, theirs = pair()
    framing = framed(stream, Told())
    connection = Connection(framing, auth_timeout=99, ping_interval=99, ping_timeout=99, max_backlog=1000)
    room = Room("event:1", parse([], {}), Metrics())
    room.enter(connection, 0)
    theirs.close()
    for _ in range(3):
        room.append(b"frame", b"")
        room.readers.pump(NEVER)
    at_rest = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(at_rest.set_result, None)
    await at_rest

    assert 3 == room.readers.place_of(connection)
    assert 0 == room.readers.lagging
    assert connection.is_idle
    room.opened.cancel()


async def test_what_waits_goes_before_what_a_room_tells(pair: Pair) -> None:
    """A room hands its messages to the kernel past all that may wait here, which may be something of another
    room, or an answer: so it must know of it, also in the middle of a broadcast."""
    stream, theirs = pair()
    told, loop = Told(), asyncio.get_running_loop()
    framing = framed(stream, told)
    connection = Connection(framing, auth_timeout=99, ping_interval=99, ping_timeout=99, max_backlog=PLENTY)
    room = Room("event:1", parse([], {}), Metrics())
    room.enter(connection, 0)
    for name, call in (("on_blocked", connection.fall_out), ("on_drained", connection.drained)):
        setattr(told, name, call)
    framing.write(b"a" * PLENTY)
    # there is room in the kernel now, and still something waits here
    got = bytearray(theirs.recv(2**20))
    room.append(b"b", b"")
    room.readers.pump(NEVER)
    while not got.endswith(b"b"):
        got += await loop.sock_recv(theirs, 2**20)
    room.append(b"c", b"")
    room.readers.pump(NEVER)
    got += await loop.sock_recv(theirs, 2)

    assert b"a" * PLENTY + b"bc" == got
    framing.hang_up()
    room.opened.cancel()


async def test_a_mistake_of_who_has_gone_is_no_mistake_of_ours(pair: Pair) -> None:
    """A broken frame, and a reset behind it: there is nobody to wait for, and nothing fails of it."""
    failed: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: failed.append(context))
    stream, theirs = pair()
    told = Told()
    framing = framed(stream, told)
    await loop.sock_sendall(theirs, frame("{", TEXT, masked=False))
    await eventually(lambda: framing._unread is not None, "it has come", LONG)
    theirs.close()
    framing.start()
    await eventually(lambda: framing.closed, "the line is given up", LONG)

    assert [] == failed
    assert [int(Close.PROTOCOL_ERROR)] == told.closed
