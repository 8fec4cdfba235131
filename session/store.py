"""The Redis client: one shared line to each node, and the scripts, each attempted within a time budget.

Every script is given a deadline by the store's clock; one that comes later changes nothing. An error reply or
a lost connection is tried again, with the same request id, for two seconds in all; then the caller gets
`Unavailable`, which says whether it may have happened.
"""

import asyncio
import functools
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.exceptions import (
    AskError,
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

from session.cluster import Cluster
from session.endpoint import Endpoint, Kind
from session.line import Call, LineLostError
from session.metrics import Metrics
from session.nodes import Node, Nodes, OneNode
from session.protocol import Code, Refused
from session.sentinel import Sentinels

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 0.5
READ_SECONDS = 0.01
"""An attempt whose time is up is given up so much later: a process that stood still sees that the time is up
before it reads the answer, which has come meanwhile."""
BUDGET_SECONDS = 2.0
REPLICAS_MS = 200
"""How long a booking waits for the replicas."""
SLOW_REPLICAS_SECONDS = 1.0
"""After one has waited in vain, the next ones do not wait for so long."""
DEADLINE_MS = 3000
"""A script given up on may still run this long after it was first asked for, and no longer."""
PASSING = (
    AskError,
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

PUBLISH = {False: "PUBLISH", True: "SPUBLISH"}
"""What publishes, by whether channels belong to slots."""

Arg = str | bytes | int


class Unavailable(Refused):
    """The store did not answer in time.

    ``outcome`` is ``none`` where nothing was changed, else ``unknown``: it may have happened, or may
    within 3 s.
    """

    def __init__(self, outcome: str) -> None:
        super().__init__(Code.UNAVAILABLE, "the store did not answer in time", {"outcome": outcome})
        self.outcome = outcome


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


def _nodes(endpoint: Endpoint, on_up: Callable[[], None]) -> Nodes:
    if endpoint.kind is Kind.CLUSTER:
        return Cluster(endpoint, on_up)
    if endpoint.kind is Kind.SENTINEL:
        sentinels = Sentinels(endpoint)
        return OneNode(sentinels.open_wire, on_up, sentinels.run)
    return OneNode(endpoint.open, on_up)


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
        self.connected = asyncio.Event()
        """Set with each new connection: another store may be at its other end."""
        self.nodes = _nodes(Endpoint(url), self.connected.set)
        self._scripts = {sharded: _load_scripts(PUBLISH[sharded]) for sharded in PUBLISH}
        self._metrics = metrics
        # to look a label up costs more than to observe
        self._seconds_of = functools.cache(metrics.store_seconds.labels)
        # for words that tell epochs apart, and keep no secret
        self._random = random.Random()
        self.clock = Clock()
        self.renew: Callable[[], Awaitable[None]] | None = None
        """Renews the lease; asked when a script came too late."""

    @property
    def is_up(self) -> bool:
        """Whether connections to all nodes of the store stand."""
        return self.nodes.is_up

    async def run(self) -> None:
        """Keep the lines open until cancelled."""
        await self.nodes.run()

    def drop_line(self, key: str) -> None:
        """Connect anew to whoever has a key: what it says is not to be believed."""
        node = self.nodes.of(key)
        if node is not None:
            node.drop()
        self.nodes.doubt()

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
        replicas = int((await self.script("replicas", [keys[0]]))[0])
        node = self.nodes.of(keys[0])
        if not replicas or node is None:
            return await self.script(name, keys, args), None
        # one at a time: WAIT keeps its connection busy, and who comes behind would be given up
        async with node.replicating:
            if time.monotonic() >= node.replicas_slow_until:
                wait = ("WAIT", replicas, REPLICAS_MS)
                answer, acknowledged = await self._run(name, keys, args, None, wait)
                if acknowledged < replicas:
                    node.replicas_slow_until = time.monotonic() + SLOW_REPLICAS_SECONDS
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
            head: tuple[Arg, ...] = (len(keys), *keys, self.clock.deadline_ms())
            (answer, after), outcome = await self._within_budget(
                keys[0],
                lambda with_text: self._call(name, with_text, head, args),  # noqa: B023 - awaited here
                then,
                outcome,
            )
            if answer != [b"late"]:
                self._seconds_of(name).observe(time.monotonic() - started)
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
        key = command[1] if len(command) > 1 else ""
        (answer, _), _ = await self._within_budget(key, lambda with_text: command, None, "none")
        return answer

    def _nonce(self) -> str:
        return f"{self._random.getrandbits(24):06x}"

    def _call(
        self, name: str, with_text: bool, head: tuple[Arg, ...], args: Sequence[Arg]
    ) -> tuple[Arg, ...]:
        """The command that runs a script, with a word of its own each time."""
        script = self._scripts[self.nodes.is_sharded][name]
        verb, what = ("EVAL", script.text) if with_text else ("EVALSHA", script.sha)
        return (verb, what, *head, self._nonce(), *args)

    async def _attempt(
        self, key: Arg, command: tuple[Arg, ...], then: tuple[Arg, ...] | None, asked: Node | None = None
    ) -> tuple[Any, Any]:
        """The answers of a command, and of one that must follow it on the same connection.

        ``asked`` is whom the one that has the key has named for this time, while its slot is on the move.
        """
        node = asked or self.nodes.of(key)
        if node is None:
            raise _LostError(sent=False)
        line = node.apart if then else node.line
        sent = False
        try:
            if asked is not None:
                # what befalls it befalls the command behind it, which tells
                line.submit("ASKING").future.add_done_callback(lambda future: future.exception())
            call: Call = line.submit(*command)
            after = line.submit(*then) if then else None
            sent = True
            # for each command of each user: `asyncio.timeout` costs five times as much
            timer = asyncio.get_running_loop().call_later(ATTEMPT_SECONDS, _expire, call, after)
            try:
                if after is None:
                    return await call.future, None
                answers = await asyncio.gather(call.future, after.future, return_exceptions=True)
            finally:
                timer.cancel()
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            return answers[0], answers[1]
        except TimeoutError:
            line.drop_if_silent(ATTEMPT_SECONDS * 0.9)
            self.nodes.doubt()
            raise _LostError(sent=call.sent) from None
        except LineLostError:
            self.nodes.doubt()
            raise _LostError(sent=sent and call.sent) from None
        except ResponseError as error:
            # a demoted primary keeps the connection; only a new one finds the new primary
            if "READONLY" in str(error) or isinstance(error, ReadOnlyError):
                line.drop()
            named = self.nodes.redirected(error)
            if named is None or asked is not None:
                raise
        return await self._attempt(key, command, then, named)

    async def _within_budget(
        self,
        key: Arg,
        command: Callable[[bool], tuple[Arg, ...]],
        then: tuple[Arg, ...] | None,
        outcome: str,
    ) -> tuple[Any, str]:
        """The answer, and whether an attempt before it may have changed something (``unknown``). ``command``
        makes one for each attempt, with the text of its script where the store does not have it."""
        end = time.monotonic() + BUDGET_SECONDS
        pause = 0.02
        while True:
            try:
                try:
                    return await self._attempt(key, command(False), then), outcome
                except NoScriptError:
                    return await self._attempt(key, command(True), then), outcome
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


def _expire(*calls: Call | None) -> None:
    """The time of commands is up."""
    asyncio.get_running_loop().call_later(READ_SECONDS, _give_up, *calls)


def _give_up(*calls: Call | None) -> None:
    """Give up commands: what was not sent yet never will be."""
    for call in calls:
        if call is not None and not call.future.done():
            call.future.set_exception(TimeoutError())


class _LostError(Exception):
    def __init__(self, *, sent: bool) -> None:
        super().__init__(sent)
        self.sent = sent
