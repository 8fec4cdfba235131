"""This server's connections and rooms, and the fan-out between them.

A room is a log, a connection is a position in it: no queue a connection. Whoever reads slowly stays
behind in the ring and costs nothing; whoever falls out of it is closed (1013) and comes back by resume.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol

from session import keys
from session.config import Config
from session.connection import SLOW_READER, Connection
from session.log import Log
from session.metrics import Metrics
from session.protocol import Close, Event, RoomReset, pack
from session.recovery import Position, Verdict

log = logging.getLogger(__name__)

CHUNK_BYTES = 65536
"""Most that is handed to a slow reader at a time, so that what waits for it stays small."""
TICK_SECONDS = 0.25
STALL_SECONDS = 1.0
"""A tick that comes so late is told in the log."""


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
        "_metrics", "again", "behind", "channel", "clean", "counts", "counts_at", "counts_heard", "current",
        "follower", "head_before", "idle_since", "lagging", "local_count_told", "log", "name", "opened",
        "pending", "pinned", "pumped", "repair", "state", "told_at", "told_count",
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
        self.pumped = 0
        """The offset that all in ``current`` have been sent."""
        self.current: dict[Connection, None] = {}
        self.lagging: dict[Connection, int] = {}
        self.behind: dict[Connection, tuple[Position, asyncio.Task[None]]] = {}
        self.idle_since = time.monotonic()
        self.counts: dict[str, int] = {}
        """Instance -> members there, for rooms of events."""
        self.counts_heard: dict[str, int] = {}
        """What notices said since the counts were last asked for: the answer may be older than they are."""
        self.counts_at = 0.0
        self.local_count_told = -1
        self.told_count = -1
        self.told_at = 0.0

    def __len__(self) -> int:
        return len(self.current) + len(self.lagging) + len(self.behind)

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

    def members(self) -> Iterable[Connection]:
        """All connections that read this room."""
        return (*self.current, *self.lagging, *self.behind)

    def position_of(self, connection: Connection) -> Position:
        """Up to where a member has been sent everything."""
        if connection in self.behind:
            return self.behind[connection][0]
        return Position(self.log.epoch, self.lagging.get(connection, self.pumped))

    # --- entering and leaving ---

    def enter(self, connection: Connection, at: int) -> None:
        """Make a connection a member that has been sent everything up to ``at``, which the log covers."""
        self.pump()
        connection.rooms[self.name] = self
        if at == self.pumped:
            self.current[connection] = None
        else:
            self.lagging[connection] = at
            self._catch_up_later(connection)

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
        self.current.pop(connection, None)
        self.lagging.pop(connection, None)
        behind = self.behind.pop(connection, None)
        if behind is not None and behind[1] is not asyncio.current_task():
            behind[1].cancel()
        if not len(self):
            self.idle_since = time.monotonic()

    # --- sending ---

    def pump(self) -> None:
        """Send what is new to everyone who has taken the rest; the others stay behind in the ring."""
        while self.pumped < self.log.hi:
            start = self.pumped
            data, self.pumped = self.log.after(start, CHUNK_BYTES)
            slow = [c for c in self.current if not c.deliver(data)]
            self._metrics.deliveries.inc(len(self.current) - len(slow))
            for connection in slow:
                del self.current[connection]
                if connection.is_open:
                    self.lagging[connection] = start
                    self._catch_up_later(connection)
        self.log.trim(self.pumped)
        for connection, at in list(self.lagging.items()):
            if at < self.log.lo:
                connection.close(Close.TRY_LATER, SLOW_READER)

    def _catch_up_later(self, connection: Connection) -> None:
        connection.when_drained(lambda: self._catch_up(connection))
        if connection.is_idle:
            asyncio.get_running_loop().call_soon(connection.drained)

    def _catch_up(self, connection: Connection) -> None:
        if connection not in self.lagging or not connection.is_open:
            return
        self.pump()
        at = self.lagging[connection]
        if at < self.pumped and connection.is_open:
            data, at = self.log.after(at, CHUNK_BYTES)
            if connection.deliver(data):
                self._metrics.deliveries.inc()
            else:
                at = self.lagging[connection]
        if not connection.is_open:
            return
        self.lagging[connection] = at
        if at == self.pumped:
            del self.lagging[connection]
            self.current[connection] = None
        else:
            self._catch_up_later(connection)

    def reset(self, head: Position, chain: dict[str, int]) -> None:
        """Start anew at the head, and tell every reader at the cursor so."""
        self.pump()
        self.log.reset(head, chain)
        self.pumped = head.offset
        if self.follower is not None:
            self.follower.restarted()
        if not self.current and not self.lagging:
            return
        self._metrics.resets.inc()
        frame = pack(RoomReset(room=self.name, epoch=head.epoch, offset=head.offset)) + self.start()[1]
        for connection in (*self.current, *self.lagging):
            connection.write(frame)
            self.current[connection] = None
        self.lagging.clear()

    def tell_count_again(self) -> None:
        """Somebody came back without an answer that says how many are here: tell it, changed or not."""
        self.told_count = -1

    def say(self, frame: bytes) -> None:
        """Send a frame that is no part of the history; whoever is behind does without."""
        for connection in list(self.current):
            connection.deliver(frame)


class Hub:
    """All sockets and rooms of this process."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._dirty: set[Room] = set()
        self.sockets: set[Connection] = set()
        """Every open socket, signed in or not."""
        self.connections: dict[str, Connection] = {}
        self.users: dict[str, set[Connection]] = {}
        self.buckets: dict[str, set[str]] = {}
        """Bucket -> ids of the users who are connected here."""
        self.rooms: dict[str, Room] = {}
        self.draining = False
        self.on_user_gone: Callable[[str], None] = lambda user_id: None
        """Told a user whose last connection here has ended."""

    # --- sockets ---

    def add(self, connection: Connection) -> None:
        """A connection has signed in."""
        self.connections[connection.socket_id] = connection
        self.users.setdefault(connection.user_id, set()).add(connection)
        self.buckets.setdefault(keys.bucket(connection.user_id), set()).add(connection.user_id)
        self._metrics.connections.set(len(self.connections))

    def remove(self, connection: Connection) -> None:
        """A socket has closed: it leaves every room, and nothing holds it any more."""
        self.sockets.discard(connection)
        for room in list(connection.rooms.values()):
            room.leave(connection)
        if self.connections.pop(connection.socket_id, None) is None:
            return
        mine = self.users[connection.user_id]
        mine.discard(connection)
        if not mine:
            del self.users[connection.user_id]
            bucket = keys.bucket(connection.user_id)
            self.buckets[bucket].discard(connection.user_id)
            if not self.buckets[bucket]:
                del self.buckets[bucket]
            self.on_user_gone(connection.user_id)
        self._metrics.connections.set(len(self.connections))

    def close_user(self, user_id: str, code: Close, reason: str, only: Callable[[Connection], bool]) -> None:
        """Close those of a user's connections here that ``only`` picks."""
        for connection in list(self.users.get(user_id, ())):
            if only(connection):
                connection.close(code, reason)

    async def run(self) -> None:
        """Look four times a second at what is due: one pass over all sockets, no timer for each."""
        expected = time.monotonic() + TICK_SECONDS
        while True:
            await asyncio.sleep(max(0.0, expected - time.monotonic()))
            now = time.monotonic()
            self._note_lag(max(0.0, now - expected))
            expected = max(expected + TICK_SECONDS, now)
            for connection in [c for c in self.sockets if c.due <= now]:
                try:
                    connection.on_due(now)
                except Exception:
                    # one connection's trouble is not the others'
                    log.exception("what was due for a connection failed")
                    connection.cut(Close.TRY_LATER, "failed")

    def _note_lag(self, seconds: float) -> None:
        """A gauge shows the last tick alone: whoever looks every 15 s would miss most stalls."""
        self._metrics.loop_lag.set(seconds)
        if seconds >= TICK_SECONDS:
            self._metrics.loop_stalls.inc(seconds)
        if seconds >= STALL_SECONDS:
            log.warning("this process stood still for %.1f s", seconds)

    def tell(self, user_id: str, event: Event, but: str = "") -> None:
        """Send a personal event to all of a user's connections here, except the socket ``but``."""
        frame = pack(event)
        for connection in list(self.users.get(user_id, ())):
            if connection.socket_id != but:
                connection.write(frame)

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
        return room

    def changed(self, room: Room) -> None:
        """The room's log has grown: send it at the end of this loop turn, joined with what else comes."""
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty.add(room)

    def _flush(self) -> None:
        rooms, self._dirty = self._dirty, set()
        for room in rooms:
            room.pump()
