"""The Redis client: one shared line, and the scripts, each attempted within a time budget.

Only this module imports redis. Every script is given a deadline by the store's clock; one that comes
later changes nothing. An error reply or a lost connection is tried again, with the same request id,
for two seconds in all; then the caller gets `Unavailable`, which says whether it may have happened.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hiredis import pack_command
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from session.config import ConfigError
from session.keys import LEASES
from session.line import Call, Line, LineLostError, Wire
from session.metrics import Metrics
from session.protocol import Code, Refused

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 0.5
BUDGET_SECONDS = 2.0
REPLICAS_MS = 200
"""How long a booking waits for the replicas."""
SLOW_REPLICAS_SECONDS = 1.0
"""After one has waited in vain, the next ones do not wait for so long."""
DEADLINE_MS = 3000
"""A script given up on may still run this long after it was first asked for, and no longer."""
PASSING = (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
"""Error replies that are the store's state and not our mistake; nothing was changed."""
PASSING_WORDS = ("NOREPLICAS", "BUSY", "OOM", "READONLY", "MISCONF", "NOPERM", "NOAUTH", "UNKILLABLE")
"""The same by their words: redis-py has no class for them, or a script of Redis 6.2 wraps them."""

NO_REPLICATION_ID = "it does not show its replication id (INFO): a failover that loses writes may go unseen"

Arg = str | bytes | int


class Unavailable(Refused):
    """The store did not answer in time.

    ``outcome`` is ``none`` where nothing was changed, else ``unknown``: it may have happened, or may
    within 3 s.
    """

    def __init__(self, outcome: str) -> None:
        super().__init__(Code.UNAVAILABLE, "the store did not answer in time", {"outcome": outcome})
        self.outcome = outcome


def check_url(url: str) -> None:
    """See whether a store could be reached by that URL.

    Raises:
        ConfigError: it could not, whoever listens there.
    """
    try:
        _pool(url).make_connection()  # type: ignore[no-untyped-call]  # redis-py
        if not 0 < (urlsplit(url).port or 6379) < 65536:
            raise ValueError("the port is out of range")
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--redis-url: {error}") from None


def _pool(url: str) -> ConnectionPool:
    options = {} if url.startswith("unix://") else {"socket_connect_timeout": 1.0, "socket_keepalive": True}
    return ConnectionPool.from_url(url, protocol=2, driver_info=None, socket_timeout=None, **options)


def _packed(commands: Iterable[Iterable[Any]]) -> list[bytes]:
    """Commands as they are sent, in a tenth of the time that redis-py's own packing takes."""
    return [pack_command(tuple(command)) for command in commands]


class Clock:
    """The store's time as this server knows it, and how long this server may act on what it knows."""

    def __init__(self) -> None:
        self._offset_ms: float | None = None
        self.lease_end_ms = 0
        self.lease = ""
        """Whose lease it is."""
        self.term = 0
        """Counts the times without a gap in which this server might act. What was begun in one may not go on
        in the next: meanwhile others may have acted for those who are connected here."""

    def set(self, store_ms: int, lease_end_ms: int, lease: str = "") -> None:
        """Take over what the store said a moment ago."""
        if lease != self.lease or self.now_ms() >= self.lease_end_ms:
            self.term += 1
        self.lease = lease
        self._offset_ms = store_ms - time.monotonic() * 1000
        self.lease_end_ms = lease_end_ms

    def now_ms(self) -> int:
        """Unix milliseconds by the store's clock; by our own before the store was ever reached."""
        if self._offset_ms is None:
            return int(time.time() * 1000)
        return int(time.monotonic() * 1000 + self._offset_ms)

    def deadline_ms(self) -> int:
        """Until when a script sent now may still change something."""
        return min(self.lease_end_ms, self.now_ms() + DEADLINE_MS)


class _Script:
    """A script with the prelude in front of it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.sha = sha1(text.encode()).hexdigest()  # noqa: S324 - Redis names scripts so


def _load_scripts(publish: str) -> dict[str, _Script]:
    folder = Path(__file__).parent / "lua"
    prelude = f"local PUBLISH = '{publish}'\n" + (folder / "prelude.lua").read_text()
    shared = {p.stem: p.read_text() for p in (folder / "shared").glob("*.lua")}
    texts = {p.stem: p.read_text() for p in folder.glob("*.lua") if p.stem != "prelude"}
    return {
        name: _Script(name, prelude + "".join(shared[part] for part in _uses(text)) + text)
        for name, text in texts.items()
    }


def _uses(text: str) -> list[str]:
    """What of ``lua/shared`` a script wants joined in front of it, as its first line says."""
    uses = re.match(r"-- Uses ([a-z, ]+)\.", text)
    return uses[1].split(", ") if uses else []


class Store:
    """The store of one process. `run` it as a task; then call scripts and plain commands."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        self._pool = _pool(url)
        self._line = self._new_line()
        self._apart = self._new_line()
        """A line for commands that wait for the replicas: everything else would wait behind them."""
        self._scripts = _load_scripts("PUBLISH")
        self._metrics = metrics
        self._replicating = asyncio.Lock()
        self._replicas_slow_until = 0.0
        self.clock = Clock()
        self.renew: Callable[[], Awaitable[None]] | None = None
        """Renews the lease; asked when a script came too late."""
        self.connected = asyncio.Event()
        """Set with each new connection: another store may be at its other end."""
        self._line.on_up = self.connected.set

    def _new_line(self) -> Line:
        return Line(self.open_wire, (ResponseError, BusyLoadingError))

    @property
    def is_up(self) -> bool:
        """Whether a connection to the store stands."""
        return self._line.is_up

    async def run(self) -> None:
        """Keep the lines open until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._line.run())
            group.create_task(self._apart.run())

    async def open_wire(self) -> Wire:
        """A connection of its own, for whoever subscribes."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
        connection.pack_commands = _packed  # type: ignore[method-assign]
        return connection

    def drop_line(self) -> None:
        """Connect anew: what the store at the other end says is not to be believed."""
        self._line.drop()
        self._apart.drop()

    async def warnings(self) -> list[str]:
        """What about the store's settings endangers the promises; empty where all is well.

        Raises:
            Unavailable: the store did not answer in time.
        """
        found = []
        try:
            memory = (await self.command("INFO", "memory")).decode()
            if "maxmemory_policy:noeviction" not in memory:
                found.append(
                    "its maxmemory-policy is not noeviction: it may evict sessions, places and histories"
                )
            if "master_replid:" not in (await self.command("INFO", "replication")).decode():
                found.append(NO_REPLICATION_ID)
        except ResponseError:
            found.append(NO_REPLICATION_ID)
        return found

    async def script(
        self, name: str, keys: Sequence[str], args: Sequence[Arg] = (), *, term: int | None = None
    ) -> list[Any]:
        """Run a script of ``session/lua``.

        One that came too late is run once more under a renewed lease. One that belongs to a ``term`` of the
        clock runs in no other: it is given up, for whoever speaks may have been replaced meanwhile.

        Raises:
            Unavailable: the store did not answer, or refused for a reason of its own.
            RedisError: the script itself is wrong.
        """
        return (await self._run(name, keys, args, term, None))[0]  # type: ignore[no-any-return]

    async def script_replicated(
        self, name: str, keys: Sequence[str], args: Sequence[Arg]
    ) -> tuple[list[Any], bool | None]:
        """Run a script, then wait a moment until all connected replicas have what it wrote.

        Returns its answer, and whether they have; None where there are no replicas.

        Raises:
            Unavailable: as `script`.
        """
        replicas = int((await self.script("replicas", [LEASES]))[0])
        if not replicas:
            return await self.script(name, keys, args), None
        # one at a time: WAIT keeps its connection busy, and who comes behind would be given up
        async with self._replicating:
            if time.monotonic() >= self._replicas_slow_until:
                wait = ("WAIT", replicas, REPLICAS_MS)
                answer, acknowledged = await self._run(name, keys, args, None, wait)
                if acknowledged < replicas:
                    self._replicas_slow_until = time.monotonic() + SLOW_REPLICAS_SECONDS
                return answer, acknowledged >= replicas
        return await self.script(name, keys, args), False

    async def _run(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[Arg],
        term: int | None,
        then: tuple[Arg, ...] | None,
    ) -> tuple[Any, Any]:
        started = time.monotonic()
        outcome = "none"
        for again in (True, False):
            if term not in {None, self.clock.term}:
                break
            tail: tuple[Arg, ...] = (*keys, self.clock.deadline_ms())
            (answer, after), outcome = await self._within_budget(
                lambda: self._script_once(self._scripts[name], len(keys), tail, args, then),  # noqa: B023 - awaited here
                outcome,
            )
            if answer != [b"late"]:
                self._metrics.store_seconds.labels(name).observe(time.monotonic() - started)
                return answer, after
            if again:
                await self._renew_lease(outcome)
        self._metrics.store_errors.labels(outcome).inc()
        raise Unavailable(outcome)

    async def _renew_lease(self, outcome: str) -> None:
        """Renew; give up where the caller must not go on, for it would speak under another's name."""
        lease = self.clock.lease
        try:
            if self.renew is not None:
                await self.renew()
        except Unavailable:
            raise Unavailable(outcome) from None
        if self.clock.lease != lease:
            raise Unavailable(outcome)

    async def command(self, *command: Arg) -> Any:
        """Run a plain command that only reads, or that may well run twice.

        Raises:
            Unavailable: the store did not answer in time.
        """
        (answer, _), _ = await self._within_budget(lambda: self._attempt(command, None), "none")
        return answer

    async def _script_once(
        self,
        script: _Script,
        keys: int,
        head: Sequence[Arg],
        args: Sequence[Arg],
        then: tuple[Arg, ...] | None,
    ) -> Any:
        call = (keys, *head, secrets.token_hex(3), *args)
        try:
            return await self._attempt(("EVALSHA", script.sha, *call), then)
        except NoScriptError:
            return await self._attempt(("EVAL", script.text, *call), then)

    async def _attempt(self, command: tuple[Arg, ...], then: tuple[Arg, ...] | None) -> tuple[Any, Any]:
        """The answers of a command, and of one that must follow it on the same connection."""
        line = self._apart if then else self._line
        sent = False
        try:
            call: Call = line.submit(*command)
            after = line.submit(*then) if then else None
            sent = True
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if after is None:
                    return await call.future, None
                answers = await asyncio.gather(call.future, after.future, return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            return answers[0], answers[1]
        except TimeoutError:
            line.drop_if_silent(ATTEMPT_SECONDS * 0.9)
            raise _LostError(call.sent) from None
        except LineLostError:
            raise _LostError(sent and call.sent) from None
        except ResponseError as error:
            # a demoted primary keeps the connection; only a new one finds the new primary
            if "READONLY" in str(error) or isinstance(error, ReadOnlyError):
                line.drop()
            raise

    async def _within_budget(self, attempt: Callable[[], Awaitable[Any]], outcome: str) -> tuple[Any, str]:
        """The answer, and whether an attempt before it may have changed something (``unknown``)."""
        end = time.monotonic() + BUDGET_SECONDS
        pause = 0.02
        while True:
            try:
                return await attempt(), outcome
            except _LostError as error:
                outcome = "unknown" if error.sent else outcome
            except RedisError as error:
                if not isinstance(error, PASSING) and not any(word in str(error) for word in PASSING_WORDS):
                    raise
                log.debug("the store refused: %s", error)
            if time.monotonic() + pause >= end:
                self._metrics.store_errors.labels(outcome).inc()
                raise Unavailable(outcome)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.2)


class _LostError(Exception):
    def __init__(self, sent: bool) -> None:
        super().__init__(sent)
        self.sent = sent
