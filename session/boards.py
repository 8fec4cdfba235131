"""The seats as this server's readers see them: a state folded forward from the room's log; who holds what.

A board is read once, at exactly a position of the room, and moves with the log from there. Who holds seats
is known for users who are connected here only, and told to them alone.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw

from session.catalog import Catalog
from session.connection import Connection
from session.doubts import Doubts
from session.hub import Hub, Room
from session.listener import Listener, Start
from session.protocol import Refused, SeatsExpired, SeatsHeld, SeatsSnapshot, pack
from session.recorder import Recorder
from session.recovery import Position
from session.sale import Who
from session.seats import NOTHING, Holding, Published, Seats
from session.store import DEADLINE_MS, Store, Unavailable

log = logging.getLogger(__name__)

PREFIX = "seats:"
KEPT_SECONDS = 1.0
"""A snapshot that was made for one reader is good for others so long: what came since, the log has."""
RETRY_SECONDS = 0.5
REOPEN_SECONDS = 5.0
AT_ONCE = 50
_encode = msgspec.json.Encoder().encode


class Snapshot(msgspec.Struct, frozen=True):
    """Every seat that is not named is available."""

    total: int
    held: list[str]
    sold: list[str]


class Board:
    """The published state of one event's seats, at the head of the room's log; its `Follower`."""

    def __init__(
        self,
        room: Room,
        on_expired: Callable[[str, str, int, list[str]], None],
        on_begin: Callable[[str], None],
        on_restart: Callable[[str], None],
    ) -> None:
        self._room = room
        self._on_expired = on_expired
        self._tell_begin: Callable[[str], None] = on_begin
        self._on_restart = on_restart
        self._states = bytearray()
        self._catalog = Catalog(b"", b"")
        self._made_at = 0.0
        self._made: tuple[Position, Raw, bytes] | None = None
        self.event_id = room.name.removeprefix(PREFIX)

    def install(self, read: Published) -> None:
        """Take over a state that was read at the position where the room begins."""
        self._states, self._catalog, self._made = bytearray(read.states), read.catalog, None

    def took(self, offset: int, private: bytes) -> None:
        """Fold one entry: its first line is of seats, the others of users whose holds have expired."""
        seats, *notes = private.decode().split("\n")
        for change in seats.split():
            self._states[int(change[:-1])] = ord(change[-1])
        for note in notes:
            _, user_id, version, *expired = note.split(" ")
            self._on_expired(self.event_id, user_id, int(version), expired)

    def restarted(self) -> None:
        """What was told of holds meanwhile is unknown."""
        self._made = None
        self._tell_begin(self.event_id)
        self._tell_begin = self._on_restart

    def first_frame(self) -> tuple[int, bytes]:
        """The snapshot that a reader begins with, as a frame, and its offset."""
        position, _, frame = self._snapshot()
        return position.offset, frame

    def snapshot(self, offset: int) -> Raw:
        """The state at ``offset``, which is that of `first_frame` or the head, as JSON."""
        if self._made is None or self._made[0].offset != offset:
            self._made = None
        return self._snapshot()[1]

    def _snapshot(self) -> tuple[Position, Raw, bytes]:
        log_ = self._room.log
        fresh = time.monotonic() - self._made_at < KEPT_SECONDS
        # one of an earlier epoch, or one whose followers have fallen out of the ring, is of no use
        made = self._made
        if made is None or not fresh or made[0].offset < log_.lo or made[0].epoch != log_.epoch:
            ids, states = self._catalog.ids, bytes(self._states)
            held, sold = ([ids[m.start()] for m in re.finditer(state, states)] for state in (b"h", b"s"))
            raw = Raw(_encode(Snapshot(self._catalog.size, held, sold)))
            frame = SeatsSnapshot(
                room=self._room.name, epoch=log_.epoch, offset=log_.hi, event_id=self.event_id, snapshot=raw
            )
            self._made = made = (log_.position, raw, pack(frame))
            self._made_at = time.monotonic()
        return made


class Boards:
    """All boards of this server. `run` it as a task."""

    def __init__(self, store: Store, seats: Seats, hub: Hub, listener: Listener, recorder: Recorder) -> None:
        self._store = store
        self._seats = seats
        self._hub = hub
        self._listener = listener
        self._recorder = recorder
        self._holdings: dict[str, dict[str, Holding]] = {}
        """Event -> user -> what it holds there, for users who are connected here."""
        self._wanted = asyncio.Event()
        self.doubts = Doubts(hub, self._wanted.set)
        listener.openers["seats"] = self._open
        listener.notices.on_holding = self._on_holding
        listener.notices.on_seats = self.doubts.add_twice

    # --- rooms ---

    async def _open(self, room: Room) -> Start:
        """Read where a room of seats begins; on the way its board is made."""
        read = await self._seats.read(room.name.removeprefix(PREFIX))
        board = room.follower
        if not isinstance(board, Board):
            board = room.follower = Board(room, self._on_expired, self._on_begin, self._on_restart)
        room.pinned = self._is_held(board.event_id)
        return Start(read.head, read.chain, lambda: board.install(read))

    @staticmethod
    def snapshot(room: Room, offset: int) -> Raw:
        """The state that a reader begins with who has entered at ``offset`` in this tick."""
        assert isinstance(room.follower, Board)  # noqa: S101 - an open room of seats has one
        return room.follower.snapshot(offset)

    # --- who holds what ---

    def of(self, user_id: str) -> list[str]:
        """The events in which a user who is connected here holds seats."""
        return [event for event, users in self._holdings.items() if users.get(user_id, NOTHING).seats]

    def lasting(self, event_id: str, user_id: str) -> int:
        """When the hold began (Unix ms) that a user is known to have and that outlives any command given now,
        unless it is given back or sold, which may not have been heard yet; 0 where there is none."""
        known = self._knows(event_id, user_id)
        lasts = known.until > self._store.clock.now_ms() + DEADLINE_MS
        return known.first if lasts and known.seats else 0

    def newest(self, event_id: str, user_id: str, holding: Holding) -> Holding:
        """What a user holds as far as this server knows; ``holding`` may have been overtaken."""
        known = self._knows(event_id, user_id)
        return holding if holding.version >= known.version else known

    def learn(self, event_id: str, user_id: str, holding: Holding) -> bool:
        """A user who is connected here holds that, and no more; False where what is known is newer."""
        if user_id not in self._hub.users or self.newest(event_id, user_id, holding) is not holding:
            return False
        self._holdings.setdefault(event_id, {})[user_id] = holding
        if holding.seats:
            # the room is followed although nobody may read it: it tells when the hold has ended
            self._listener.room(PREFIX + event_id).pinned = True
        else:
            self._pin(event_id)
        return True

    def _pin(self, event_id: str) -> None:
        room = self._hub.rooms.get(PREFIX + event_id)
        if room is not None:
            was, room.pinned = room.pinned, self._is_held(event_id)
            if was and not room.pinned:
                room.idle_since = time.monotonic()

    def _is_held(self, event_id: str) -> bool:
        return any(holding.seats for holding in self._holdings.get(event_id, {}).values())

    def forget(self, user_id: str) -> None:
        """A user's last connection here has ended."""
        for event_id, users in list(self._holdings.items()):
            if users.pop(user_id, None) is not None:
                self._pin(event_id)
            if not users:
                del self._holdings[event_id]

    def _on_holding(self, event_id: str, user_id: str, by: str, holding: Holding) -> None:
        """Somebody has changed what a user holds: its other connections here want to know."""
        asker = self._hub.connections.get(by)
        # of what a connection here has done its own answer tells, unless it was left without one
        is_told = asker is not None and not (asker.owed and _holding_in(event_id) in asker.owed)
        if not is_told and self._is_news(event_id, user_id, holding):
            # a notice does not say in which event: seats change hands in the one that is known
            made = self._knows(event_id, user_id).made
            self.learn(event_id, user_id, holding._replace(made=made))
            self._tell(event_id, user_id, holding)

    def _is_news(self, event_id: str, user_id: str, holding: Holding) -> bool:
        known = self._knows(event_id, user_id)
        return user_id in self._hub.users and holding.version > known.version

    def held(self, connection: Connection, event_id: str, holding: Holding) -> None:
        """A connection here has changed what its user holds: the user's others here are told."""
        if self._is_news(event_id, connection.user_id, holding):
            self.learn(event_id, connection.user_id, holding)
            self._hub.tell(connection.user_id, _held(event_id, holding), connection.socket_id)

    def unanswered(self, connection: Connection, event_id: str) -> None:
        """A connection was told that nobody knows what has come of its command: when that is known it is
        told what its user holds, also where that is no news here, as another connection has asked for it."""
        self.doubts.unanswered(connection, event_id, _holding_in(event_id))

    def _on_expired(self, event_id: str, user_id: str, version: int, seats: list[str]) -> None:
        """A hold has ended, which a user did not ask for."""
        if user_id not in self._hub.users:
            return
        known = self._knows(event_id, user_id)
        if known.version < version:
            rest = [seat for seat in known.seats if seat not in seats]
            self.learn(event_id, user_id, known._replace(version=version, seats=rest))
        else:
            # it holds some of them again
            seats = [seat for seat in seats if seat not in known.seats]
        if seats:
            self._recorder.seats(user_id, event_id, "expired", seats)
            self._hub.tell(user_id, SeatsExpired(event_id=event_id, seats=seats))

    # --- after something was lost ---

    def _on_begin(self, event_id: str) -> None:
        """A room is followed from now on: of what became of the holds before, nothing was heard. It does not
        mean that the store has lost one: what it has not, the user has given back, or its time is over."""
        for user_id in self._holdings.get(event_id, {}):
            self.doubts.add(event_id, user_id)

    def _on_restart(self, event_id: str) -> None:
        users = self._holdings.get(event_id, {})
        for user_id, known in users.items():
            # the store may count from an earlier number now
            users[user_id] = known._replace(version=0)
            self.doubts.add(event_id, user_id, put_back=True)

    def doubt_all(self) -> None:
        """Another incarnation of the store answers: what it has lost of the holds is held again."""
        for event_id in self._holdings:
            self._on_restart(event_id)

    async def run(self) -> None:
        """Look up what is in doubt, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REOPEN_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            self._reopen()
            doubted = list(self.doubts.take().items())
            for at in range(0, len(doubted), AT_ONCE):
                batch = doubted[at : at + AT_ONCE]
                await asyncio.gather(*(self._look_up(*key, put_back=back) for key, back in batch))
            if self.doubts:
                await asyncio.sleep(RETRY_SECONDS)

    def _reopen(self) -> None:
        """Follow again what could not be opened, as the store was away: who holds seats wants to know."""
        for event_id in self._holdings:
            if self._is_held(event_id) and PREFIX + event_id not in self._hub.rooms:
                self._listener.room(PREFIX + event_id)
                self._on_restart(event_id)

    async def _look_up(self, event_id: str, user_id: str, *, put_back: bool) -> None:
        known = self._knows(event_id, user_id)
        try:
            now = await self._read(event_id, user_id)
            if now.version < known.version:
                # the event or the store has begun anew; how to go on is known where that has been heard of
                self.doubts.add(event_id, user_id, put_back=put_back)
                return
            lost = [seat for seat in known.seats if seat not in now.seats]
            if put_back and lost and self._knows(event_id, user_id) is known and self._is_running(known):
                now = await self._hold_again(event_id, user_id, known)
                lost = [seat for seat in known.seats if seat not in now.seats]
        except Unavailable:
            self.doubts.add(event_id, user_id, put_back=put_back)
            return
        if self._knows(event_id, user_id) is known:
            self.learn(event_id, user_id, now)
            # what is gone before its time was given back, or is sold, and that is not heard yet
            if lost and (put_back or not self._is_running(known)):
                self._recorder.seats(user_id, event_id, "gone", ())
                self._hub.tell(user_id, SeatsExpired(event_id=event_id, seats=lost))
            elif now.seats != known.seats or now.until != known.until:
                self._tell(event_id, user_id, now)
        for connection in self._hub.due(user_id, _holding_in(event_id)):
            connection.send(_held(event_id, self._knows(event_id, user_id)))

    def _tell(self, event_id: str, user_id: str, holding: Holding) -> None:
        """Tell all of a user's connections here what it holds from now on."""
        self._hub.tell(user_id, _held(event_id, holding))
        self._hub.paid(user_id, _holding_in(event_id))

    def _knows(self, event_id: str, user_id: str) -> Holding:
        return self._holdings.get(event_id, {}).get(user_id, NOTHING)

    def _is_running(self, holding: Holding) -> bool:
        return holding.until > self._store.clock.now_ms()

    async def _read(self, event_id: str, user_id: str) -> Holding:
        return await _or_nothing(self._seats.mine(event_id, Who(user_id)))

    async def _hold_again(self, event_id: str, user_id: str, known: Holding) -> Holding:
        """Hold what was lost until the same moment, one by one: some of it may be another's by now."""
        for seat in known.seats:
            await _or_nothing(self._seats.hold(event_id, Who(user_id), [seat], again=known))
        return await self._read(event_id, user_id)

    # --- connections ---

    async def mine(self, connection: Connection, event_id: str, replaces: str = "") -> Holding:
        """What a user holds, as the store says it now.

        Raises:
            Refused: there is no such event.
            Replaced, Unavailable: as `Seats.mine`.
        """
        holding = await self._seats.mine(event_id, Who.of(connection, replaces))
        self.learn(event_id, connection.user_id, holding)
        return holding


def _holding_in(event_id: str) -> str:
    """What a connection is owed word of that has asked to hold seats, or to give them back."""
    return f"seats:{event_id}"


def _held(event_id: str, holding: Holding) -> SeatsHeld:
    return SeatsHeld(event_id=event_id, held=holding.seats, hold_expires_at=holding.expires_at)


async def _or_nothing(work: Awaitable[Holding]) -> Holding:
    """What is refused for a reason of its own is nothing.

    Raises:
        Unavailable: the store did not answer in time.
    """
    try:
        return await work
    except Unavailable:
        raise
    except Refused:
        return NOTHING
