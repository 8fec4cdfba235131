"""Leaving well: nobody new is taken in, the reconnects are spread evenly, and no trace is left behind."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from session.protocol import Close, Reconnect
from session.recorder import closing
from session.services import Services
from session.store import Unavailable

log = logging.getLogger(__name__)

GOODBYE_SECONDS = 2.0
"""What is left of the drain for close handshakes and for unmapping the last sockets."""
PAUSE_SECONDS = 0.05


def plan(count: int, seconds: float) -> Sequence[float]:
    """When each of so many connections goes, in seconds from now, in no order.

    One goes in each of ``count`` equal parts of the time, at a moment of its own: in no second go more than
    ``count / seconds`` and two, where moments drawn freely would come in heaps.
    """
    delays = [seconds * (n + random.random()) / count for n in range(count)]
    random.shuffle(delays)
    return delays


async def drain(services: Services, stop_accepting: Callable[[], None]) -> None:
    """Send every client elsewhere within ``--drain-seconds``; unmap the sockets, give the lease up."""
    hub = services.hub
    hub.draining = True  # /readyz says 503 from here on, and no upgrade is accepted
    seconds = services.config.drain_seconds
    log.info("leaving: %d connections are sent elsewhere over %g s", len(hub.connections), seconds)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    going = list(hub.sockets)
    for connection, delay in zip(going, plan(len(going), max(0.0, seconds - GOODBYE_SECONDS)), strict=True):
        connection.send(Reconnect(reason="shutdown", delay_ms=int(delay * 1000)))
        loop.call_later(delay, connection.close, Close.RESTART, "restart")
    while hub.sockets and loop.time() < end:
        await asyncio.sleep(PAUSE_SECONDS)
    for connection in list(hub.sockets):
        # said goodbye to, and not gone: a phone asleep
        connection.abandon()
        if connection.socket_id:
            how = closing(connection, services.leases.instance, "server")
            services.janitor.detach_later(connection.user_id, connection.socket_id, how)
    stop_accepting()
    await _take_leave(services)
    log.info("left")


async def _take_leave(services: Services) -> None:
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await services.lobby.absences.settled()
            await services.janitor.settled()
            await services.recorder.settled()
            await services.leases.release()
    except (TimeoutError, Unavailable):
        log.warning("the store did not take our leave; the others will sweep this server")
