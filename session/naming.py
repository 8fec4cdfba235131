"""A session names an event before its user takes a place or holds seats there, so that it is always found."""

from collections.abc import Awaitable, Callable

from session.connection import Connection
from session.entrance import Entrance, fence
from session.manager import SessionManager
from session.protocol import Code, Refused
from session.store import Unavailable

LeadsTo = Callable[[str], Awaitable[bool]]


class Naming:
    """Names events of one kind (`manager.LINE` or `manager.SEATS`) in sessions."""

    def __init__(self, manager: SessionManager, entrance: Entrance, kind: str) -> None:
        self._manager = manager
        self._entrance = entrance
        self._kind = kind

    async def name(self, connection: Connection, event_id: str, leads_to: LeadsTo) -> None:
        """Name an event; where too many are, those are forgotten that by ``leads_to`` lead to nothing.

        Raises:
            Refused: the user has something in each of them.
            Gone, Unavailable: as `Entrance.attached`.
        """
        user_id = connection.user_id

        async def name() -> list[str]:
            return await self._manager.name(user_id, self._kind, event_id, by=fence(connection))

        others = await self._entrance.attached(connection, name)
        for other in others:
            told = await self._manager.named(user_id, self._kind, other)
            if not await leads_to(other):
                await self._manager.unname(user_id, self._kind, other, told)
        if others and await self._entrance.attached(connection, name):
            raise Refused(Code.TOO_MANY_ROOMS, f"a user has these in at most {len(others)} events at a time")

    async def after(self, connection: Connection, change: Callable[[], Awaitable[None]]) -> None:
        """Change the session after what it is about has happened: if the store is away, that is not undone.

        Raises:
            Unavailable: the outcome is unknown.
            Gone: the connection was removed, and has been closed.
        """
        try:
            await self._entrance.attached(connection, change)
        except Unavailable:
            raise Unavailable("unknown") from None
