"""How the scripts of a sale are called: their keys, the arguments that all of them take, what they refuse.

``lua/shared/sale.lua`` is the other half.
"""

from collections.abc import Sequence
from typing import Any, Self

from msgspec import Struct

from session import keys
from session.config import Config
from session.connection import Connection
from session.protocol import Code, Refused
from session.store import Arg, Store


class Who(Struct, frozen=True):
    """On whose behalf: a user, by a connection (or the back end), which may replace another.

    A connection's commands belong to the ``term`` of the clock in which it was last known to be attached.
    """

    user_id: str
    socket_id: str = ""
    replaces: str = ""
    term: int | None = None

    @classmethod
    def of(cls, connection: Connection, replaces: str = "") -> Self:
        """A user, by a connection."""
        return cls(connection.user_id, connection.socket_id, replaces, connection.term)


class Replaced(Exception):  # noqa: N818 - an outcome
    """The connection was replaced by another one, which has been here."""


NOBODY = Who("")


class SaleScripts:
    """Runs the scripts of a sale."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._defaults: list[Arg] = [
            _ms(config.hold_seconds),
            _ms(config.max_hold_seconds),
            config.max_seats,
            _ms(config.queue_grace),
            _ms(config.entry_grace),
        ]
        self._history: list[Arg] = [config.history_size, _ms(config.history_ttl)]

    def _head(self, event_id: str, who: Who = NOBODY, catalog: bytes = b"") -> list[Arg]:
        """The arguments that all of these scripts take."""
        channel = keys.room(f"seats:{event_id}").channel
        return [
            channel, event_id, *self._history, who.user_id, who.socket_id, who.replaces, catalog,
            *self._defaults,
        ]  # fmt: skip

    async def run(
        self,
        name: str,
        event_id: str,
        args: Sequence[Arg] = (),
        *,
        who: Who = NOBODY,
        catalog: bytes = b"",
        own_keys: Sequence[str] = (),
    ) -> list[Any]:
        """Run a script.

        Raises:
            Refused: there is no such event.
            Replaced: the connection was replaced.
            Unavailable: the store did not answer in time.
        """
        answer = await self._store.script(
            name,
            [*keys.sale(event_id), *own_keys],
            [*self._head(event_id, who, catalog), *args],
            term=who.term,
        )
        return _checked(answer)

    async def run_replicated(
        self, name: str, event_id: str, args: Sequence[Arg], *, who: Who, catalog: bytes
    ) -> list[Any]:
        """The same, waiting a moment for the replicas: whether all have it is the answer's last element, None
        where there are none.

        Raises:
            Refused, Unavailable: as `run`.
        """
        call = [*self._head(event_id, who, catalog), *args]
        answer, replicated = await self._store.script_replicated(name, [*keys.sale(event_id)], call)
        return [*_checked(answer), replicated]


def _checked(answer: list[Any]) -> list[Any]:
    """An answer that is none of those which all scripts of a sale may give.

    Raises:
        Refused, Replaced: it is.
    """
    if answer[0] == b"absent":
        raise Refused(Code.NOT_FOUND, "there is no such event")
    if answer[0] == b"gone":
        raise Replaced
    return answer


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
