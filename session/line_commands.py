"""The commands of the waiting room: join and leave.

The session names the line before the place is taken, and forgets it after it was given up: a crash in
between leaves a name that leads to nothing, never a place that nobody looks for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import UnsetType

from session.config import Config
from session.connection import Connection
from session.entering import check_room_limit, enter, position, recovery
from session.entrance import Entrance, fence
from session.listener import Listener
from session.lobby import Lobby
from session.manager import LINE, SessionManager
from session.protocol import Code, CommandId, JoinQueue, LeaveQueue, QueueJoined, QueueLeft, Refused
from session.sale import Who
from session.store import Unavailable
from session.waiting_room import WaitingRooms

Handler = Callable[[Connection, Any, CommandId | UnsetType], Awaitable[None]]


class LineCommands:
    """Runs them; `table` says which."""

    def __init__(
        self, *, config: Config, manager: SessionManager, waiting_rooms: WaitingRooms, listener: Listener,
        entrance: Entrance, lobby: Lobby,
    ) -> None:  # fmt: skip
        self._config = config
        self._manager = manager
        self._waiting_rooms = waiting_rooms
        self._listener = listener
        self._entrance = entrance
        self._lobby = lobby
        self.table: Mapping[type, Handler] = {JoinQueue: self._join, LeaveQueue: self._leave}

    async def _join(self, connection: Connection, command: JoinQueue, cid: CommandId | UnsetType) -> None:
        event_id = str(command.event_id)
        name = f"queue:{event_id}"
        check_room_limit(connection, name, self._config.max_rooms)
        await self._name(connection, event_id)
        place, admission = await asyncio.gather(
            self._lobby.join(connection, event_id), self._listener.admit(name, position(command.since))
        )
        await self._tell_session(connection, event_id)
        now = self._lobby.newest(connection.user_id, event_id, place)
        if now is None:
            raise Refused(Code.NOT_JOINED, f"the place in the line of {event_id} was given up meanwhile")
        connection.queue_event_id = event_id
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
                **self._lobby.standing(connection.user_id, event_id, now),
            )
        )

    async def _leave(self, connection: Connection, command: LeaveQueue, cid: CommandId | UnsetType) -> None:
        event_id = str(command.event_id)
        who = Who(connection.user_id, connection.socket_id)
        # another of the user's connections may join at the same time: its name for the place is another
        name = await self._manager.named(connection.user_id, LINE, event_id)
        left = await self._waiting_rooms.leave(event_id, who)
        self._lobby.left(connection, event_id, left.offset)
        if connection.queue_event_id == event_id:
            connection.queue_event_id = None
        try:
            await self._entrance.attached(
                connection,
                lambda: self._manager.unname(connection.user_id, LINE, event_id, name, by=fence(connection)),
            )
        except Unavailable:
            raise Unavailable("unknown") from None
        if not left.had:
            raise Refused(Code.NOT_JOINED, f"there is no place in the line of {event_id}")
        connection.send(QueueLeft(id=cid, event_id=event_id))

    async def _name(self, connection: Connection, event_id: str) -> None:
        """Name the line in the session; where it names too many, those are forgotten that lead to nothing.

        Raises:
            Refused: the user has a place in each of them.
        """
        user_id = connection.user_id

        async def name() -> list[str]:
            return await self._manager.name(user_id, LINE, event_id, by=fence(connection))

        others = await self._entrance.attached(connection, name)
        for other in others:
            told = await self._manager.named(user_id, LINE, other)
            if not await self._waiting_rooms.has_place(other, user_id):
                await self._manager.unname(user_id, LINE, other, told)
        if others and await self._entrance.attached(connection, name):
            raise Refused(Code.TOO_MANY_ROOMS, f"a user waits in at most {len(others)} lines")

    async def _tell_session(self, connection: Connection, event_id: str) -> None:
        try:
            await self._entrance.attached(
                connection,
                lambda: self._manager.tell_line(connection.user_id, event_id, by=fence(connection)),
            )
        except Unavailable:
            # the place is taken
            raise Unavailable("unknown") from None
