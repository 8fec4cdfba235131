"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 0.01


def wait_until(condition: Callable[[], T], what: str, timeout: float = 10.0) -> T:
    """Ask again and again, blocking, until the condition holds; its (true) value."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {timeout:g} s in vain until {what}"
        time.sleep(PAUSE_SECONDS)
    return value


async def eventually(condition: Callable[[], T | Awaitable[T]], what: str, timeout: float = 10.0) -> T:
    """The same on the event loop; the condition may be a coroutine function."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout:g} s in vain until {what}"
        await asyncio.sleep(PAUSE_SECONDS)
