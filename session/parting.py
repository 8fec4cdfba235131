"""What a connection is told of a place, while the answer to its own leaving is on the way.

Another of the user's connections may take a place anew between the end of the old one and the answer that
tells of that end. Told of the place first and of the end then, a client would believe that it has none.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from session.connection import Connection
from session.protocol import Event, QueueLeft


class _Parting:
    """One leaving: ``word`` is the last one of a later place."""

    __slots__ = ("connection", "has_ended", "is_own", "is_untold", "word")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.has_ended = False
        """Whether what it may be told now is of a later place."""
        self.is_own = False
        """Whether it is known what its own leaving came to."""
        self.is_untold = False
        """Whether the answer alone can tell it of the end: if that says another thing, it must be told."""
        self.word: Event | None = None

    def end(self, *, is_untold: bool) -> None:
        """The place has ended; where one had before, it is a later one, of which nothing was told."""
        self.is_untold |= is_untold and not self.has_ended
        self.has_ended = True
        self.word = None


class Partings:
    """The connections of this server that are giving up a place right now; ``tell_end`` tells one of them of
    an end of which its answer does not tell: of its own leaving, or of another's."""

    def __init__(self, tell_end: Callable[[Connection, str, bool], None]) -> None:
        self._tell_end = tell_end
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
        except Exception:
            # what is refused is answered further out, in this turn of the loop
            asyncio.get_running_loop().call_soon(self._answered, key, parting, False)
            raise
        except BaseException:
            self._answered(key, parting, True)
            raise
        self._answered(key, parting, True)

    def _answered(self, key: tuple[str, str], parting: _Parting, knows: bool) -> None:
        self._of[key].remove(parting)
        if not self._of[key]:
            del self._of[key]
        if parting.is_untold and not knows:
            self._tell_end(parting.connection, key[1], parting.is_own)
        if parting.word is not None:
            parting.connection.send(parting.word)

    def left(self, connection: Connection, event_id: str, *, had: bool) -> None:
        """The store says what this leaving came to: there was a place, or none."""
        for parting in self._of.get((connection.user_id, event_id), ()):
            if parting.connection is connection:
                parting.is_own = True
                parting.is_untold |= had and not parting.has_ended
                parting.has_ended = True

    def has_ended(self, user_id: str, event_id: str, by: str = "") -> None:
        """All have heard that the place has ended but the socket ``by``, which has ended it: what they are
        told from now on is of a later one."""
        for parting in self._of.get((user_id, event_id), ()):
            is_own = parting.connection.socket_id == by
            parting.is_own |= is_own
            parting.end(is_untold=is_own)

    def end(self, user_id: str, event_id: str) -> list[str]:
        """A place has ended; returns the sockets of those that will hear of it by their own answer."""
        partings = self._of.get((user_id, event_id), ())
        for parting in partings:
            parting.end(is_untold=True)
        return [parting.connection.socket_id for parting in partings]

    def keep(self, user_id: str, event_id: str, event: Event) -> list[str]:
        """Keep an event for those who may not be told of it before their answer; returns their sockets."""
        waiting = [parting for parting in self._of.get((user_id, event_id), ()) if parting.has_ended]
        for parting in waiting:
            # where the later place has ended too, the answer says all: there is none
            parting.word = None if isinstance(event, QueueLeft) else event
        return [parting.connection.socket_id for parting in waiting]

    def remind(self, connection: Connection, event_id: str, event: Event) -> None:
        """A connection is told this after its answer, unless something else was kept for it."""
        for parting in self._of.get((connection.user_id, event_id), ()):
            if parting.connection is connection and parting.word is None:
                parting.word = event
