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
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, NamedTuple

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
from session.line import PATIENCE_SECONDS, Call, Line, LineLostError, take_note
from session.metrics import Metrics
from session.nodes import Node, Nodes, OneNode
from session.protocol import Code, Refused
from session.sentinel import Sentinels

log = logging.getLogger(__name__)

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


class Then:
    """A command that must follow a script on the same connection, and its answer."""

    __slots__ = ("answer", "command")

    def __init__(self, command: tuple[Arg, ...]) -> None:
        self.command = command
        self.answer: Any = None


class _Attempt(NamedTuple):
    line: Line
    call: Call
    after: Call | None


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

    def script(
        self, name: str, keys: Sequence[str], args: Sequence[Arg] = (), *, term: int | None = None
    ) -> Coroutine[Any, Any, list[Any]]:
        """Run a script of ``session/lua``.

        One that came too late is run once more under a renewed lease. One that belongs to a ``term`` of the
        clock runs in no other: it is given up, for whoever speaks may have been replaced meanwhile.

        Raises:
            Unavailable: the store did not answer, or refused for a reason of its own.
            RedisError: the script itself is wrong.
        """
        return self._run(name, keys, args, term)

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
                then = Then(("WAIT", replicas, REPLICAS_MS))
                answer = await self._run(name, keys, args, None, then)
                if then.answer < replicas:
                    node.replicas_slow_until = time.monotonic() + SLOW_REPLICAS_SECONDS
                return answer, then.answer >= replicas
        return await self.script(name, keys, args), False

    async def _run(
        self, name: str, keys: Sequence[str], args: Sequence[Arg], term: int | None, then: Then | None = None
    ) -> Any:
        started = time.monotonic()
        outcome = "none"
        for again in (True, False):
            if term not in {None, self.clock.term}:
                break
            head: tuple[Arg, ...] = (len(keys), *keys, self.clock.deadline_ms())
            answer, outcome = await self._within_budget(
                keys[0],
                lambda with_text: self._call(name, with_text, head, args),  # noqa: B023 - awaited here
                outcome,
                then,
            )
            if answer != [b"late"]:
                self._seconds_of(name).observe(time.monotonic() - started)
                return answer
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
        answer, _ = await self._within_budget(key, lambda with_text: command, "none")
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

    async def _within_budget(
        self,
        key: Arg,
        command: Callable[[bool], tuple[Arg, ...]],
        outcome: str,
        then: Then | None = None,
    ) -> tuple[Any, str]:
        """The answer, and whether an attempt before it may have changed something (``unknown``). ``command``
        makes one for each attempt, with the text of its script where the store does not have it.

        An attempt is awaited here and not in a function of its own: each more would cost every command of
        every user.
        """
        end = time.monotonic() + BUDGET_SECONDS
        pause, with_text = 0.02, False
        named: Node | None = None
        while True:
            attempt = None
            try:
                attempt = self._send(key, command(with_text), then, named)
                answer = await attempt.call.future
                if then is not None and attempt.after is not None:
                    then.answer = await attempt.after.future
                return answer, outcome  # noqa: TRY300 - six more lines in between would hide what it returns
            except (TimeoutError, LineLostError) as error:
                outcome = self._lost(attempt, error) or outcome
                named = None
            except RedisError as error:
                if attempt is not None and attempt.after is not None:
                    # the next attempt would stand behind it, and its time run meanwhile
                    await asyncio.wait((attempt.after.future,))
                if isinstance(error, NoScriptError) and not with_text:
                    with_text = True
                    continue
                # whom it names is asked at once, and once
                found = self._redirected(attempt, error)
                named = found if named is None else None
                if named is not None:
                    continue
                if not isinstance(error, PASSING) and not any(word in str(error) for word in PASSING_WORDS):
                    raise
                log.debug("the store refused: %s", error)
            if time.monotonic() + pause >= end:
                self._metrics.store_errors.labels(outcome).inc()
                raise Unavailable(outcome)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.2)

    def _send(self, key: Arg, command: tuple[Arg, ...], then: Then | None, named: Node | None) -> _Attempt:
        """Hand a command, and what must follow it, to the line of whoever has the key; or of whom that one
        has ``named`` for this time, while the key's slot is on the move.

        Raises:
            LineLostError: nobody is known to have it, or too many commands wait already.
        """
        node = named or self.nodes.of(key)
        if node is None:
            raise LineLostError("nobody is known to have the key")
        line = node.apart if then else node.line
        if named is not None:
            # what befalls it befalls the command behind it, which tells
            line.submit("ASKING").future.add_done_callback(take_note)
        call, after = line.submit(*command), None
        if then is not None:
            after = line.submit(*then.command)
            after.future.add_done_callback(take_note)
        return _Attempt(line, call, after)

    def _lost(self, attempt: _Attempt | None, error: Exception) -> str | None:
        """There was no answer; ``unknown`` where the command may have run, or may yet."""
        self.nodes.doubt()
        if attempt is None:
            return None
        if isinstance(error, TimeoutError):
            attempt.line.drop_if_silent(PATIENCE_SECONDS * 0.9)
        return "unknown" if attempt.call.sent else None

    def _redirected(self, attempt: _Attempt | None, error: RedisError) -> Node | None:
        """Whom an error reply names."""
        if attempt is None or not isinstance(error, ResponseError):
            return None
        # a demoted primary keeps the connection; only a new one finds the new primary
        if "READONLY" in str(error) or isinstance(error, ReadOnlyError):
            attempt.line.drop()
        return self.nodes.redirected(error)
