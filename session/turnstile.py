"""Whose turn it is to sign in when many come at once: first who comes back, then who is new.

When a server dies, thousands come to another one within a second. Served all at once, all of them would be
late, and every answer of the store would find its caller gone. So few are served at a time, each soon done;
the others wait for their turn. Those who come back are in the middle of something and go first; so that
nobody waits for ever, now and then a turn is a newcomer's, and a wait that is too long is refused.
"""

import asyncio
import random
import time
from collections import deque
from typing import Generic, TypeVar

from session.metrics import Metrics
from session.protocol import Code, Refused
from session.store import Unavailable

T = TypeVar("T")

AT_ONCE = 64
"""Enough to keep the store's line full and this process busy; more would only be late together."""
NEWCOMERS_TURN = 32
"""While both kinds wait, one turn of so many is a newcomer's."""
PATIENCE_SECONDS = 5.0
"""The bundled client gives up after 10 s; before, it is told when to come again."""
MOST_WAITING = 20_000
AWAY_SECONDS = 1.0
"""Where nobody got an answer from the store, for so long nobody else is made to wait for one."""
RETRY_SECONDS = (1.0, 6.0)
"""Those who are sent away come again spread over this time."""


def retry_after_ms() -> int:
    """When somebody who is sent away may come again: not when all others do."""
    return int(random.uniform(*RETRY_SECONDS) * 1000)


class Lanes(Generic[T]):
    """Two queues, of those who come back and of newcomers."""

    def __init__(self) -> None:
        self._returning: deque[T] = deque()
        self._new: deque[T] = deque()
        self._taken = 0

    def __len__(self) -> int:
        return len(self._returning) + len(self._new)

    def put(self, item: T, *, returning: bool) -> None:
        """Stand behind the others of that kind."""
        (self._returning if returning else self._new).append(item)

    def take(self) -> T:
        """Whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        self._taken += 1
        first, second = self._returning, self._new
        if self._taken % NEWCOMERS_TURN == 0:
            first, second = second, first
        return (first or second).popleft()


class Turnstile:
    """Gives turns. All waiting is over after `PATIENCE_SECONDS`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._free = AT_ONCE
        self._lanes: Lanes[asyncio.Future[None]] = Lanes()
        self._answered_at = time.monotonic()
        self._away_until = 0.0

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._lanes)

    def turn(self, *, returning: bool) -> "Turn":
        """A turn, to be waited for by ``async with``, and had until the block ends.

        Raises, on entering:
            Refused: it took too long, too many wait, or the store is away.
        """
        return Turn(self, returning)

    def ended(self, began: float, error: BaseException | None) -> None:
        """A turn is over, by an error or without; the next one's begins."""
        if error is None:
            self._answered_at = time.monotonic()
            self._away_until = 0.0
        elif isinstance(error, Unavailable) and self._answered_at < began:
            self._refuse_all()
        self._leave()

    async def enter(self, returning: bool) -> None:
        """Wait for a turn; `ended` must follow.

        Raises:
            Refused: it took too long, too many wait, or the store is away.
        """
        if time.monotonic() < self._away_until:
            raise Unavailable("none")
        if self._free:
            self._free -= 1
            return
        if self.waiting >= MOST_WAITING:
            raise _too_many()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.put(future, returning=returning)
        self._metrics.waiting.inc()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await future
        except BaseException as end:
            if future.done() and not future.cancelled() and future.exception() is None:
                # the turn came in the same moment, and is another's now
                self._leave()
            if isinstance(end, TimeoutError):
                raise _too_many() from None
            raise
        finally:
            self._metrics.waiting.dec()

    def _leave(self) -> None:
        while self._lanes:
            future = self._lanes.take()
            if not future.done():
                future.set_result(None)
                return
        self._free += 1

    def _refuse_all(self) -> None:
        """What one has waited for in vain the others need not wait for."""
        self._away_until = time.monotonic() + AWAY_SECONDS
        while self._lanes:
            future = self._lanes.take()
            if not future.done():
                future.set_exception(Unavailable("none"))


class Turn:
    """One turn: an object, for a generator costs three times as much, and each sign-in has one."""

    __slots__ = ("_began", "_returning", "_turnstile")

    def __init__(self, turnstile: Turnstile, returning: bool) -> None:
        self._turnstile = turnstile
        self._returning = returning
        self._began = 0.0

    async def __aenter__(self) -> None:
        await self._turnstile.enter(self._returning)
        self._began = time.monotonic()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._turnstile.ended(self._began, error)


def _too_many() -> Refused:
    return Refused(Code.UNAVAILABLE, "too many come at once", {"outcome": "none"})
