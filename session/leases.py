"""This server's lease in the store, what time it is there, and which other servers are dead.

A lease lasts 10 s and is renewed every 2 s. Every script that writes carries a deadline that never
reaches past the lease, so a server that was frozen cannot write with an old view. A server is dead when
its lease has been over for 2 s, and only a server whose own lease has been whole for 12 s may say so:
else the first one back after an outage would bury the rest.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

from session import keys
from session.protocol import Refused
from session.store import Arg, Store, Unavailable
from session.survey import Survey

log = logging.getLogger(__name__)

LEASE_MS = 10_000
RENEW_SECONDS = 2.0
RETRY_SECONDS = 0.25
"""After one that failed: whoever is back is noticed at once, and what it has lost is written again."""
FRESH_SECONDS = 5.0
"""A store that has refused or missed every renewal for so long is out of reach, whatever else it answers."""
DEAD_AFTER_MS = 2_000
WHOLE_SECONDS = 12.0

Listener = Callable[[], Awaitable[None]]


def new_instance() -> str:
    """A name that no server ever had or will have."""
    return "i-" + secrets.token_hex(5)


class Leases:
    """The lease of one process. `run` it as a task."""

    def __init__(self, store: Store, survey: Survey) -> None:
        self._store = store
        self._survey = survey
        self._incarnations: frozenset[str] = frozenset()
        self._whole_since = time.monotonic()
        self._renewed_at = float("-inf")
        self._is_given_up = False
        self._renewing: asyncio.Lock = asyncio.Lock()
        self._over: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        self.instance = new_instance()
        self.incarnation = ""
        self.on_swept: Listener | None = None
        """Awaited when the others have buried this server: it goes on under a new name."""
        self.on_incarnation: Listener | None = None
        """Awaited when another primary, or the same one restarted, answers."""
        store.renew = self.renew

    @property
    def is_valid(self) -> bool:
        """Whether the lease is still running by the store's clock."""
        return self._store.clock.now_ms() < self._store.clock.lease_end_ms

    @property
    def is_fresh(self) -> bool:
        """Whether the store has taken a write of this server's a moment ago."""
        return self.is_valid and time.monotonic() - self._renewed_at < FRESH_SECONDS

    @property
    def dead(self) -> frozenset[str]:
        """Instances that are dead; empty while this server may not judge."""
        whole = self.is_valid and time.monotonic() - self._whole_since >= WHOLE_SECONDS
        return self._over if whole else frozenset()

    def knows(self, instance: str) -> bool:
        """Whether an instance had a lease when this server last looked."""
        return instance == self.instance or instance in self._known

    def is_living(self, instance: str) -> bool:
        """Whether an instance had a lease when this server last looked, and is not dead."""
        return instance == self.instance or (instance in self._known and instance not in self.dead)

    async def run(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            self._store.connected.clear()
            try:
                await self.renew()
            except Unavailable:
                log.warning("the lease could not be renewed: the store does not answer")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self._look_around()
                await self._pause()

    async def _pause(self) -> None:
        """Wait until it is time, or until a new connection may have led to a store that is behind ours."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RENEW_SECONDS):
                await self._store.connected.wait()

    async def _look_around(self) -> None:
        """Learn whether another incarnation of one of the store's other nodes answers."""
        found, complete = await self._survey.incarnations()
        known = self._incarnations
        self._incarnations = found if complete else found | known
        if known and found - known and self.on_incarnation is not None:
            log.warning("another incarnation of a node of the store answers")
            await self.on_incarnation()

    async def renew(self) -> None:
        """Renew the lease now; learn the time, the incarnation and who is over.

        Raises:
            Unavailable: the store did not answer, or the lease was given up.
        """
        async with self._renewing:
            if self._is_given_up:
                raise Unavailable("none")
            now, end, incarnation, over, known = await self._ask(LEASE_MS)
            if not self.is_valid:
                self._whole_since = time.monotonic()
            if end == 0:
                await self._start_over()
                return
            self._store.clock.set(now, end, self.instance)
            self._renewed_at = time.monotonic()
            self._over = over - {self.instance}
            self._known = known
        if incarnation != self.incarnation:
            before, self.incarnation = self.incarnation, incarnation
            if before and self.on_incarnation is not None:
                log.warning("another incarnation of the store answers")
                await self.on_incarnation()

    async def _start_over(self) -> None:
        log.warning("this server was taken for dead by the others; it starts over under a new name")
        self.instance = new_instance()
        now, end, self.incarnation, *_ = await self._ask(LEASE_MS, known="")
        self._store.clock.set(now, end, self.instance)
        self._whole_since = self._renewed_at = time.monotonic()
        if self.on_swept is not None:
            await self.on_swept()

    async def _ask(
        self, length_ms: int, known: str | None = None
    ) -> tuple[int, int, str, frozenset[str], frozenset[str]]:
        """Time, end of the lease, incarnation, who is over, and everyone who has a lease."""
        args: list[Arg] = [
            self.instance, length_ms, DEAD_AFTER_MS, self.incarnation if known is None else known,
        ]  # fmt: skip
        now, end, incarnation, over, all_ = await self._store.script("lease", [keys.LEASES], args)
        names = (frozenset(name.decode() for name in some) for some in (over, all_))
        return int(now), int(end), incarnation.decode(), *names

    async def living(self) -> frozenset[str]:
        """All instances that the store knows and that are not dead, this one included."""
        known = {i.decode() for i in await self._store.command("ZRANGE", keys.LEASES, 0, -1)}
        return frozenset(known - self.dead | {self.instance})

    async def condemn(self, instance: str) -> bool:
        """Make sure that a dead instance stays so while it is swept; False where it lives after all."""
        answer = await self._store.script("condemn", [keys.LEASES], [instance, DEAD_AFTER_MS])
        return answer == [b"ok"]

    async def bury(self, instance: str) -> None:
        """Forget an instance of which nothing is left."""
        await self._store.command("ZREM", keys.LEASES, instance)

    async def release(self) -> None:
        """Give the lease up, for good: this server has no connection any more."""
        # a renewal that came after it would leave a server behind that nobody is
        async with self._renewing:
            self._is_given_up = True
            try:
                await self._ask(0)
            except Refused:
                log.info("the lease could not be given up; the others will sweep it")
