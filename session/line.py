"""One connection to the store, shared by all commands of the process, in order.

Commands of one loop turn leave in few writes, so whatever is asked for together costs one wait.
A command given up on is never taken back once it was sent: the store may still run it.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

log = logging.getLogger(__name__)

CONNECT_SECONDS = 1.0
BACKOFF_SECONDS = (0.02, 0.5)
"""First and longest wait between two tries to connect, before jitter."""
STOOD_SECONDS = 1.0
"""A connection that lasted so long was one; the next is tried at once."""
EARLY = 16
"""When so many wait they leave before the loop's turn is over, so that the store works while we go on."""
MAX_WAITING = 20_000
"""Commands that may wait for the line; beyond it they are refused at once."""
PATIENCE_SECONDS = 0.5
"""So long the answer of a command is waited for, sent or not."""
READ_SECONDS = 0.01
"""A command whose time is up is given up so much later: a process that stood still sees that the time is up
before it reads the answer, which has come meanwhile."""

Command = tuple[Any, ...]
ErrorReplies = type[Exception] | tuple[type[Exception], ...]
"""What a wire raises for an answer that is an error; anything else means that the connection is lost."""


class Wire(Protocol):
    """What the line needs of a connected redis-py connection."""

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]: ...
    def write_packed(self, commands: list[bytes]) -> None: ...
    async def send_packed_command(self, command: Any, check_health: bool = ...) -> None: ...
    async def read_response(self) -> Any: ...
    def read_buffered(self) -> Iterable[Any]: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...


async def keep_connected(
    open_wire: Callable[[], Awaitable[Wire]], serve: Callable[[Wire], Awaitable[None]]
) -> None:
    """Connect and serve, again and again, until cancelled; ``serve`` returns when its wire has ended."""
    pause = BACKOFF_SECONDS[0]
    told = ""
    while True:
        began = float("inf")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                wire = await open_wire()
        except Exception as error:
            if told != (why := str(error) or repr(error)):
                told = why
                log.warning("the store was not reached: %s", why)
        else:
            told = ""
            began = time.monotonic()
            await serve(wire)
        # one that is accepted and ends at once was no connection
        stood = time.monotonic() - began >= STOOD_SECONDS
        pause = BACKOFF_SECONDS[0] if stood else min(pause * 2, BACKOFF_SECONDS[1])
        await asyncio.sleep(pause * random.uniform(0.5, 1))


class LineLostError(Exception):
    """The connection ended before the answer came."""


class Call:
    """A command on its way: whether it was sent, when its time is up, and the future of its answer."""

    __slots__ = ("command", "ends", "future", "sent")

    def __init__(self, command: Command, future: "asyncio.Future[Any]", ends: float) -> None:
        self.command = command
        self.future = future
        self.ends = ends
        self.sent = False


class Line:
    """Keeps one connection open for as long as it runs; ``open_wire`` makes a connected one."""

    def __init__(self, open_wire: Callable[[], Awaitable[Wire]], error_reply: ErrorReplies) -> None:
        self._open_wire = open_wire
        self._error_reply = error_reply
        self._waiting: deque[Call] = deque()
        self._in_flight: deque[Call] = deque()
        self._wanted = asyncio.Event()
        self._free: Wire | None = None
        """The connection, while it takes more."""
        self._lost: asyncio.Event = asyncio.Event()
        self._heard = 0.0
        self._is_timed = False
        self.is_up = False
        self.on_up: Callable[[], None] = lambda: None
        """Told that a connection stands (again): another store may be at its other end."""

    def submit(self, *command: Any) -> Call:
        """Queue a command; its answer, or the error reply, comes in the call's future: `TimeoutError` where
        none came in time, `LineLostError` where none will come.

        Raises:
            LineLostError: too many commands wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            self._waiting = deque(call for call in self._waiting if not call.future.done())
        if len(self._waiting) >= MAX_WAITING:
            raise LineLostError("too many commands wait for the store")
        loop = asyncio.get_running_loop()
        call = Call(command, loop.create_future(), loop.time() + PATIENCE_SECONDS)
        self._waiting.append(call)
        if not self._is_timed:
            self._look_at(call.ends)
        self._wanted.set()
        if len(self._waiting) >= EARLY and self._free is not None:
            self._write_early(self._free)
        return call

    def _write_early(self, wire: Wire) -> None:
        packed = self._take(wire)
        try:
            wire.write_packed(packed)
        except (OSError, RuntimeError):
            # it has ended, and who reads from it hears of that: what it was to carry fails as all in flight
            self._free = None
            self.drop()

    def _look_at(self, when: float) -> None:
        """Give up then what has waited too long. One timer for all: each has the same patience, so the oldest
        is the first whose time is up."""
        self._is_timed = True
        asyncio.get_running_loop().call_at(when, self._look)

    def _look(self) -> None:
        self._is_timed = False
        while self._waiting and self._waiting[0].future.done():
            self._waiting.popleft()
        loop = asyncio.get_running_loop()
        now, late = loop.time(), []
        for call in itertools.chain(self._in_flight, self._waiting):
            if call.future.done():
                continue
            if call.ends > now:
                self._look_at(max(call.ends, now + READ_SECONDS))
                break
            late.append(call)
        if late:
            loop.call_later(READ_SECONDS, _give_up, late)

    def drop_if_silent(self, seconds: float) -> None:
        """Give the connection up if commands are unanswered and nothing was heard for ``seconds``."""
        if self._in_flight and asyncio.get_running_loop().time() - self._heard >= seconds:
            self.drop()

    def drop(self) -> None:
        """Give the connection up: calls in flight fail, the next ones go over a new one."""
        self._lost.set()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        await keep_connected(self._open_wire, self._serve)

    async def _serve(self, wire: Wire) -> None:
        self._lost.clear()
        self._heard = asyncio.get_running_loop().time()
        self.is_up = True
        self.on_up()
        tasks = [
            asyncio.create_task(part) for part in (self._write(wire), self._read(wire), self._lost.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.is_up = False
            self._free = None
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Exception):
                await wire.disconnect(nowait=True)
            self._fail_in_flight()
        log.info(
            "store connection ended: %r", next((r for r in results if isinstance(r, Exception)), "dropped")
        )

    def _fail_in_flight(self) -> None:
        while self._in_flight:
            future = self._in_flight.popleft().future
            if not future.done():
                future.set_exception(LineLostError("the connection to the store was lost"))

    async def _write(self, wire: Wire) -> None:
        while True:
            self._free = wire
            await self._wanted.wait()
            self._wanted.clear()
            packed = self._take(wire)
            self._free = None
            # what has left early is waited for too, until the kernel has taken most of it
            await wire.send_packed_command(packed, check_health=False)

    def _take(self, wire: Wire) -> list[bytes]:
        """What waits, as it is sent; it counts as sent from here on."""
        batch = [call for call in self._waiting if not call.future.done()]
        self._waiting.clear()
        packed = wire.pack_commands([call.command for call in batch])
        if batch and not self._in_flight:
            self._heard = asyncio.get_running_loop().time()
        for call in batch:
            call.sent = True
        self._in_flight.extend(batch)
        return packed

    async def _read(self, wire: Wire) -> None:
        while True:
            try:
                self._answer(await wire.read_response())
            except self._error_reply as error:
                self._answer(error)
            # what came with it needs no wait
            for answer in wire.read_buffered():
                if isinstance(answer, Exception) and not isinstance(answer, self._error_reply):
                    raise answer
                self._answer(answer)
            self._heard = asyncio.get_running_loop().time()

    def _answer(self, answer: Any) -> None:
        future = self._in_flight.popleft().future
        if future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def take_note(future: "asyncio.Future[Any]") -> None:
    """For who may not come back for an answer: that it is an error is then no news to anybody."""
    if not future.cancelled():
        future.exception()


def _give_up(late: Iterable[Call]) -> None:
    """What was not sent yet never will be."""
    for call in late:
        if not call.future.done():
            call.future.set_exception(TimeoutError())
