"""Whatever befalls the readers of a room, each is sent its messages once and in order.

Their sockets take all, a part, or nothing, are reset, and closed; nothing is sent behind a goodbye.
Broadcasts are cut into the smallest slices, so that everything happens in the middle of one.
"""

import asyncio
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from session import hub as hub_module
from session import readers as readers_module
from session.config import parse
from session.connection import Connection
from session.hub import Hub, Room
from session.metrics import Metrics
from session.protocol import Close
from session.recovery import Position

MESSAGE, ASIDE, ENTERS, LEAVES, GOODBYE, OTHER = range(6)
FRAME = struct.Struct("!BI")
PLENTY = 1_000_000


class Pipe:
    """The transport of a reader, down to a kernel that has room for so many bytes."""

    def __init__(self) -> None:
        self.closed = False
        self.space = PLENTY
        self.is_reset = False
        self.got = b""
        self._waiting = b""
        self.connection = Connection(
            self, auth_timeout=1e6, ping_interval=1e6, ping_timeout=1e6, max_backlog=200
        )

    def send(self, frames: bytes) -> int:
        assert not self._waiting, "it is sent something before what waits"
        return self._kernel(frames)

    def _kernel(self, frames: bytes) -> int:
        if self.closed or self.is_reset:
            raise ConnectionResetError
        if not self.space:
            raise BlockingIOError
        taken = min(self.space, len(frames))
        self.space -= taken
        self.got += frames[:taken]
        return taken

    def write(self, frames: bytes) -> None:
        if not self.deliver(frames):
            self._waiting += frames

    def deliver(self, frames: bytes) -> bool:
        if self._waiting:
            return False
        try:
            taken = self._kernel(frames)
        except BlockingIOError:
            taken = 0
        except ConnectionResetError:
            self.hang_up()
            return True
        if taken < len(frames):
            self._waiting = frames[taken:]
            self.connection.fall_out()
        return True

    def backlog(self) -> int:
        return len(self._waiting)

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        self.write(FRAME.pack(GOODBYE, 0))

    def abort(self, code: int, reason: str) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """The line is no more; nobody above has heard of it yet."""
        self.closed, self._waiting = True, b""
        self.connection.fall_out()

    def read(self, space: int) -> None:
        """The peer reads: there is so much room now."""
        self.space = space
        waiting, self._waiting = self._waiting, b""
        if waiting and not self.closed:
            try:
                self._waiting = waiting[self._kernel(waiting) :]
            except BlockingIOError:
                self._waiting = waiting
            except ConnectionResetError:
                self.hang_up()
        if not self._waiting:
            self.connection.drained()

    @property
    def heard(self) -> list[tuple[int, int]]:
        """The frames that have come whole."""
        whole = len(self.got) // FRAME.size * FRAME.size
        return [*FRAME.iter_unpack(self.got[:whole])]


def place(heard: Iterable[tuple[int, int]]) -> int | None:
    """Where a reader is that has heard this; None where it is not in the room. Fails where it must not be."""
    at: int | None = None
    is_over = False
    for kind, offset in heard:
        assert not is_over, "something is behind a goodbye"
        if kind == MESSAGE:
            assert at is not None
            assert at + 1 == offset
            at = offset
        elif kind == ENTERS:
            at = offset
        elif kind == LEAVES:
            at = None
        elif kind == ASIDE:
            assert at is not None
        is_over = kind == GOODBYE
    return at


@dataclass
class World:
    """A room, its readers, and what may befall them."""

    hub: Hub
    room: Room
    pipes: list[Pipe] = field(default_factory=list)
    here: dict[int, Pipe] = field(default_factory=dict)
    """The last one of each reader."""

    def connect(self, which: int) -> None:
        """Somebody connects (again), and comes into the room."""
        self.here[which] = Pipe()
        self.pipes.append(self.here[which])
        self.enter(self.here[which], 0)

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.room.append(FRAME.pack(MESSAGE, self.room.log.hi + 1), b"")
        self.hub.changed(self.room)

    def say(self) -> None:
        self.hub.say(self.room, FRAME.pack(ASIDE, 0))

    def enter(self, pipe: Pipe, back: int) -> None:
        """Come in, or anew; at the head, or at an older place."""
        connection, log = pipe.connection, self.room.log
        if connection.is_open:
            self.leave(pipe)
            at = max(log.lo, log.hi - back)
            self.room.enter(connection, at)
            connection.write(FRAME.pack(ENTERS, at))

    def leave(self, pipe: Pipe) -> None:
        connection = pipe.connection
        if self.room.name in connection.rooms:
            self.room.leave(connection)
            connection.write(FRAME.pack(LEAVES, 0))

    def check(self) -> None:
        readers = self.room.readers
        assert self.room.log.lo <= readers.sent <= self.room.log.hi
        assert len(readers) == sum(self.room.name in pipe.connection.rooms for pipe in self.pipes)
        for pipe in self.pipes:
            place(pipe.heard)

    async def settle(self) -> None:
        """Everybody reads, nothing else happens, and one more message comes."""
        for count in (0, 1):
            self.publish(count)
            for _ in range(100):
                for pipe in self.pipes:
                    pipe.read(PLENTY)
                await asyncio.sleep(0)
        for pipe in self.pipes:
            connection = pipe.connection
            if connection.is_open and not pipe.closed and self.room.name in connection.rooms:
                assert self.room.log.hi == place(pipe.heard) == self.room.readers.place_of(connection)
        assert self.room.log.hi == self.room.readers.sent


READERS = 7
COMMON = ["publish", "turn", "enter", "read", "leave"] * 6 + ["say", "answer", "connect"] * 2
WHATEVER = st.sampled_from([*COMMON, "reset", "hang up", "close", "cut"])
STEPS = st.lists(
    st.tuples(WHATEVER, st.integers(0, READERS - 1), st.integers(0, 6)), min_size=20, max_size=80
)
"""What happens, to which reader, how much."""


async def step(world: World, what: str, which: int, much: int) -> None:
    """Let one thing happen."""
    pipe = world.here[which]
    if what == "turn":
        for _ in range(1 + much // 2):
            await asyncio.sleep(0)
        return
    {
        "publish": lambda: world.publish(1 + much // 2),
        "connect": lambda: world.connect(which),
        "say": world.say,
        "enter": lambda: world.enter(pipe, much // 2),
        "leave": lambda: world.leave(pipe),
        "read": lambda: pipe.read(9 * much),
        "answer": lambda: pipe.connection.write(FRAME.pack(OTHER, 0)),
        "reset": lambda: setattr(pipe, "is_reset", True),
        "hang up": pipe.hang_up,
        "close": lambda: pipe.connection.close(Close.RESTART, "draining"),
        "cut": lambda: pipe.connection.cut(Close.NO_PONG, "no_pong"),
    }[what]()


async def scene(steps: Iterable[tuple[str, int, int]], history_size: int) -> None:
    """Let all that happen, and look at it after each step."""
    hub = Hub(parse([f"--history-size={history_size}"], {}), Metrics())
    world = World(hub, hub.new_room("event:1"))
    world.room.log.reset(Position("e", 0), {})
    world.room.opened.cancel()
    for which in range(READERS):
        world.connect(which)
    for what, which, much in steps:
        await step(world, what, which, much)
        world.check()
    await world.settle()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, history_size=st.integers(1, 12))
def test_each_reader_is_sent_each_message_once_in_order(
    io_loop: IOLoop, steps: list[tuple[str, int, int]], history_size: int
) -> None:
    """In whatever order they come, go, read, and break."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers_module, "BATCH", 2)
        patch.setattr(readers_module, "CHUNK_BYTES", 3 * FRAME.size)
        patch.setattr(hub_module, "SLICE_SECONDS", -1.0)
        io_loop.run_sync(lambda: scene(steps, history_size), timeout=60)
