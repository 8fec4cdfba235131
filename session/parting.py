"""What a connection is told of a later place, while the answer to its own leaving is on the way.

Another of the user's connections may take a place anew between the end of the old one and the answer that
tells of that end. Told of the place first and of the end then, a client would believe that it has none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from session.connection import Connection
from session.protocol import Event, QueueLeft


class _Parting:
    """One leaving: ``word`` is the last one of a later place."""

    __slots__ = ("connection", "has_ended", "word")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.has_ended = False
        self.word: Event | None = None


class Partings:
    """The connections of this server that are giving up a place right now."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], list[_Parting]] = {}

    @contextmanager
    def until_answered(self, connection: Connection, event_id: str) -> Iterator[None]:
        """A connection gives its user's place up, and is answered, in this context; afterwards it is told of
        the place that its user has by then."""
        key = (connection.user_id, event_id)
        parting = _Parting(connection)
        self._of.setdefault(key, []).append(parting)
        try:
            yield
        finally:
            self._of[key].remove(parting)
            if not self._of[key]:
                del self._of[key]
            if parting.word is not None:
                connection.send(parting.word)

    def has_ended(self, user_id: str, event_id: str, by: str = "") -> None:
        """A place is known to have ended, ``by`` this socket, or by any of these: what they are told from now
        on is of a later one."""
        for parting in self._of.get((user_id, event_id), ()):
            if by in {"", parting.connection.socket_id}:
                parting.has_ended = True

    def sockets(self, user_id: str, event_id: str) -> list[str]:
        """Those of a user's connections that will hear of an end by their own answer."""
        return [parting.connection.socket_id for parting in self._of.get((user_id, event_id), ())]

    def keep(self, user_id: str, event_id: str, event: Event) -> list[str]:
        """Keep an event for those who may not be told of it before their answer; returns their sockets."""
        waiting = [parting for parting in self._of.get((user_id, event_id), ()) if parting.has_ended]
        for parting in waiting:
            # where the later place has ended too, the answer says all: there is none
            parting.word = None if isinstance(event, QueueLeft) else event
        return [parting.connection.socket_id for parting in waiting]
