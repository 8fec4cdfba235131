"""The commands of the seats: watch them, hold, extend, release.

The session names the event before anything is held there, so that a hold is always found again.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import UnsetType

from session.boards import Boards
from session.config import Config
from session.connection import Connection
from session.entering import check_room_limit, joined, position, recovery
from session.entrance import Entrance, fence
from session.listener import Listener
from session.manager import SEATS, SessionManager
from session.naming import Naming
from session.protocol import (
    Code,
    CommandId,
    ExtendHold,
    HoldBest,
    HoldSeats,
    JoinSeats,
    LeaveSeats,
    Refused,
    ReleaseSeats,
    SeatsHeld,
    SeatsJoined,
    SeatsLeft,
    SeatsReleased,
)
from session.recorder import Recorder
from session.sale import Who
from session.seats import Holding, Seats
from session.store import Unavailable
from session.ticker import Ticker
from session.waiting_room import WaitingRooms

Handler = Callable[[Connection, Any, CommandId | UnsetType], Awaitable[None]]


class SeatCommands:
    """Runs them; `table` says which."""

    def __init__(
        self, *, config: Config, manager: SessionManager, seats: Seats, waiting_rooms: WaitingRooms,
        listener: Listener, entrance: Entrance, boards: Boards, ticker: Ticker,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        self._config = config
        self._manager = manager
        self._seats = seats
        self._waiting_rooms = waiting_rooms
        self._listener = listener
        self._entrance = entrance
        self._naming = Naming(manager, entrance, SEATS)
        self._boards = boards
        self._ticker = ticker
        self._recorder = recorder
        self.table: Mapping[type, Handler] = {
            JoinSeats: self._join,
            LeaveSeats: self._leave,
            HoldSeats: self._hold_seats,
            HoldBest: self._hold_best,
            ExtendHold: self._extend,
            ReleaseSeats: self._release,
        }
        self.unanswered: Mapping[type, Callable[[Connection, Any], None]] = dict.fromkeys(
            (HoldSeats, HoldBest, ExtendHold, ReleaseSeats), self._unanswered
        )

    # --- watching ---

    async def _join(self, connection: Connection, command: JoinSeats, cid: CommandId | UnsetType) -> None:
        event_id = str(command.event_id)
        name = f"seats:{event_id}"
        check_room_limit(connection, name, self._config.max_rooms)
        holding = await self._boards.mine(connection, event_id)
        admission = await self._listener.admit(name, position(command.since))
        await self._entrance.attached(
            connection,
            lambda: self._manager.update(
                connection.user_id,
                {"seat_event_id": event_id},
                notes=[f"room joined {name}"],
                by=fence(connection),
            ),
        )
        connection.seat_event_id = event_id
        again = name in connection.rooms and command.since is None
        entered = self._listener.enter(connection, admission, anew=again)
        recovered = recovery(entered, command.since)
        connection.send(
            SeatsJoined(
                id=cid,
                event_id=event_id,
                room=name,
                epoch=entered.epoch,
                offset=entered.offset,
                recovered=recovered[0],
                missed=recovered[1],
                snapshot=self._boards.snapshot(admission.room, entered.offset),
                **self._holding(connection, event_id, holding),
            )
        )

    async def _leave(self, connection: Connection, command: LeaveSeats, cid: CommandId | UnsetType) -> None:
        event_id = str(command.event_id)
        room = joined(connection, f"seats:{event_id}")
        await self._entrance.attached(
            connection,
            lambda: self._manager.clear(
                connection.user_id, "seat_event_id", event_id, note=f"room left {room.name}",
                by=fence(connection),
            ),
        )  # fmt: skip
        room.leave(connection)
        if connection.seat_event_id == event_id:
            connection.seat_event_id = None
        connection.send(SeatsLeft(id=cid, event_id=event_id))

    # --- holding ---

    async def _hold_seats(
        self, connection: Connection, command: HoldSeats, cid: CommandId | UnsetType
    ) -> None:
        await self._hold(
            connection, cid, command.event_id, lambda e, w: self._seats.hold(e, w, command.seats)
        )

    async def _hold_best(self, connection: Connection, command: HoldBest, cid: CommandId | UnsetType) -> None:
        await self._hold(
            connection, cid, command.event_id,
            lambda e, w: self._seats.hold_best(e, w, command.count, command.section),
        )  # fmt: skip

    async def _hold(
        self,
        connection: Connection,
        cid: CommandId | UnsetType,
        event: str | int,
        hold: Callable[[str, Who], Awaitable[Holding]],
    ) -> None:
        event_id = str(event)
        user_id = connection.user_id
        # mostly known, so that the two are not worth a task each
        await self._waiting_rooms.use(event_id)
        lasting = self._boards.lasting(event_id, user_id)
        if not lasting:
            # else the session names it, and nobody forgets a name that leads to seats
            await self._naming.name(connection, event_id, lambda e: self._holds_in(user_id, e))
        self._ticker.is_used(event_id)
        known = event_id in self._boards.of(user_id)
        holding = await hold(event_id, Who.of(connection))
        self._boards.held(connection, event_id, holding)
        self._recorder.seats(user_id, event_id, "held", holding.seats)
        is_news = connection.seat_event_id != event_id or not known
        # that hold was over by then, though it may be of the same seats, and the name may have been forgotten
        if is_news or (lasting and lasting != holding.first):
            await self._naming.after(
                connection, lambda: self._manager.tell_seats(user_id, event_id, by=fence(connection))
            )
            connection.seat_event_id = event_id
        connection.send(SeatsHeld(id=cid, event_id=event_id, **self._holding(connection, event_id, holding)))

    async def _extend(self, connection: Connection, command: ExtendHold, cid: CommandId | UnsetType) -> None:
        event_id = str(command.event_id)
        holding = await self._seats.extend(event_id, Who.of(connection))
        if not holding.seats:
            raise Refused(Code.NOT_FOUND, "no seats are held")
        self._recorder.seats(connection.user_id, event_id, "extended", holding.seats)
        self._boards.held(connection, event_id, holding)
        connection.send(SeatsHeld(id=cid, event_id=event_id, **self._holding(connection, event_id, holding)))

    async def _release(
        self, connection: Connection, command: ReleaseSeats, cid: CommandId | UnsetType
    ) -> None:
        event_id = str(command.event_id)
        _, holding = await self._seats.release(event_id, Who.of(connection), command.seats)
        self._recorder.seats(connection.user_id, event_id, "released", holding.seats)
        self._boards.held(connection, event_id, holding)
        connection.send(
            SeatsReleased(id=cid, event_id=event_id, **self._holding(connection, event_id, holding))
        )

    def _holding(self, connection: Connection, event_id: str, holding: Holding) -> dict[str, Any]:
        """What an answer says that the user holds: no less than it has been told already."""
        newest = self._boards.newest(event_id, connection.user_id, holding)
        return {"held": newest.seats, "hold_expires_at": newest.expires_at}

    def _unanswered(
        self, connection: Connection, command: HoldSeats | HoldBest | ExtendHold | ReleaseSeats
    ) -> None:
        self._boards.unanswered(connection, str(command.event_id))

    # --- the session ---

    async def _holds_in(self, user_id: str, event_id: str) -> bool:
        try:
            return bool((await self._seats.mine(event_id, Who(user_id))).seats)
        except Unavailable:
            raise
        except Refused:
            return False
