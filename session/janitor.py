"""The timed work on sessions: detaching what has gone, keeping alive what is here, sweeping the dead.

Every server does it, without a leader: the scripts are idempotent, and Redis's clock decides.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from session import keys
from session.connection import Connection
from session.hub import Hub
from session.leases import Leases
from session.manager import RENEW_SECONDS, Fence, Forgotten, Gone, SessionManager
from session.protocol import Close
from session.recorder import lost
from session.store import DEADLINE_MS, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 100
ROUND_SECONDS = 1.0
REATTACH_SECONDS = 2.0
"""After another incarnation of the store has answered, all connections are attached again so quickly."""
RUSH_SECONDS = 0.1
"""While others wait to sign in, so long a pause is between two batches that are detached: who comes back
after a break of the network is let in before the store has heard of all the lines that broke."""
LATE_SECONDS = DEADLINE_MS / 1000 + 0.5
MAX_DETACHES = 100_000

Reattach = Callable[[Connection], Awaitable[None]]
Sweep = Callable[[str], Awaitable[None]]


class Janitor:
    """The timed work of one process. `run` it as a task."""

    def __init__(self, manager: SessionManager, hub: Hub, leases: Leases) -> None:
        self._manager = manager
        self._hub = hub
        self._leases = leases
        self._detaches: dict[str, tuple[str, str]] = {}
        """Socket -> its user, and how it ended."""
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._doubted: set[Connection] = set()
        self.is_rush: Callable[[], bool] = lambda: False
        """Whether others wait to sign in."""
        self.reattach: Reattach | None = None
        self.sweep_lines: Sweep | None = None
        """Reports those whom a dead instance has left behind in the lines of events."""
        leases.on_swept = self.start_over

    async def run(self) -> None:
        """Do it until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._detach())
            group.create_task(self._renew())
            group.create_task(self._reattach())
            group.create_task(self._sweep())

    # --- detaching ---

    def detach_later(self, user_id: str, socket_id: str, how: str = "") -> None:
        """A socket has gone: unmap it, now or as soon as the store answers; ``how`` as `closing` says it."""
        if len(self._detaches) < MAX_DETACHES:
            self._detaches[socket_id] = user_id, how or self._detaches.get(socket_id, ("", ""))[1]
            self._settled.clear()
            self._wanted.set()
        else:
            log.error("too many sockets wait to be unmapped; one is left to the end of this server's lease")

    def detach_once_more(self, user_id: str, socket_id: str) -> None:
        """An attach whose answer was lost may run until its deadline: unmap it now, and after that."""
        self.detach_later(user_id, socket_id)
        asyncio.get_running_loop().call_later(LATE_SECONDS, self.detach_later, user_id, socket_id)

    async def settled(self) -> None:
        """Wait until no socket waits to be unmapped."""
        await self._settled.wait()

    async def _detach(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._detaches:
                batch = list(self._detaches.items())[:BATCH]
                results = await _all(
                    self._manager.detach(user_id, socket_id, how=how) for socket_id, (user_id, how) in batch
                )
                for (socket_id, _), result in zip(batch, results, strict=True):
                    # one that failed comes last: a part of the store may be away without the others
                    whose = self._detaches.pop(socket_id)
                    if result is not None:
                        self._detaches[socket_id] = whose
                if None not in results:
                    await asyncio.sleep(ROUND_SECONDS)
                elif self.is_rush():
                    await asyncio.sleep(RUSH_SECONDS)
            self._settled.set()

    # --- keeping alive ---

    async def _renew(self) -> None:
        indexes_at = time.monotonic() + RENEW_SECONDS / 2
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            now = time.monotonic()
            due = [c for c in self._hub.connections.values() if c.renew_at <= now]
            for batch in _batches(due):
                await _all(self._renew_one(connection, now) for connection in batch)
            if now >= indexes_at:
                indexes_at = now + RENEW_SECONDS / 2
                await _all(self._manager.renew_index(bucket) for bucket in list(self._hub.buckets))

    async def _renew_one(self, connection: Connection, now: float) -> None:
        active, connection.active = connection.active, False
        plan_renewal(connection, now)
        try:
            by = Fence(connection.socket_id, connection.attached_at)
            await self._manager.renew(connection.user_id, active=active, by=by)
        except (Gone, Forgotten):
            self.doubt(connection)
        except Unavailable:
            connection.active = active
            connection.renew_at = now + ROUND_SECONDS * random.uniform(1, 5)

    # --- attaching again ---

    def doubt(self, connection: Connection) -> None:
        """The store may not know this connection any more: attach it again, or close it."""
        self._doubted.add(connection)

    async def doubt_all(self) -> None:
        """Another incarnation of the store answers: what it knows of us must be checked."""
        self._doubted.update(self._hub.connections.values())

    async def _reattach(self) -> None:
        while True:
            await asyncio.sleep(REATTACH_SECONDS / 20)
            connections, self._doubted = list(self._doubted), set()
            size = max(BATCH, len(connections) // 15)
            for batch in _batches(connections, size):
                results = await _all(self._reattach_one(connection) for connection in batch)
                self._doubted.update(
                    c for c, result in zip(batch, results, strict=True) if result is not None
                )
            if self._doubted:
                await asyncio.sleep(ROUND_SECONDS / 4)

    async def _reattach_one(self, connection: Connection) -> None:
        try:
            if self.reattach is not None:
                await self.reattach(connection)
        except Unavailable:
            raise
        except Exception:
            # one connection's trouble is not the others'
            log.exception("a connection could not be attached again", extra=connection.about)
            connection.close(Close.RESTART, "restart")

    async def start_over(self) -> None:
        """The others have buried this server: its connections come back by resume, as new ones."""
        for connection in list(self._hub.sockets):
            connection.close(Close.RESTART, "restart")

    # --- sweeping the dead ---

    async def _sweep(self) -> None:
        while True:
            # servers take turns by chance; two at once do no harm
            await asyncio.sleep(ROUND_SECONDS * random.uniform(1, 4))
            for instance in self._leases.dead:
                try:
                    await self._sweep_instance(instance)
                except Unavailable:
                    log.info("the store does not answer; %s is swept later", instance)

    async def _sweep_instance(self, instance: str) -> None:
        """Unmap all sockets that a dead server has left behind.

        Raises:
            Unavailable: the store did not answer in time; nothing is lost, sweep again.
        """
        if not await self._leases.condemn(instance):
            return
        swept = 0
        for buckets in _batches(keys.BUCKETS, 64):
            for index in await asyncio.gather(
                *(self._manager.indexed(bucket, instance) for bucket in buckets)
            ):
                for batch in _batches(list(index.items())):
                    await asyncio.gather(
                        *(self._manager.detach(uid, sid, instance, lost(instance, sid)) for sid, uid in batch)
                    )
                    swept += len(batch)
        if self.sweep_lines is not None:
            await self.sweep_lines(instance)
        await self._leases.bury(instance)
        log.info("swept %d connections of %s, which is dead", swept, instance)


def plan_renewal(connection: Connection, now: float) -> None:
    """When the keys of a connection that does nothing are renewed; `Connection.touch` makes it sooner."""
    connection.renew_at = now + RENEW_SECONDS / 2 * random.uniform(0.8, 1)


async def _all(works: Iterable[Awaitable[None]]) -> list[Unavailable | None]:
    """Do all; the store being away is a result, anything else is raised."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Unavailable):
            raise result
    return results  # type: ignore[return-value]


def _batches(items: Sequence[T], size: int = BATCH) -> Iterable[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))
