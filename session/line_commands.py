"""The commands of the waiting room: join and leave.

The session names the line before the place is taken, and forgets it after it was given up: a crash in
between leaves a name that leads to nothing, never a place that nobody looks for.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import UnsetType

from session.config import Config
from session.connection import Connection
from session.entering import check_room_limit, enter, position, recovery, with_room
from session.entrance import Entrance, fence
from session.line_events import LineEvents
from session.listener import Listener
from session.lobby import Lobby
from session.manager import LINE, SessionManager
from session.naming import Naming
from session.protocol import Code, CommandId, JoinQueue, LeaveQueue, QueueJoined, QueueLeft, Refused
from session.recorder import Recorder
from session.sale import Who
from session.waiting_room import Left, WaitingRooms

Handler = Callable[[Connection, Any, CommandId | UnsetType], Awaitable[None]]


class LineCommands:
    """Runs them; `table` says which."""

    def __init__(
        self, *, config: Config, manager: SessionManager, waiting_rooms: WaitingRooms, listener: Listener,
        entrance: Entrance, lobby: Lobby, line_events: LineEvents, recorder: Recorder,
    ) -> None:  # fmt: skip
        self._config = config
        self._manager = manager
        self._waiting_rooms = waiting_rooms
        self._listener = listener
        self._naming = Naming(manager, entrance, LINE)
        self._lobby = lobby
        self._line_events = line_events
        self._recorder = recorder
        self.table: Mapping[type, Handler] = {JoinQueue: self._join, LeaveQueue: self._leave}
        self.unanswered: Mapping[type, Callable[[Connection, Any], None]] = {
            JoinQueue: lambda connection, command: lobby.join_unanswered(connection, str(command.event_id)),
            LeaveQueue: lambda connection, command: lobby.leave_unanswered(connection, str(command.event_id)),
        }

    async def _join(self, connection: Connection, command: JoinQueue, cid: CommandId | UnsetType) -> None:
        event_id = str(command.event_id)
        name = f"queue:{event_id}"
        check_room_limit(connection, name, self._config.max_rooms)
        user_id = connection.user_id
        await self._naming.name(connection, event_id, lambda e: self._waiting_rooms.has_place(e, user_id))
        place, admission = await with_room(
            self._lobby.join(connection, event_id), self._listener.admit(name, position(command.since))
        )
        await self._naming.after(
            connection, lambda: self._manager.tell_line(user_id, event_id, by=fence(connection))
        )
        now = self._lobby.newest(user_id, event_id, place)
        if now is None:
            raise Refused(Code.NOT_JOINED, f"the place in the line of {event_id} was given up meanwhile")
        connection.queue_event_id = event_id
        self._recorder.queue(user_id, event_id, now.status)
        entered = enter(self._listener, connection, name, admission, command.since)
        recovered = recovery(entered, command.since)
        connection.send(
            QueueJoined(
                id=cid,
                event_id=event_id,
                room=name,
                epoch=entered.epoch,
                offset=entered.offset,
                recovered=recovered[0],
                missed=recovered[1],
                **self._line_events.standing(user_id, event_id, now),
            )
        )

    async def _leave(self, connection: Connection, command: LeaveQueue, cid: CommandId | UnsetType) -> None:
        with self._lobby.leaving(connection, str(command.event_id)):
            await self._give_up(connection, command, cid)

    async def _give_up(self, connection: Connection, command: LeaveQueue, cid: CommandId | UnsetType) -> None:
        event_id = str(command.event_id)
        who = Who.of(connection)
        # another of the user's connections may join at the same time: its name for the place is another
        name = await self._manager.named(connection.user_id, LINE, event_id)
        try:
            left = await self._waiting_rooms.leave(event_id, who)
        except Refused as refused:
            # who asks to be in no line is so where there is none, too
            if refused.code is not Code.NOT_FOUND:
                raise
            left = Left(had=False, offset=0)
        self._lobby.left(connection, event_id, left)
        if connection.queue_event_id == event_id:
            connection.queue_event_id = None
        await self._naming.after(
            connection,
            lambda: self._manager.unname(connection.user_id, LINE, event_id, name, by=fence(connection)),
        )
        if not left.had:
            raise Refused(Code.NOT_JOINED, f"there is no place in the line of {event_id}")
        self._recorder.queue(connection.user_id, event_id, "left")
        connection.send(QueueLeft(id=cid, event_id=event_id))
