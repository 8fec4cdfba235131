"""The one table: command -> what it does -> its answer. Commands of a connection run in order."""

import asyncio
import functools
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from session.config import Config
from session.connection import Connection
from session.entering import check_room_limit, enter, joined, position, recovery, with_room
from session.entrance import Entrance, fence
from session.hub import Hub
from session.listener import Listener
from session.manager import Gone, SessionManager
from session.metrics import Metrics
from session.presence import Presence
from session.protocol import (
    AnyCommand,
    Auth,
    Code,
    CommandId,
    EventJoined,
    EventLeft,
    JoinEvent,
    JoinRoom,
    LeaveEvent,
    LeaveRoom,
    Ping,
    Pong,
    Publish,
    Published,
    Refused,
    RoomJoined,
    RoomLeft,
    SessionUpdated,
    UpdateSession,
)
from session.rooms import Rooms
from session.sale import Replaced
from session.store import Store, Unavailable

Handler = Callable[[Connection, Any, CommandId | UnsetType], Awaitable[None]]
OnUnanswered = Callable[[Connection, Any], None]
"""Told a command of which nobody knows whether it has happened, or will: its client was told so."""
OWN_COMMANDS = {"event": "join-event", "queue": "join-queue", "seats": "join-seats", "user": "connecting"}
"""Namespaces that ``join-room`` is not for, and what joins them."""


class Commands:
    """Runs the commands of signed-in connections."""

    def __init__(
        self, *, config: Config, metrics: Metrics, store: Store, manager: SessionManager, rooms: Rooms,
        hub: Hub, listener: Listener, entrance: Entrance, presence: Presence,
    ) -> None:  # fmt: skip
        self._config = config
        self._metrics = metrics
        self._store = store
        self._manager = manager
        self._rooms = rooms
        self._hub = hub
        self._listener = listener
        self._entrance = entrance
        self._presence = presence
        # to look labels up costs more than to count
        self._counted = functools.cache(metrics.commands.labels)
        self._table: dict[type, Handler] = {
            Auth: self._auth,
            Ping: self._ping,
            JoinEvent: self._join_event,
            LeaveEvent: self._leave_event,
            JoinRoom: self._join_room,
            LeaveRoom: self._leave_room,
            Publish: self._publish,
            UpdateSession: self._update_session,
        }
        self._unanswered: dict[type, OnUnanswered] = {}

    def add(self, table: Mapping[type, Handler], unanswered: Mapping[type, OnUnanswered]) -> None:
        """Take in the commands of another part, and who follows up those of which nobody knows what has come;
        each has one place."""
        self._table |= table
        self._unanswered |= unanswered

    async def run(self, connection: Connection, command: AnyCommand) -> None:
        """Run one command and send its answer."""
        name = command.__struct_config__.tag
        command_id = UNSET if command.id is None else command.id
        connection.touch()
        try:
            if connection.term != self._store.clock.term:
                # this server's lease was over for a while, in which the connection may have been replaced
                await self._entrance.reattach(connection)
            if not connection.is_open:
                return
            await self._table[type(command)](connection, command, command_id)
        except Refused as refused:
            self._counted(name, refused.code.value).inc()
            connection.send(refused.event(command_id))
            if isinstance(refused, Unavailable) and refused.outcome == "unknown":
                self._follow_up(connection, command)
        except (Gone, Replaced) as gone:
            if isinstance(gone, Replaced):
                self._entrance.removed(connection, Gone(0))
            self._counted(name, "gone").inc()
        else:
            self._counted(name, "ok").inc()

    def _follow_up(self, connection: Connection, command: AnyCommand) -> None:
        """What has come of a command will be told: its client may have given up, and would hold what nobody
        uses, or wait where it stands no more."""
        on_unanswered = self._unanswered.get(type(command))
        if on_unanswered is not None and connection.is_open:
            on_unanswered(connection, command)

    # --- rooms ---

    async def _join_event(
        self, connection: Connection, command: JoinEvent, cid: CommandId | UnsetType
    ) -> None:
        event_id = str(command.event_id)
        name = f"event:{event_id}"
        # by resume it may have come into several
        leaves = {room for room in connection.rooms if room.startswith("event:")} - {name}
        check_room_limit(connection, name, self._config.max_rooms, leaves)
        change = self._entrance.attached(
            connection,
            lambda: self._manager.update(
                connection.user_id,
                {"event_id": event_id},
                notes=[f"room joined {name}"],
                by=fence(connection),
            ),
        )
        admit = self._listener.admit(name, position(command.since))
        _, (admission, _) = await with_room(
            change, asyncio.gather(admit, self._count_in(connection, name, leaves))
        )
        for room in leaves & connection.rooms.keys():
            connection.rooms[room].leave(connection)
        connection.event_id = event_id
        entered = enter(self._listener, connection, name, admission, command.since)
        recovered = recovery(entered, command.since)
        count = self._presence.total(admission.room)
        if count != admission.room.told_count:
            # the others were told another one last: tell all of them the next one
            admission.room.tell_count_again()
        connection.send(
            EventJoined(
                id=cid,
                event_id=event_id,
                room=name,
                epoch=entered.epoch,
                offset=entered.offset,
                user_count=count,
                recovered=recovered[0],
                missed=recovered[1],
            )
        )

    async def _count_in(self, connection: Connection, name: str, leaves: Collection[str]) -> None:
        """See that a connection is counted where it comes in, and no more where it leaves for it."""
        is_new = name not in connection.rooms
        await asyncio.gather(
            self._presence.comes(name.removeprefix("event:"), is_new=is_new),
            *(self._presence.goes(room.removeprefix("event:")) for room in leaves),
        )

    async def _leave_event(
        self, connection: Connection, command: LeaveEvent, cid: CommandId | UnsetType
    ) -> None:
        event_id = str(command.event_id)
        room = joined(connection, f"event:{event_id}")
        await asyncio.gather(
            self._presence.goes(event_id),
            self._entrance.attached(
                connection,
                lambda: self._manager.clear(
                    connection.user_id, "event_id", event_id, note=f"room left {room.name}",
                    by=fence(connection),
                ),
            ),
        )  # fmt: skip
        room.leave(connection)
        if connection.event_id == event_id:
            connection.event_id = None
        connection.send(EventLeft(id=cid, event_id=event_id))

    async def _join_room(self, connection: Connection, command: JoinRoom, cid: CommandId | UnsetType) -> None:
        name = command.room
        self._check_free(name)
        if connection.identity is None or not connection.identity.may_join(name):
            raise Refused(Code.FORBIDDEN, f"the token does not open {name}")
        check_room_limit(connection, name, self._config.max_rooms)
        change = self._entrance.attached(
            connection,
            lambda: self._manager.update(
                connection.user_id, {}, join=[name], notes=[f"room joined {name}"], by=fence(connection)
            ),
        )
        _, admission = await with_room(change, self._listener.admit(name, position(command.since)))
        connection.free_rooms |= {name}
        entered = enter(self._listener, connection, name, admission, command.since)
        recovered = recovery(entered, command.since)
        connection.send(
            RoomJoined(
                id=cid,
                room=name,
                epoch=entered.epoch,
                offset=entered.offset,
                recovered=recovered[0],
                missed=recovered[1],
            )
        )

    async def _leave_room(
        self, connection: Connection, command: LeaveRoom, cid: CommandId | UnsetType
    ) -> None:
        name = command.room
        self._check_free(name)
        room = joined(connection, name)
        await self._entrance.attached(
            connection,
            lambda: self._manager.update(
                connection.user_id, {}, leave=[name], notes=[f"room left {name}"], by=fence(connection)
            ),
        )
        room.leave(connection)
        connection.free_rooms -= {name}
        connection.send(RoomLeft(id=cid, room=name))

    @staticmethod
    def _check_free(name: str) -> None:
        namespace = name.partition(":")[0]
        if namespace in OWN_COMMANDS:
            raise Refused(Code.FORBIDDEN, f"{namespace}: rooms are joined by {OWN_COMMANDS[namespace]}")

    # --- messages, session, the rest ---

    async def _publish(self, connection: Connection, command: Publish, cid: CommandId | UnsetType) -> None:
        name = command.room
        if connection.identity is None or not connection.identity.may_publish(name):
            raise Refused(Code.FORBIDDEN, f"the token does not let publish to {name}")
        # a key is the user's own: another user's same key is another message
        request_id = f"u:{connection.user_id}:{command.key}" if command.key else f"r:{secrets.token_hex(8)}"
        room = self._hub.rooms.get(name)
        seen = room.log.position if room is not None and room.opened.done() else None
        published = await self._rooms.publish(
            name, bytes(command.data), request_id=request_id, seen=seen, term=connection.term
        )
        connection.send(Published(id=cid, room=name, epoch=published.epoch, offset=published.offset))

    async def _update_session(
        self, connection: Connection, command: UpdateSession, cid: CommandId | UnsetType
    ) -> None:
        whole = await self._entrance.attached(
            connection,
            lambda: self._manager.update_data(connection.user_id, command.data, by=fence(connection)),
        )
        connection.send(SessionUpdated(id=cid, data=whole))

    async def _ping(self, connection: Connection, command: Ping, cid: CommandId | UnsetType) -> None:
        connection.send(Pong(id=cid, t=command.t, server_time=self._store.clock.now_ms()))

    async def _auth(self, connection: Connection, command: Auth, cid: CommandId | UnsetType) -> None:
        await self._entrance.renew(connection, command.token, cid)
