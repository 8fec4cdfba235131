"""Whose turn it is, without a server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from session import turnstile as turnstile_module
from session.metrics import Metrics
from session.protocol import Code, Refused
from session.store import Unavailable
from session.turnstile import AT_ONCE, NEWCOMERS_TURN, Turnstile


class Hall:
    """A turnstile whose turns are all taken, and those who wait before it."""

    def __init__(self) -> None:
        self.turnstile = Turnstile(Metrics())
        self.order: list[str] = []
        self.holders: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def fill(self) -> None:
        for _ in range(AT_ONCE):
            self.come("holder", returning=True)
        await self.settle()
        assert AT_ONCE == len(self.holders)

    def come(self, name: str, *, returning: bool) -> "asyncio.Task[None]":
        """Somebody comes, and keeps the turn until its event is set."""

        async def visit() -> None:
            async with self.turnstile.turn(returning=returning):
                self.order.append(name)
                done = asyncio.Event()
                self.holders.append(done)
                await done.wait()

        self._tasks.append(asyncio.create_task(visit()))
        return self._tasks[-1]

    async def failing(self) -> "tuple[asyncio.Event, asyncio.Task[None]]":
        """Somebody has a turn who will get no answer from the store, when the event is set."""
        event = asyncio.Event()

        async def fail() -> None:
            async with self.turnstile.turn(returning=True):
                await event.wait()
                raise Unavailable("none")

        task = asyncio.create_task(fail())
        await self.settle()
        return event, task

    async def settle(self) -> None:
        """Let everyone go as far as they can."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def full_hall() -> AsyncIterator[Hall]:
    hall = Hall()
    await hall.fill()
    hall.order.clear()
    try:
        yield hall
    finally:
        await hall.close()


async def test_who_comes_back_goes_first() -> None:
    """Before newcomers that came earlier, each kind in its order; but one turn of so many is a newcomer's."""
    async with full_hall() as hall:
        for n in range(3):
            hall.come(f"new {n}", returning=False)
        await hall.settle()
        for n in range(NEWCOMERS_TURN):
            hall.come(f"old {n}", returning=True)
        await hall.settle()
        while hall.holders:
            hall.holders.pop(0).set()
            await hall.settle()

        olds = [f"old {n}" for n in range(NEWCOMERS_TURN)]
        assert [*olds[:-1], "new 0", olds[-1], "new 1", "new 2"] == hall.order


async def test_a_wait_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a code that says that it may be tried again; and no turn is lost by it."""
    monkeypatch.setattr(turnstile_module, "PATIENCE_SECONDS", 0.01)
    async with full_hall() as hall:
        refused = await asyncio.gather(
            *(hall.come("late", returning=n % 2 == 0) for n in range(10)), return_exceptions=True
        )
        for holder in hall.holders[:]:
            holder.set()
        hall.holders.clear()
        await hall.settle()
        await hall.fill()

        assert [Code.UNAVAILABLE] * 10 == [r.code for r in refused if isinstance(r, Refused)]
        assert ["holder"] * AT_ONCE == hall.order
        assert 0 == hall.turnstile.waiting


async def test_a_store_that_is_away_is_waited_for_once() -> None:
    """Who waits behind somebody who got no answer is refused too, and so is who comes now."""
    hall = Hall()
    failing, task = await hall.failing()
    waiting = [hall.come(f"{n}", returning=True) for n in range(AT_ONCE + 4)][AT_ONCE - 1 :]
    await hall.settle()
    failing.set()
    ends = await asyncio.gather(task, *waiting, return_exceptions=True)
    (now,) = await asyncio.gather(hall.come("now", returning=True), return_exceptions=True)

    assert [Unavailable] * 7 == [type(end) for end in (*ends, now)]
    await hall.close()


async def test_one_failure_among_answers_is_its_own() -> None:
    """As where a slot of a cluster is away: the others go on waiting for their turns."""
    hall = Hall()
    failing, task = await hall.failing()
    for _ in range(AT_ONCE):
        hall.come("one", returning=True)
    await hall.settle()
    hall.holders[0].set()
    await hall.settle()
    failing.set()
    await asyncio.gather(task, return_exceptions=True)
    hall.come("another", returning=True)
    await hall.settle()

    assert ["one"] * AT_ONCE + ["another"] == hall.order
    await hall.close()
