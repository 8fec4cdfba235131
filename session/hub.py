"""This server's connections and rooms, and the fan-out between them.

A room is a log and those who read it from their places in it; a hub has all rooms and all sockets.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from session import keys
from session.config import Config
from session.connection import Connection
from session.log import Log
from session.metrics import Metrics
from session.protocol import Close, Event, RoomReset, pack
from session.readers import Readers
from session.recovery import Position, Verdict
from session.wheel import Wheel

log = logging.getLogger(__name__)

PERSONAL = "user:"
SLICE_SECONDS = 0.01
"""So long rooms are told something, at a stretch: a room of 15,000 takes a fifth of a second."""
TICK_SECONDS = 0.25
READ_SECONDS = 0.01
"""After a tick that came late: what clients have said meanwhile is read before they are judged."""
STALL_SECONDS = 1.0
"""A tick that comes so late is told in the log."""


NO_COUNTS: Mapping[str, int] = MappingProxyType({})
"""Most rooms are a user's own, and never have any."""


class State(Enum):
    """What a room's log knows of the truth; ARCHITECTURE.md has the table of states."""

    OPENING = "opening"
    LIVE = "live"
    REPAIRING = "repairing"


class Follower(Protocol):
    """Who keeps account of a room on this server, beside its readers."""

    def took(self, offset: int, private: bytes) -> None:
        """The room has gone on to ``offset``; ``private`` is what that entry tells servers only."""

    def restarted(self) -> None:
        """The room has begun anew at its head: what came before is not known to be true."""

    def first_frame(self) -> tuple[int, bytes] | None:
        """The state that a reader without a past begins with, and the offset that it is of."""


class Room:
    """A room that somebody here reads, or did until a moment ago."""

    __slots__ = (
        "_metrics", "again", "behind", "channel", "clean", "counts", "counts_at", "counts_heard", "follower",
        "head_before", "idle_since", "local_count_told", "log", "name", "opened", "pending", "pinned",
        "readers", "repair", "state", "told_at", "told_count",
    )  # fmt: skip

    def __init__(self, name: str, config: Config, metrics: Metrics) -> None:
        self._metrics = metrics
        self.name = name
        self.channel = keys.room(name).channel
        self.log = Log(config.history_size, config.max_buffer_bytes)
        self.state = State.OPENING
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending: list[tuple[str, int, bytes, bytes]] = []
        self.follower: Follower | None = None
        self.pinned = False
        """Whether the follower wants the room kept although nobody reads it."""
        self.clean = False
        """Whether the channel has been heard without a cut since before the position was read."""
        self.again = False
        """Whether the truth must be read (again) before the room is live."""
        self.repair: asyncio.Task[None] | None = None
        self.head_before: Position | None = None
        self.readers = Readers(self.log, metrics)
        self.behind: dict[Connection, tuple[Position, asyncio.Task[None]]] = {}
        self.idle_since = time.monotonic()
        self.counts: Mapping[str, int] = NO_COUNTS
        """Instance -> members there, for rooms of events."""
        self.counts_heard: Mapping[str, int] = NO_COUNTS
        """What notices said since the counts were last asked for: the answer may be older than they are."""
        self.counts_at = 0.0
        self.local_count_told = -1
        self.told_count = -1
        self.told_at = 0.0

    def __len__(self) -> int:
        return len(self.readers) + len(self.behind)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody here reads or follows it."""
        return self.pinned or len(self) > 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on its way that moves the log by itself: it is live, or its channel is not heard
        and it was read as far as it went."""
        return self.state is State.LIVE or (self.state is State.REPAIRING and self.repair is None)

    # --- what is published ---

    def offer(self, epoch: str, offset: int, frame: bytes, private: bytes) -> Verdict:
        """Take a publication if it is the next one; say what it is."""
        verdict = self.log.offer(epoch, offset, frame)
        if verdict is Verdict.DELIVER and self.follower is not None:
            self.follower.took(offset, private)
        return verdict

    def append(self, frame: bytes, private: bytes) -> None:
        """Take the next publication."""
        self.log.append(frame)
        if self.follower is not None:
            self.follower.took(self.log.hi, private)

    def start(self) -> tuple[int, bytes]:
        """Where a reader without a past begins, and the frame that it is sent first."""
        first = self.follower.first_frame() if self.follower is not None else None
        return first or (self.log.hi, b"")

    def position_of(self, connection: Connection) -> Position:
        """Up to where a member has been sent everything."""
        if connection in self.behind:
            return self.behind[connection][0]
        return Position(self.log.epoch, self.readers.place_of(connection))

    # --- entering and leaving ---

    def enter(self, connection: Connection, at: int) -> None:
        """Make a connection a member that has been sent everything up to ``at``, which the log covers. What
        it lacks is not sent before the next turn of the loop."""
        connection.rooms[self.name] = self
        self.readers.enter(connection, at)

    def enter_behind(self, connection: Connection, at: Position, replay: "asyncio.Task[None]") -> None:
        """Make a connection a member whose missed messages are read from the store by ``replay``."""
        connection.rooms[self.name] = self
        self.behind[connection] = (at, replay)

    def replayed(self, connection: Connection, at: Position) -> None:
        """A replay has come so far."""
        self.behind[connection] = (at, self.behind[connection][1])

    def leave_behind(self, connection: Connection, at: int) -> None:
        """A replay is over: the ring covers the rest."""
        del self.behind[connection]
        self.enter(connection, at)

    def leave(self, connection: Connection) -> None:
        """Nothing of this room is sent to the connection from here on."""
        connection.rooms.pop(self.name, None)
        self.readers.leave(connection)
        behind = self.behind.pop(connection, None)
        if behind is not None and behind[1] is not asyncio.current_task():
            behind[1].cancel()
        if not len(self):
            self.idle_since = time.monotonic()

    def reset(self, head: Position, chain: dict[str, int]) -> None:
        """Start anew at the head, and tell every reader at the cursor so."""
        self.readers.finish()
        self.log.reset(head, chain)
        if self.follower is not None:
            self.follower.restarted()
        frame = b""
        if len(self.readers):
            self._metrics.resets.inc()
            frame = pack(RoomReset(room=self.name, epoch=head.epoch, offset=head.offset)) + self.start()[1]
        self.readers.restart(head.offset, frame)

    def hear_count(self, instance: str, count: int) -> None:
        """Another server says how many members it has."""
        self.counts = {**self.counts, instance: count}
        self.counts_heard = {**self.counts_heard, instance: count}

    def tell_count_again(self) -> None:
        """Somebody came back without an answer that says how many are here: tell it, changed or not."""
        self.told_count = -1


class Hub:
    """All sockets and rooms of this process."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._dirty: dict[Room, None] = {}
        self._flush_planned = False
        self._wheel = Wheel(TICK_SECONDS, time.monotonic())
        self._put_on_wheel = self._wheel.put
        self.sockets: set[Connection] = set()
        """Every open socket, signed in or not."""
        self.connections: dict[str, Connection] = {}
        self.users: dict[str, tuple[Connection, ...]] = {}
        self.buckets: dict[str, set[str]] = {}
        """Bucket -> ids of the users who are connected here."""
        self.rooms: dict[str, Room] = {}
        self.shared: dict[str, Room] = {}
        """Those that are no user's own: few, and looked at every second."""
        self.draining = False
        self.on_user_gone: Callable[[str], None] = lambda user_id: None
        """Told a user whose last connection here has ended."""

    # --- sockets ---

    def take_in(self, connection: Connection) -> None:
        """A socket has opened."""
        self.sockets.add(connection)
        connection.on_sooner = self._put_on_wheel
        self._wheel.put(connection)

    def add(self, connection: Connection) -> None:
        """A connection has signed in."""
        self.connections[connection.socket_id] = connection
        user_id = connection.user_id
        self.users[user_id] = (*self.users.get(user_id, ()), connection)
        self.buckets.setdefault(keys.bucket(user_id), set()).add(user_id)
        self._metrics.connections.set(len(self.connections))

    def remove(self, connection: Connection) -> None:
        """A socket has closed: it leaves every room, and nothing holds it any more."""
        self.sockets.discard(connection)
        self._wheel.drop(connection)
        for room in list(connection.rooms.values()):
            room.leave(connection)
        if self.connections.pop(connection.socket_id, None) is None:
            return
        others = tuple(other for other in self.users[connection.user_id] if other is not connection)
        if others:
            self.users[connection.user_id] = others
        else:
            del self.users[connection.user_id]
            bucket = keys.bucket(connection.user_id)
            self.buckets[bucket].discard(connection.user_id)
            if not self.buckets[bucket]:
                del self.buckets[bucket]
            self.on_user_gone(connection.user_id)
        self._metrics.connections.set(len(self.connections))

    def close_user(self, user_id: str, code: Close, reason: str, only: Callable[[Connection], bool]) -> None:
        """Close those of a user's connections here that ``only`` picks."""
        for connection in self.users.get(user_id, ()):
            if only(connection):
                connection.close(code, reason)

    async def run(self) -> None:
        """Look four times a second at those for whom something is due: no timer for each."""
        expected = time.monotonic() + TICK_SECONDS
        while True:
            await asyncio.sleep(max(0.0, expected - time.monotonic()))
            now = time.monotonic()
            self._note_lag(max(0.0, now - expected))
            if now - expected >= TICK_SECONDS:
                await asyncio.sleep(READ_SECONDS)
                now = time.monotonic()
            expected = max(expected + TICK_SECONDS, now)
            for connection in self._wheel.take(now):
                self._look_at(connection, now)

    def _look_at(self, connection: Connection, now: float) -> None:
        try:
            if connection.due <= now:
                connection.on_due(now)
        except Exception:
            # one connection's trouble is not the others'
            log.exception("what was due for a connection failed", extra=connection.about)
            connection.cut(Close.TRY_LATER, "failed")
        if connection.is_open:
            self._wheel.put(connection)

    def _note_lag(self, seconds: float) -> None:
        """A gauge shows the last tick alone: whoever looks every 15 s would miss most stalls."""
        self._metrics.loop_lag.set(seconds)
        if seconds >= TICK_SECONDS:
            self._metrics.loop_stalls.inc(seconds)
        if seconds >= STALL_SECONDS:
            log.warning("this process stood still for %.1f s", seconds)

    def tell(self, user_id: str, event: Event, *but: str) -> None:
        """Send a personal event to all of a user's connections here, except the sockets ``but``."""
        frame = pack(event)
        for connection in self.users.get(user_id, ()):
            if connection.socket_id not in but:
                connection.write(frame)

    def coming(self, user_id: str) -> list[str]:
        """The sockets of those of a user's connections here that are not yet where they were."""
        return [connection.socket_id for connection in self.users.get(user_id, ()) if not connection.rooms]

    def due(self, user_id: str, *what: str) -> list[Connection]:
        """Those of a user's connections here that are owed word of one of these by now; whoever asks gives
        it."""
        owed = [connection for connection in self.users.get(user_id, ()) if connection.owed]
        # each of them is paid, also where the first one would do
        return [connection for connection in owed if sum(connection.pay_due(thing) for thing in what)]

    def paid(self, user_id: str, what: str) -> None:
        """All of a user's connections here were told of that."""
        for connection in self.users.get(user_id, ()):
            connection.pay(what)

    def leave_room(self, user_id: str, name: str) -> None:
        """Take all of a user's connections here out of a room."""
        for connection in self.users.get(user_id, ()):
            room = connection.rooms.get(name)
            if room is not None:
                room.leave(connection)

    # --- rooms ---

    def new_room(self, name: str) -> Room:
        """A room in state OPENING."""
        room = self.rooms[name] = Room(name, self._config, self._metrics)
        if not name.startswith(PERSONAL):
            self.shared[name] = room
        return room

    def forget_room(self, room: Room) -> None:
        """Nobody here reads it any more."""
        self.rooms.pop(room.name, None)
        self.shared.pop(room.name, None)

    def changed(self, room: Room) -> None:
        """The room's log has grown: send it at the end of this loop turn, joined with what else comes."""
        self._dirty[room] = None
        self._plan_flush()

    def say(self, room: Room, frame: bytes) -> None:
        """Send a frame that is no part of a room's history; whoever is behind does without."""
        room.readers.say(frame)
        self.changed(room)

    def _plan_flush(self) -> None:
        if self._dirty and not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send for a while; what is left after it, in the next turn, and small rooms before the rest of a
        large one."""
        self._flush_planned = False
        until = time.monotonic() + SLICE_SECONDS
        for room in list(self._dirty):
            del self._dirty[room]
            if not room.readers.pump(until):
                self._dirty[room] = None
            if time.monotonic() >= until:
                break
        self._plan_flush()
