"""What all servers do, summed up for the operators: each writes its own figures down, and any reads them all.

Nobody asks another server: an answer is as old as the last writing, two seconds, or a second more.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from session import keys
from session.events import Events
from session.hub import Hub
from session.leases import Leases
from session.metrics import Metrics, counted
from session.protocol import Refused
from session.store import Arg, Store, Unavailable
from session.waiting_room import WaitingRooms

ROUND_SECONDS = 2.0
KEPT_MS = 3_600_000
KEPT_SECONDS = 1.0
"""However many look, the store is asked once in this time."""
MAX_EVENTS = 100
"""Events whose figures are read, those used last."""


class ServerFigures(Struct, rename="camel", frozen=True, kw_only=True):
    """One server: connections now; since it was started: those that came back, and rooms brought back, with
    all that was missed (``recovered``) or without (``reset``)."""

    instance: str
    connections: int
    restores: int
    recovered: int
    reset: int


class EventFigures(Struct, rename="camel", frozen=True, kw_only=True):
    """One event at one moment; ``available`` is null where it has no seats."""

    event_id: str
    title: str
    waiting: int
    admitted: int
    held: int
    sold: int
    available: int | None
    paused: bool


class Overview(Struct, rename="camel", frozen=True, kw_only=True):
    """The sums over all servers and over the events named, and what they are the sums of."""

    connections: int
    restores: int
    waiting: int
    admitted: int
    held: int
    sold: int
    servers: Sequence[ServerFigures]
    events: Sequence[EventFigures]


_figures = msgspec.json.Decoder(ServerFigures)


class Census:
    """The figures of one process, and the reader of all. `run` it as a task."""

    def __init__(
        self,
        *,
        store: Store,
        leases: Leases,
        hub: Hub,
        metrics: Metrics,
        events: Events,
        waiting_rooms: WaitingRooms,
    ) -> None:
        self._store = store
        self._leases = leases
        self._hub = hub
        self._metrics = metrics
        self._events = events
        self._waiting_rooms = waiting_rooms
        self._reading: asyncio.Task[Overview] | None = None
        self._read_until = 0.0

    async def run(self) -> None:
        """Write this server's figures down until cancelled."""
        gone: list[str] = []
        while True:
            own = msgspec.json.encode(self._own())
            args: list[Arg] = [self._leases.instance, own, KEPT_MS, *gone]
            try:
                await self._store.script("census", [keys.FIGURES], args)
                names = await self._store.command("HKEYS", keys.FIGURES)
                gone = [name for name in (n.decode() for n in names) if not self._leases.is_living(name)]
            except Unavailable:
                pass  # the store is away: the figures too are of before
            await asyncio.sleep(ROUND_SECONDS)

    async def overview(self) -> Overview:
        """All of it, at most a few seconds old.

        Raises:
            Unavailable: the store did not answer in time.
        """
        if self._reading is None or (self._reading.done() and time.monotonic() >= self._read_until):
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(self._reading)

    def _own(self) -> ServerFigures:
        metrics = self._metrics
        return ServerFigures(
            instance=self._leases.instance,
            connections=len(self._hub.connections),
            restores=counted(metrics.reconnects),
            recovered=counted(metrics.restores, result="recovered"),
            reset=counted(metrics.restores, result="reset"),
        )

    async def _read(self) -> Overview:
        self._read_until = time.monotonic() + KEPT_SECONDS
        servers, events = await asyncio.gather(self._servers(), self._active())
        return Overview(
            connections=sum(server.connections for server in servers),
            restores=sum(server.restores for server in servers),
            waiting=sum(event.waiting for event in events),
            admitted=sum(event.admitted for event in events),
            held=sum(event.held for event in events),
            sold=sum(event.sold for event in events),
            servers=servers,
            events=events,
        )

    async def _servers(self) -> list[ServerFigures]:
        values = await self._store.command("HVALS", keys.FIGURES)
        found = [_figures.decode(value) for value in values]
        others = [f for f in found if f.instance != self._leases.instance]
        living = [f for f in others if self._leases.is_living(f.instance)]
        return sorted([self._own(), *living], key=lambda figures: figures.instance)

    async def _active(self) -> list[EventFigures]:
        names = await self._store.command("ZREVRANGE", keys.ACTIVE, 0, MAX_EVENTS - 1)
        titles = {event.id: event.title for event in await self._events.public()}
        known = [name for name in (n.decode() for n in names) if name in titles]
        found = await asyncio.gather(*(self._event(name, titles[name]) for name in known))
        return [figures for figures in found if figures is not None]

    async def _event(self, event_id: str, title: str) -> EventFigures | None:
        try:
            figures = await self._waiting_rooms.figures(event_id)
        except Unavailable:
            raise
        except Refused:
            return None  # deleted meanwhile
        return EventFigures(
            event_id=event_id,
            title=title,
            waiting=figures.total,
            admitted=figures.admitted,
            held=figures.held,
            sold=figures.sold,
            available=figures.available,
            paused=figures.paused,
        )
