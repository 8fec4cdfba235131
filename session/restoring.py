"""Coming back: `connected`, `session-restored`, and then what was missed.

Everything about the rooms is asked at once: after the user's script it is the second wait for the store, and
the last.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import UnsetType
from msgspec.structs import replace

from session.boards import Boards
from session.config import Config
from session.connection import Connection
from session.entering import position
from session.hub import Hub
from session.leases import Leases
from session.line_events import LineEvents
from session.listener import Admission, Listener
from session.lobby import Lobby
from session.manager import Attached, Session
from session.metrics import Metrics
from session.protocol import (
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
from session.seats import NOTHING, Holding
from session.store import Store, Unavailable
from session.waiting_room import Place

T = TypeVar("T")

SERVERS = ("same", "other", "unknown")
"""To which server a user comes back, seen from the one that it was on before."""
EVENT_PREFIX, QUEUE_PREFIX, SEATS_PREFIX = "event:", "queue:", "seats:"


class Restorer:
    """Brings connections back to their rooms, places and seats."""

    def __init__(
        self, *, config: Config, metrics: Metrics, store: Store, hub: Hub, listener: Listener, leases: Leases,
        lobby: Lobby, line_events: LineEvents, boards: Boards, recorder: Recorder,
    ) -> None:  # fmt: skip
        self._config = config
        self._metrics = metrics
        self._store = store
        self._hub = hub
        self._listener = listener
        self._leases = leases
        self._lobby = lobby
        self._line_events = line_events
        self._boards = boards
        self._recorder = recorder
        self._reconnects = {server: metrics.reconnects.labels(server) for server in SERVERS}
        self._restores = {what: metrics.restores.labels(what) for what in ("recovered", "reset", "refused")}

    async def restore(
        self,
        connection: Connection,
        attached: Attached,
        resume: Mapping[str, Since | None] | None,
        replaces: str,
        command_id: CommandId | UnsetType,
    ) -> None:
        """Greet a connection that is attached, and bring it back to where it was.

        Raises:
            Unavailable: the store did not answer in time.
            Replaced: another connection has taken its place meanwhile.
        """
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
                event_id=line, **self._line_events.standing(connection.user_id, line, standing[line])
            ),
            seats=None
            if seats is None
            else RestoredSeats(event_id=seats, held=held.seats, hold_expires_at=held.expires_at),
        )
        connection.write(greeting + pack(restored))
        for event_id, place in standing.items():
            if event_id != line:
                self._lobby.tell(connection, event_id, place)
        for event_id in self._lobby.of(connection.user_id):
            if event_id not in standing:
                self._lobby.tell_known(connection, event_id, is_sure=event_id not in places)
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
    def _wanted(attached: Attached, resume: Mapping[str, Since | None] | None) -> dict[str, Position | None]:
        """The rooms to rejoin: those that the client names, or else those of the stored session."""
        if resume is None:
            return dict.fromkeys(attached.session.rooms_to_rejoin)
        return {name: position(since) for name, since in resume.items()}

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
