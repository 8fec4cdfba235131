"""Who is due when: one timer for all, and nobody is looked at before something may be due."""

import math
from collections.abc import Iterable

from session.connection import NEVER, Connection


class Wheel:
    """Connections by the tick at which they are looked at: at the latest the first after they are due."""

    def __init__(self, tick_seconds: float, now: float) -> None:
        self._tick = tick_seconds
        self._ticks: dict[int, dict[Connection, None]] = {}
        self._next = math.floor(now / tick_seconds)

    def put(self, connection: Connection) -> None:
        """Look at a connection when it is due, and at no other time."""
        tick = max(self._next, math.ceil(connection.due / self._tick))
        if tick == connection.tick:
            return
        self.drop(connection)
        self._ticks.setdefault(tick, {})[connection] = None
        connection.tick, connection.looked_at = tick, tick * self._tick

    def drop(self, connection: Connection) -> None:
        """Never look at it again."""
        if connection.tick is not None:
            at_tick = self._ticks[connection.tick]
            del at_tick[connection]
            if not at_tick:
                del self._ticks[connection.tick]
            connection.tick = None

    def take(self, now: float) -> Iterable[Connection]:
        """Those that may be due at ``now``, of ``time.monotonic()``. Whoever is not put back is forgotten."""
        taken: list[Connection] = []
        while self._next <= now / self._tick:
            taken += self._ticks.pop(self._next, ())
            self._next += 1
        for connection in taken:
            connection.tick, connection.looked_at = None, NEVER
        return taken
