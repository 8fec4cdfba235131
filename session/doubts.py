"""What must be read again in the store, as what is known here of a user may be wrong."""

import asyncio
from collections.abc import Callable

from session.connection import Connection
from session.hub import Hub
from session.store import DEADLINE_MS

DONE_SECONDS = DEADLINE_MS / 1000
"""What the store was asked, and has not answered, it has done by then, or never does."""
LATE_SECONDS = DONE_SECONDS + 1
"""What is being done elsewhere is done by then."""

Key = tuple[str, str]
"""An event, and a user."""


class Doubts:
    """Users who are connected here, and of which event they are in doubt."""

    def __init__(self, hub: Hub, on_add: Callable[[], None]) -> None:
        """``on_add`` is called whenever there is something to read."""
        self._hub = hub
        self._on_add = on_add
        self._of: dict[Key, bool] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, event_id: str, user_id: str, *, put_back: bool = False) -> None:
        """Have it read again; ``put_back`` what is known if the store has lost it."""
        if user_id in self._hub.users:
            key = (event_id, user_id)
            self._of[key] = put_back or self._of.get(key, False)
            self._on_add()

    def add_twice(self, event_id: str, user_id: str) -> None:
        """Have it read now, and when that is done which the store may still do: a user is about to take
        something through another server, which may die before it says so, or has had no answer here."""
        if user_id in self._hub.users:
            self.add(event_id, user_id)
            asyncio.get_running_loop().call_later(LATE_SECONDS, self.add, event_id, user_id)

    def unanswered(self, connection: Connection, event_id: str, owed: str) -> None:
        """A connection was told that nobody knows what has come of its command: when that is known it is
        told, as it is ``owed``, also where that is no news here, as another of its user's asked too."""
        connection.owe(owed, DONE_SECONDS)
        self.add_twice(event_id, connection.user_id)

    def take(self) -> dict[Key, bool]:
        """All of them, to be read now: whether what is known is to be put back."""
        taken, self._of = self._of, {}
        return {key: put_back for key, put_back in taken.items() if key[1] in self._hub.users}

    def give_back(self, taken: dict[Key, bool]) -> None:
        """They could not be read."""
        for (event_id, user_id), put_back in taken.items():
            self.add(event_id, user_id, put_back=put_back)
