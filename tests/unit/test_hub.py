"""A broadcast, in slices; and who is looked at when."""

import asyncio
import math
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session import hub as hub_module
from session import readers as readers_module
from session.config import parse
from session.connection import MOST_OWED, NEVER, Connection
from session.hub import SLICE_SECONDS, Hub, Room
from session.metrics import Metrics
from session.protocol import Close
from session.readers import BATCH, CHUNK_BYTES
from session.recovery import Position
from session.wheel import Wheel
from tests.support.waiting import eventually

READERS = 3000
SEND_SECONDS = 15e-6
HELD_SECONDS = 0.025
"""Nobody else may have to wait for longer, says the design."""


class Clock:
    """Time that passes while something is sent, and at no other moment."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Pipe:
    """A transport that takes everything, and time."""

    closed = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.got = b""

    def send(self, frames: bytes) -> int:
        self._clock.now += SEND_SECONDS
        self.got += frames
        return len(frames)

    def deliver(self, frames: bytes) -> bool:
        self.send(frames)
        return True

    def write(self, frames: bytes) -> None:
        self.deliver(frames)

    def backlog(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None: ...


def connected(pipe: object) -> Connection:
    """A connection at whose end this is."""
    return Connection(
        pipe,  # type: ignore[arg-type]
        auth_timeout=1e6,
        ping_interval=1e6,
        ping_timeout=1e6,
        max_backlog=1,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The hub's clock."""
    clock = Clock()
    for module in (hub_module, readers_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


class Hall:
    """A room with readers, and what each of them must have been sent."""

    def __init__(self, clock: Clock, history_size: int = 1000) -> None:
        self.clock = clock
        self.hub = Hub(parse([f"--history-size={history_size}"], {}), Metrics())
        self.room: Room = self.hub.new_room("event:1")
        self.room.log.reset(Position("e", 0), {})
        self.pipes: dict[Connection, Pipe] = {}
        self.expected: dict[Connection, bytes] = {}
        self.frames = b""

    def enter(self, at: int | None = None) -> Connection:
        """Somebody comes in, at the head or at an older place."""
        pipe = Pipe(self.clock)
        connection = connected(pipe)
        self.pipes[connection] = pipe
        at = self.room.log.hi if at is None else at
        self.expected[connection] = self.frames[at:]
        self.room.enter(connection, at)
        return connection

    def fill(self) -> None:
        """A room of many."""
        for _ in range(READERS):
            self.enter()

    def publish(self) -> None:
        """The next message; a byte long, so that an offset is a length."""
        frame = bytes((self.room.log.hi % 256,))
        self.frames += frame
        for connection in self.room.readers:
            self.expected[connection] += frame
        self.room.append(frame, b"")
        self.hub.changed(self.room)

    def got(self) -> dict[Connection, bytes]:
        """What each was sent."""
        return {connection: pipe.got for connection, pipe in self.pipes.items()}


async def longest_turn(hall: Hall, during: int) -> float:
    """How long anybody else had to wait, in so many turns of the loop."""
    longest = 0.0
    for _ in range(during):
        before = hall.clock.now
        await asyncio.sleep(0)
        longest = max(longest, hall.clock.now - before)
    return longest


async def test_a_broadcast_holds_nobody_up_and_keeps_the_order(clock: Clock) -> None:
    """Others have their turn in between, however many read. Who comes, leaves, or asks for older messages
    meanwhile is sent what is his, and everybody each message once, in order."""
    hall = Hall(clock)
    hall.fill()
    hall.publish()
    held = [await longest_turn(hall, 2)]
    under_way = {len(pipe.got) for pipe in hall.pipes.values()}
    hall.publish()
    hall.enter()
    hall.enter(at=0)
    gone = list(hall.room.readers)[:: READERS // 3]
    for connection in gone:
        hall.room.leave(connection)
        hall.expected[connection] = hall.pipes[connection].got
    for _ in range(5):
        hall.publish()
        held.append(await longest_turn(hall, 1))
    held.append(await longest_turn(hall, 20 * READERS // BATCH))

    assert {0, 1} == under_way
    assert hall.expected == hall.got()
    assert max(held) <= SLICE_SECONDS + BATCH * SEND_SECONDS < HELD_SECONDS
    assert 0 == hall.room.readers.lagging
    hall.room.opened.cancel()


async def test_who_is_said_goodbye_to_during_a_broadcast_hears_no_more_of_it(clock: Clock) -> None:
    """Nothing is sent behind a close frame (RFC 6455, 5.5.1), to whomever it is sent."""
    hall = Hall(clock)
    hall.fill()
    hall.publish()
    await longest_turn(hall, 1)
    closed = [*hall.pipes][:: READERS // 10]
    before = [hall.pipes[connection].got for connection in closed]
    for connection in closed:
        connection.close(Close.RESTART, "draining")
    hall.publish()
    await longest_turn(hall, 20 * READERS // BATCH)

    assert {b"", b"\0"} == set(before)
    assert before == [hall.pipes[connection].got for connection in closed]
    assert {b"\0\1"} == {pipe.got for connection, pipe in hall.pipes.items() if connection not in closed}
    hall.room.opened.cancel()


async def test_a_small_room_does_not_wait_for_a_large_one(clock: Clock) -> None:
    """What is published in it while the large one is being told is sent before that one's rest."""
    hall = Hall(clock)
    hall.fill()
    small = hall.hub.new_room("user:mina")
    pipe = Pipe(clock)
    small.enter(connected(pipe), 0)
    hall.publish()
    await longest_turn(hall, 1)
    small.append(b"yours", b"")
    hall.hub.changed(small)
    await longest_turn(hall, 2)

    assert b"yours" == pipe.got
    assert not all(each.got for each in hall.pipes.values())
    for room in (small, hall.room):
        room.opened.cancel()


async def test_a_frame_beside_the_history_is_sliced_too(clock: Clock) -> None:
    """Everyone who is there gets the newest one, once, in its turn."""
    hall = Hall(clock)
    hall.fill()
    hall.publish()
    hall.hub.say(hall.room, b"old")
    hall.hub.say(hall.room, b"new")
    held = await longest_turn(hall, 2 * READERS // BATCH)

    assert {b"\0new"} == set(hall.got().values())
    assert held <= SLICE_SECONDS + 2 * BATCH * SEND_SECONDS
    hall.room.opened.cancel()


async def test_a_reset_under_a_broadcast(clock: Clock) -> None:
    """Everyone hears the rest of the old history before it is told that a new one has begun."""
    hall = Hall(clock)
    hall.fill()
    hall.publish()
    await longest_turn(hall, 1)
    hall.room.reset(Position("f", 7), {})
    told = {pipe.got[:1] for pipe in hall.pipes.values()}
    hall.publish()
    await longest_turn(hall, 2 * READERS // BATCH)

    assert {b"\0"} == told
    assert {(b"room-reset" in got, got[-1:]) for got in hall.got().values()} == {(True, b"\7")}
    assert {hall.room.readers.place_of(connection) for connection in hall.pipes} == {8}
    hall.room.opened.cancel()


async def test_a_quick_reader_gets_more_than_the_ring_holds(clock: Clock) -> None:
    """What was read for the room at once, after a cut, may be more than is kept of it: who takes it all gets
    it all before the oldest falls out."""
    hall = Hall(clock, history_size=10)
    reader = hall.enter()
    large = b"x" * (CHUNK_BYTES // 2 + 1)
    for _ in range(40):
        hall.room.append(large, b"")
    hall.hub.changed(hall.room)
    await longest_turn(hall, 2)

    assert large * 40 == hall.pipes[reader].got
    assert reader.is_open
    assert (30, 40) == (hall.room.log.lo, hall.room.log.hi)
    hall.room.opened.cancel()


TICK = 0.25
TIMES = st.floats(0, 20, allow_nan=False)


@given(st.lists(st.tuples(st.integers(0, 3), TIMES), max_size=60), st.data())
def test_who_is_due_is_looked_at_within_a_tick(changes: list[tuple[int, float]], data: st.DataObject) -> None:
    """However often it changes when that is, sooner or later; and who has gone is not looked at."""
    wheel, now = Wheel(TICK, 0.0), 0.0
    connections = [connected(object()) for _ in range(4)]
    dropped = connections[data.draw(st.integers(0, 3))]
    for connection in connections:
        connection.due = data.draw(TIMES)
        connection.on_sooner = wheel.put
        wheel.put(connection)
    for n, (which, due) in enumerate(changes):
        connection = connections[which]
        connection.auth_at = now + due
        connection.ping_at = NEVER
        connection._plan()
        if n == len(changes) // 2:
            wheel.drop(dropped)
            dropped.on_sooner = lambda connection: None
        now += data.draw(st.floats(0, 1))
        for looked_at in wheel.take(now):
            assert len(changes) // 2 > n or looked_at is not dropped
            if looked_at.due <= now:
                looked_at.due = math.inf
            else:
                wheel.put(looked_at)
        overdue = [c for c in connections if c is not dropped and c.due <= now - TICK]
        assert [] == overdue


async def test_a_pong_that_came_while_the_process_stood_still_counts() -> None:
    """It lies in the kernel when the time for it is over: it is read before anybody is cut off."""
    ours, theirs = socket.socketpair()

    class Line:
        """Its peer answers at once, and then nothing here moves for a second."""

        pings = 0

        def ping(self) -> None:
            self.pings += 1
            theirs.send(b".")
            if self.pings == 1:
                time.sleep(1)

        def abort(self, code: int, reason: str) -> None: ...

    line = Line()
    connection = Connection(
        line,  # type: ignore[arg-type]
        auth_timeout=1e6,
        ping_interval=0.1,
        ping_timeout=0.5,
        max_backlog=1,
    )
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: (ours.recv(1), connection.ponged()))
    hub = Hub(parse([], {}), Metrics())
    hub.take_in(connection)
    running = asyncio.create_task(hub.run())
    try:
        await eventually(lambda: line.pings >= 2 or not connection.is_open, "it is pinged again")
    finally:
        running.cancel()
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    assert connection.is_open


def test_what_a_connection_is_owed_is_bounded() -> None:
    """Word of the newest things that it asked for in vain, once each, and not before it can be known."""
    connection = connected(Pipe(Clock()))
    things = [f"seats:{n}" for n in range(MOST_OWED + 1)]
    for thing in things:
        connection.owe(thing, 0)
    connection.owe("seats:later", 1e6)

    assert things[2:] == [thing for thing in [*things, "seats:later"] if connection.pay_due(thing)]
    assert (True, False) == (connection.pay("seats:later"), connection.pay("seats:later"))
    assert {} == connection.owed
