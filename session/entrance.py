"""Connecting and coming back: token, attach, `connected`, `session-restored`, and then what was missed.

At most two waits for the store in a row: the user's script, then everything about the rooms at once.
Authentication comes first; a stored session never stands in for a token.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from session import keys
from session.boards import Boards
from session.config import Config
from session.connection import Connection
from session.hub import Hub, State
from session.identity import Identity
from session.janitor import Janitor, plan_renewal
from session.leases import Leases
from session.listener import Admission, Listener, Start
from session.lobby import Lobby
from session.manager import (
    Attached,
    Fence,
    Forgotten,
    Gone,
    Session,
    SessionManager,
    is_socket_of,
    new_socket_id,
)
from session.metrics import Metrics
from session.protocol import (
    Authenticated,
    Close,
    Code,
    CommandId,
    Connected,
    Refused,
    RestoredQueue,
    RestoredRoom,
    RestoredSeats,
    RoomPosition,
    SeatsHeld,
    SessionRestored,
    Since,
    pack,
)
from session.recorder import NONE, Recorder
from session.recovery import Position
from session.sale import Replaced
from session.seats import NOTHING, Holding
from session.store import Store, Unavailable
from session.tokens import Expired, Verifier
from session.turnstile import Turnstile, retry_after_ms
from session.waiting_room import Place

log = logging.getLogger(__name__)
T = TypeVar("T")

SERVERS = ("same", "other", "unknown")
"""To which server a user comes back, seen from the one that it was on before."""
EVENT_PREFIX, QUEUE_PREFIX, SEATS_PREFIX = "event:", "queue:", "seats:"


class Entrance:
    """Lets connections in, restores them, and attaches them again when the store lost them."""

    def __init__(
        self, *, config: Config, metrics: Metrics, store: Store, verifier: Verifier, manager: SessionManager,
        hub: Hub, listener: Listener, leases: Leases, janitor: Janitor, lobby: Lobby, boards: Boards,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        self._config = config
        self._metrics = metrics
        self._store = store
        self._verifier = verifier
        self._manager = manager
        self._hub = hub
        self._listener = listener
        self._leases = leases
        self._janitor = janitor
        self._lobby = lobby
        self._boards = boards
        self._recorder = recorder
        self._reconnects = {server: metrics.reconnects.labels(server) for server in SERVERS}
        self._restores = {what: metrics.restores.labels(what) for what in ("recovered", "reset", "refused")}
        self.turnstile = Turnstile(metrics)

    # --- the token ---

    async def sign_in(
        self,
        connection: Connection,
        token: str,
        resume: Mapping[str, Since] | None = None,
        replaces: str = "",
        command_id: CommandId | UnsetType = UNSET,
    ) -> None:
        """Let a connection in, or refuse and close it. Raises nothing that a client can cause."""
        started = time.monotonic()
        connection.token_came()
        try:
            identity = await self._verifier.verify(token)
            if replaces and not is_socket_of(identity.user_id, replaces):
                replaces = ""
            async with self.turnstile.turn(returning=resume is not None):
                if connection.is_open and await self._let_in(
                    connection, identity, resume, replaces, command_id
                ):
                    self._metrics.restore_seconds.observe(time.monotonic() - started)
        except Refused as refused:
            if isinstance(refused, Expired):
                what = f"refused {self._leases.instance} {refused.code.value}"
                self._recorder.note(refused.user_id, what)
            if resume is not None:
                self._metrics.reconnect_failures.labels(refused.code.value).inc()
            # the store is away, or no key set was ever loaded: that is no fault of the token's
            away = refused.code is Code.UNAVAILABLE
            (self.turn_away if away else self.refuse)(connection, refused, command_id)

    async def _let_in(
        self,
        connection: Connection,
        identity: Identity,
        resume: Mapping[str, Since] | None,
        replaces: str,
        command_id: CommandId | UnsetType,
    ) -> bool:
        """Attach a connection and restore it; False where it has ended meanwhile.

        Raises:
            Refused: it was not attached.
        """
        attached = await self._attach(connection, identity, replaces)
        if attached is None:
            return False
        try:
            await self._restore(connection, attached, resume, replaces, command_id)
        except Unavailable as error:
            self.turn_away(connection, error)
            return False
        except Replaced:
            self.removed(connection, Gone(0))
            return False
        return True

    async def renew(self, connection: Connection, token: str, command_id: CommandId | UnsetType) -> None:
        """Take a new token on an open connection; another user's, or a bad one, closes it.

        Raises:
            Refused: the store, or the keys, are out of reach; the old token stands.
        """
        bucket, notices = keys.bucket(connection.user_id), self._listener.notices
        try:
            identity = await self._verifier.verify(token)
            heard = notices.known.get(bucket)
            if identity.user_id != connection.user_id:
                raise Refused(Code.USER_MISMATCH, "the token names another user")
            # a revoked sign-in may not come back by this door either
            if identity.is_revoked_by((await self._manager.check(identity.user_id)).revoked):
                raise Refused(Code.TOKEN_REVOKED, "this sign-in has ended")
        except Refused as refused:
            if refused.code is Code.UNAVAILABLE:
                raise
            self.refuse(connection, refused, command_id)
        else:
            connection.sign_in(identity)
            self._note_renewal(connection, identity)
            connection.send(Authenticated(id=command_id, token_expires_at=identity.expires_at * 1000))
            # a revocation that was heard while the store answered has found the old token here
            if notices.known.get(bucket) != heard:
                self._listener.on_bucket(bucket)

    def refuse(
        self, connection: Connection, refused: Refused, command_id: CommandId | UnsetType = UNSET
    ) -> None:
        """Say why, and close with 3000 and the same word."""
        connection.send(refused.event(command_id))
        connection.close(Close.UNAUTHORIZED, refused.code.value)

    def turn_away(
        self, connection: Connection, error: Refused, command_id: CommandId | UnsetType = UNSET
    ) -> None:
        """The store is away, this server is full, or too many come at once: come back later."""
        later = {**(error.details or {}), "retryAfterMs": retry_after_ms()}
        connection.send(Refused(error.code, error.message, later).event(command_id))
        connection.close(Close.TRY_LATER, error.code.value)

    # --- attaching ---

    async def _attach(self, connection: Connection, identity: Identity, replaces: str) -> Attached | None:
        """The first wait; None where the peer has gone meanwhile. The room of the user is opened before
        the script is sent, so that nothing published after it is missed."""
        socket_id = new_socket_id(identity.user_id)
        room = self._listener.room(f"user:{identity.user_id}")
        term = self._store.clock.term
        try:
            attached = await self._manager.attach(
                identity.user_id, socket_id, marks=identity.marks, issued_at_ms=identity.issued_at_ms,
                replaces=replaces,
            )  # fmt: skip
        except Unavailable:
            # it may have run all the same
            self._janitor.detach_once_more(identity.user_id, socket_id)
            raise
        if not connection.is_open:
            self._janitor.detach_later(identity.user_id, socket_id)
            return None
        self._listener.begin(room, Start(attached.user_room, attached.chain))
        if room.state is State.REPAIRING:
            self._listener.repair(room, "attach")
        connection.socket_id, connection.term = socket_id, term
        connection.attached_at = attached.order
        connection.sign_in(identity)
        plan_renewal(connection, time.monotonic())
        self._hub.add(connection)
        if term != self._store.clock.term:
            # the lease was renewed on the way, and who speaks in it must be known to be attached in it
            await self.reattach(connection)
        self._metrics.opened.inc()
        # a notice about this user that was heard before the answer found no connection to act on
        bucket = keys.bucket(identity.user_id)
        if self._listener.notices.known.get(bucket, 0) > attached.notices:
            self._listener.on_bucket(bucket)
        return attached

    async def reattach(self, connection: Connection) -> None:
        """Attach a connection again that the store has lost, or may have removed, with the rooms that this
        server knows of; close it where it was removed.

        Raises:
            Unavailable: the store did not answer in time.
        """
        if connection.identity is None or not connection.is_open:
            return
        user_id, term, identity = connection.user_id, self._store.clock.term, connection.identity
        try:
            attached = await self._manager.attach(
                user_id, connection.socket_id, marks=identity.marks, issued_at_ms=identity.issued_at_ms,
                order=connection.attached_at,
            )  # fmt: skip
        except Gone as gone:
            self.removed(connection, gone)
            return
        except Refused as refused:
            if isinstance(refused, Unavailable):
                raise
            self.refuse(connection, refused)
            return
        if not connection.is_open:
            self._janitor.detach_later(user_id, connection.socket_id)
            return
        before, connection.attached_at = connection.attached_at, attached.order
        if before != attached.order:
            try:
                await self._write_back(connection)
            except Unavailable:
                # its old order makes the next attempt find again that there is something to write back
                connection.attached_at = before
                raise
        connection.term = term

    async def _write_back(self, connection: Connection) -> None:
        """Tell the store what this server knows of a session that it has lost; what is there stands."""
        user_id, by = connection.user_id, fence(connection)
        ids = {
            "event_id": connection.event_id,
            "queue_event_id": connection.queue_event_id,
            "seat_event_id": connection.seat_event_id,
        }
        known = {name: value for name, value in ids.items() if value}
        try:
            if known or connection.free_rooms:
                await self._manager.update(user_id, {}, defaults=known, join=connection.free_rooms, by=by)
            for event_id in self._lobby.of(user_id):
                await self._manager.tell_line(user_id, event_id, by=by, again=True)
            for event_id in self._boards.of(user_id):
                await self._manager.tell_seats(user_id, event_id, by=by, again=True)
        except Gone as gone:
            self.removed(connection, gone)
        except Forgotten:
            self._janitor.doubt(connection)
        except Unavailable:
            raise
        except Refused as refused:
            log.warning(
                "rooms of a lost session are not written back: %s", refused.message, extra=connection.about
            )

    def removed(self, connection: Connection, gone: Gone) -> None:
        """Close a connection that was removed from its user's."""
        if connection.attached_at <= gone.kicked_at:
            connection.close(Close.REMOVED, "removed")
        else:
            connection.close(Close.REPLACED, "replaced")

    async def attached(self, connection: Connection, change: Callable[[], Awaitable[T]]) -> T:
        """Do something that demands that the connection is attached; once again if the store lost it.

        Raises:
            Unavailable: the store did not answer in time.
            Refused: as ``change`` does.
            Gone: the connection was removed, and has been closed.
        """
        try:
            return await change()
        except Forgotten:
            await self.reattach(connection)
        except Gone as gone:
            self.removed(connection, gone)
            raise
        try:
            return await change()
        except Forgotten:
            raise Unavailable("none") from None

    # --- restoring ---

    async def _restore(
        self,
        connection: Connection,
        attached: Attached,
        resume: Mapping[str, Since] | None,
        replaces: str,
        command_id: CommandId | UnsetType,
    ) -> None:
        mine = f"user:{connection.user_id}"
        room = self._hub.rooms[mine]
        position = room.log.position
        greeting = self._greeting(connection, mine, position, command_id)
        if not attached.session.exists and resume is None:
            connection.write(greeting)
            self._listener.enter(connection, Admission(room, position, None))
            return
        before, here = attached.session.last_instance, self._leases.instance
        server = "unknown" if before is None else "same" if before == here else "other"
        self._reconnects[server].inc()
        wanted = self._wanted(attached, resume)
        wanted = {mine: wanted.pop(mine, None)} | wanted
        refused = self._refusals(connection, wanted)
        names = [name for name in wanted if name not in refused]
        lines = self._events(attached.session.queue_event_id, attached.session.lines, names, QUEUE_PREFIX)
        holds = self._events(attached.session.seat_event_id, attached.session.holds, names, SEATS_PREFIX)
        places: dict[str, Place | None] = {}
        holdings: dict[str, Holding | None] = {}
        verdicts = self._at_once(names, wanted)
        missing = [name for name in names if name not in verdicts]
        if lines or holds or missing:
            # all at once: the second and last wait
            connection.write(greeting)
            greeting = b""
            places, holdings, read = await asyncio.gather(
                self._places(connection, lines, replaces),
                self._holdings(connection, holds, replaces),
                asyncio.gather(*(self._admit(name, wanted[name]) for name in missing)),
            )
            verdicts |= zip(missing, read, strict=True)
            places, holdings = self._as_heard(connection.user_id, places, holdings)
            verdicts = {name: _closed(name, places, holdings) or verdicts[name] for name in names}
        # one tick for all rooms: verdicts, answer, and nothing of a room before it
        rooms, begins = self._come_in(connection, refused | verdicts, position)
        self._tell_restored(connection, greeting, attached.session, rooms, places, holdings)
        self._note_restored(connection, attached.session, rooms, places, holdings)
        if begins:
            connection.write(begins)

    def _come_in(
        self, connection: Connection, verdicts: Mapping[str, Admission | str], told: Position
    ) -> tuple[list[RestoredRoom], bytes]:
        """Come into the rooms that are open to it. How all came back, those that did first, and the frames
        that are to be sent first; ``told`` as in `_rejoin`."""
        rooms, refused, begins = [], [], b""
        for name, verdict in verdicts.items():
            if isinstance(verdict, str):
                refused.append(RestoredRoom(room=name, error=verdict))
            else:
                restored, first = self._rejoin(connection, verdict, told)
                rooms.append(restored)
                begins += first
        if refused:
            self._restores["refused"].inc(len(refused))
        return rooms + refused, begins

    def _as_heard(
        self, user_id: str, places: Mapping[str, Place | None], holdings: Mapping[str, Holding | None]
    ) -> tuple[dict[str, Place | None], dict[str, Holding | None]]:
        """What was heard while it was read is newer than what was read."""
        return (
            {event: place and self._lobby.newest(user_id, event, place) for event, place in places.items()},
            {event: held and self._boards.newest(event, user_id, held) for event, held in holdings.items()},
        )

    def _at_once(
        self, names: Sequence[str], wanted: Mapping[str, Position | None]
    ) -> dict[str, Admission | str]:
        """The rooms that nothing needs to be read for."""
        found: dict[str, Admission | str] = {}
        for name in names:
            admission = self._listener.admit_at_once(name, wanted[name])
            if admission is not None:
                found[name] = admission
        return found

    async def _admit(self, name: str, since: Position | None) -> Admission | str:
        """How a connection can come into a room, or why not.

        Raises:
            Unavailable: the store did not answer in time.
        """
        try:
            return await self._listener.admit(name, since)
        except Unavailable:
            raise
        except Refused as refused:
            return refused.code.value

    @staticmethod
    def _events(own: str | None, named: Iterable[str], rooms: Iterable[str], prefix: str) -> set[str]:
        """The events that a session or its client names for a line, or for seats."""
        events = set(named)
        for room in rooms:
            if room.startswith(prefix):
                events.add(room.removeprefix(prefix))
        if own:
            events.add(own)
        return events

    async def _places(
        self, connection: Connection, events: Iterable[str], replaces: str
    ) -> dict[str, Place | None]:
        """Where the user stands in each of these lines."""
        found = await asyncio.gather(*(self._lobby.arrive(connection, event, replaces) for event in events))
        return dict(zip(events, found, strict=True))

    async def _holdings(
        self, connection: Connection, events: Iterable[str], replaces: str
    ) -> dict[str, Holding | None]:
        """What the user holds in each of these events; None where there is none such."""

        async def holding(event_id: str) -> Holding | None:
            try:
                return await self._boards.mine(connection, event_id, replaces)
            except Unavailable:
                raise
            except Refused:
                return None

        return dict(zip(events, await asyncio.gather(*map(holding, events)), strict=True))

    def _tell_restored(
        self,
        connection: Connection,
        greeting: bytes,
        session: Session,
        rooms: list[RestoredRoom],
        places: Mapping[str, Place | None],
        holdings: Mapping[str, Holding | None],
    ) -> None:
        """One place and one holding stand in `session-restored`; who has more is told of the others.
        ``greeting`` is `connected` where it was not sent yet: one send for both."""
        standing = {event: place for event, place in places.items() if place is not None}
        holding = {event: held for event, held in holdings.items() if held is not None and held.seats}
        line = _first(session.queue_event_id, standing)
        seats = _first(session.seat_event_id, holding)
        if session.queue_event_id in standing:
            connection.queue_event_id = session.queue_event_id
        elif session.queue_event_id is not None:
            session = replace(session, queue_event_id=None)
        connection.seat_event_id = session.seat_event_id
        held = holding[seats] if seats is not None else NOTHING
        restored = SessionRestored(
            session=session.state(held.seats),
            rooms=rooms,
            queue=None
            if line is None
            else RestoredQueue(
                event_id=line, **self._lobby.standing(connection.user_id, line, standing[line])
            ),
            seats=None
            if seats is None
            else RestoredSeats(event_id=seats, held=held.seats, hold_expires_at=held.expires_at),
        )
        connection.write(greeting + pack(restored))
        for event_id, place in standing.items():
            if event_id != line:
                self._lobby.tell(connection, event_id, place)
        for event_id, other in holding.items():
            if event_id != seats:
                connection.send(
                    SeatsHeld(event_id=event_id, held=other.seats, hold_expires_at=other.expires_at)
                )

    def _note_restored(
        self,
        connection: Connection,
        session: Session,
        rooms: Iterable[RestoredRoom],
        places: Mapping[str, Place | None],
        holdings: Mapping[str, Holding | None],
    ) -> None:
        """For the user's recorder: how it came back, and what it has no more since it was away."""
        recovered = reset = missed = 0
        for room in rooms:
            recovered += room.recovered is True
            reset += room.recovered is False
            missed += room.missed or 0
        came = f"{self._leases.instance} {connection.socket_id} {session.last_instance or NONE}"
        what = f"restored {came} {recovered + reset} {reset} {missed}"
        self._recorder.note(connection.user_id, what, what)
        for event_id in session.lines:
            if places.get(event_id) is None:
                self._recorder.queue(connection.user_id, event_id, "gone")
        for event_id in session.holds:
            holding = holdings.get(event_id)
            if holding is None or not holding.seats:
                self._recorder.seats(connection.user_id, event_id, "gone", ())

    def _note_renewal(self, connection: Connection, identity: Identity) -> None:
        what = f"renewed {self._leases.instance} {connection.socket_id} {identity.expires_at * 1000}"
        self._recorder.note(connection.user_id, what, what)

    def _rejoin(
        self, connection: Connection, admission: Admission, told: Position
    ) -> tuple[RestoredRoom, bytes]:
        """Bring a room back, with the frame that is to be sent first in it; ``told`` is where `connected`
        said that the user's own room is."""
        name = admission.room.name
        if name.startswith("user:") and admission.since is None:
            # what came since `connected` follows, though nothing of the past was recovered
            self._listener.enter(connection, Admission(admission.room, told, None))
            own = RestoredRoom(room=name, epoch=told.epoch, offset=told.offset, recovered=False, missed=0)
            return own, b""
        entered = self._listener.enter(connection, admission)
        self._restores["recovered" if entered.recovered else "reset"].inc()
        if entered.missed:
            self._metrics.recovered.inc(entered.missed)
        if name.startswith(EVENT_PREFIX):
            connection.event_id = name.removeprefix(EVENT_PREFIX)
            admission.room.tell_count_again()
        elif not name.startswith(("user:", QUEUE_PREFIX, SEATS_PREFIX)):
            connection.free_rooms |= {name}
        restored = RestoredRoom(
            room=name,
            epoch=entered.epoch,
            offset=entered.offset,
            recovered=entered.recovered,
            missed=entered.missed,
        )
        return restored, entered.first

    def _greeting(
        self, connection: Connection, room: str, position: Position, command_id: CommandId | UnsetType
    ) -> bytes:
        assert connection.identity is not None  # noqa: S101 - attached
        return pack(
            Connected(
                id=command_id,
                socket_id=connection.socket_id,
                user_id=connection.user_id,
                role=connection.identity.role,
                instance=self._leases.instance,
                server_time=self._store.clock.now_ms(),
                token_expires_at=connection.identity.expires_at * 1000,
                ping_interval_ms=int(self._config.ping_interval * 1000),
                user_room=RoomPosition(room=room, epoch=position.epoch, offset=position.offset),
            )
        )

    @staticmethod
    def _wanted(attached: Attached, resume: Mapping[str, Since] | None) -> dict[str, Position | None]:
        """The rooms to rejoin: those that the client names, or else those of the stored session."""
        if resume is None:
            return dict.fromkeys(attached.session.rooms_to_rejoin)
        return {name: Position(since.epoch, since.offset) for name, since in resume.items()}

    def _refusals(self, connection: Connection, wanted: Iterable[str]) -> dict[str, str]:
        """The rooms that are not rejoined, and why."""
        assert connection.identity is not None  # noqa: S101 - attached
        refused: dict[str, str] = {}
        taken = 0
        for name in wanted:
            if name == f"user:{connection.user_id}":
                continue
            if not connection.identity.may_join(name):
                refused[name] = Code.FORBIDDEN.value
            elif taken == self._config.max_rooms:
                refused[name] = Code.TOO_MANY_ROOMS.value
            else:
                taken += 1
        return refused


def _closed(name: str, places: Mapping[str, Place | None], holdings: Mapping[str, Holding | None]) -> str:
    """Why a room of an event is closed to the user: no place in that line, or there is no such event."""
    if name.startswith(QUEUE_PREFIX) and places[name.removeprefix(QUEUE_PREFIX)] is None:
        return Code.FORBIDDEN.value
    if name.startswith(SEATS_PREFIX) and holdings[name.removeprefix(SEATS_PREFIX)] is None:
        return Code.NOT_FOUND.value
    return ""


def _first(named: str | None, found: Mapping[str, T]) -> str | None:
    """The event that the session names, if there is anything, else any in which there is."""
    return named if named in found else min(found, default=None)


def fence(connection: Connection) -> Fence:
    """The mark of a connection in the store, which scripts that change its session demand."""
    return Fence(connection.socket_id, connection.attached_at)
