"""What all commands that bring a connection into a room have in common."""

import asyncio
from collections.abc import Awaitable, Set
from typing import TypeVar

from msgspec import UNSET, UnsetType

from session.connection import Connection
from session.hub import Room
from session.listener import Admission, Entered, Listener
from session.protocol import Code, Refused, Since
from session.recovery import Position
from session.store import Unavailable

C = TypeVar("C")
R = TypeVar("R")


def position(since: Since | None) -> Position | None:
    """Where a client says that it was."""
    return None if since is None else Position(since.epoch, since.offset)


def recovery(entered: Entered, since: Since | None) -> tuple[bool | UnsetType, int | UnsetType]:
    """What a join's answer says of recovery: nothing, where no position was given."""
    return (UNSET, UNSET) if since is None else (entered.recovered, entered.missed)


async def with_room(change: Awaitable[C], reading: Awaitable[R]) -> tuple[C, R]:
    """Make a change, and read the room that goes with it at the same time, both to their end: what the one
    has come to is not known when the other fails.

    Raises:
        Unavailable: the outcome is unknown where the change was made and the room cannot be read.
    """
    changed, read = await asyncio.gather(change, reading, return_exceptions=True)
    if isinstance(changed, BaseException):
        raise changed
    if isinstance(read, BaseException):
        raise Unavailable("unknown") if isinstance(read, Unavailable) else read
    return changed, read


def enter(
    listener: Listener, connection: Connection, name: str, admission: Admission, since: Since | None
) -> Entered:
    """Come in; who is in already and names no position stays where it is."""
    room = connection.rooms.get(name)
    if room is not None and since is None:
        return Entered(*room.position_of(connection), recovered=False, missed=0)
    return listener.enter(connection, admission)


def joined(connection: Connection, name: str) -> Room:
    """The room, in which the connection is.

    Raises:
        Refused: it is not.
    """
    room = connection.rooms.get(name)
    if room is None:
        raise Refused(Code.NOT_JOINED, f"{name} is not joined on this connection")
    return room


def check_room_limit(connection: Connection, name: str, most: int, leaves: Set[str] = frozenset()) -> None:
    """See that a connection may come into one more room; ``leaves`` are those it leaves for it.

    Raises:
        Refused: it is in too many.
    """
    # the user's own room does not count
    inside = connection.rooms.keys() - {f"user:{connection.user_id}"} - leaves
    if name not in inside and len(inside) >= most:
        raise Refused(Code.TOO_MANY_ROOMS, f"a connection has at most {most} rooms")
