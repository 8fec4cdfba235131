"""What time does to sales: every server asks for it, without a leader, and Redis's clock decides.

An event is looked at twice a second while anything can happen in it by itself, more rarely else. Changes of
seats that came too soon after the last frame are published by the server that made them.
"""

import asyncio
import logging

from session.metrics import Metrics
from session.protocol import Refused
from session.seats import Seats
from session.store import Unavailable
from session.waiting_room import Figures, Tally, WaitingRooms

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
LIST_SECONDS = 2.0
"""How often the list of events is read again."""
IDLE_SECONDS = 5.0
RETIRE_SECONDS = 600.0
AT_ONCE = 20
BUNDLE_SECONDS = 0.1
KEPT_TALLIES = 10_000


class Ticker:
    """The timed work on sales of one process. `run` it as a task."""

    def __init__(self, waiting_rooms: WaitingRooms, seats: Seats, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tallies: dict[str, Tally] = {}
        """What was counted already of the events that were looked at, those used last at the end."""
        self._is_first_look = True
        self._waiting_rooms = waiting_rooms
        self._seats = seats
        self._idle_until: dict[str, float] = {}
        self._busy: set[str] = set()
        self._later: dict[str, float] = {}
        self._wanted = asyncio.Event()
        self.figures: dict[str, Figures] = {}
        """What the last look at each event found."""
        seats.on_later = self._flush_later

    async def run(self) -> None:
        """Tick until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._flush())

    def is_used(self, event_id: str) -> None:
        """Somebody here does something in an event: look at it with the next tick."""
        self._idle_until.pop(event_id, None)

    async def fresh(self, event_id: str) -> Figures | None:
        """An event's figures as they are now; what was found last where the store does not answer."""
        await self._look_at(event_id)
        return self.figures.get(event_id)

    # --- ticks ---

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        events: list[str] = []
        listed = retired = float("-inf")
        while True:
            now = loop.time()
            try:
                if now - listed >= LIST_SECONDS:
                    events, listed = await self._waiting_rooms.active(), now
                    # where something can happen it will be looked at, though a failover has lost the name
                    for event in self._busy - frozenset(events):
                        await self._waiting_rooms.use(event, anew=True)
                    events += self._busy - frozenset(events)
                    self._forget(frozenset(events))
                if now - retired >= RETIRE_SECONDS:
                    await self._waiting_rooms.retire([*self._idle_until])
                    retired = now
            except Unavailable:
                log.debug("the store does not say which events are used; those known are looked at")
            due = [event for event in events if self._idle_until.get(event, 0) <= now]
            for at in range(0, len(due), AT_ONCE):
                await asyncio.gather(*(self._look_at(event) for event in due[at : at + AT_ONCE]))
            self._is_first_look = listed == float("-inf")
            await asyncio.sleep(max(0.05, now + TICK_SECONDS - loop.time()))

    async def _look_at(self, event_id: str) -> None:
        try:
            found = await self._waiting_rooms.tick(event_id)
        except Unavailable:
            # a part of the store may be away without the others
            log.debug("the store does not answer; %s is looked at later", event_id)
            return
        if found is not None:
            self.figures[event_id] = found[1]
            self._count(event_id, found[1].tally)
        if found is not None and found[0]:
            self._idle_until.pop(event_id, None)
            self._busy.add(event_id)
        else:
            self._busy.discard(event_id)
            self._idle_until[event_id] = asyncio.get_running_loop().time() + IDLE_SECONDS

    def _count(self, event_id: str, tally: Tally) -> None:
        """Count what has happened in an event since it was last looked at. Of one that was there before this
        server nothing is known; one that has come since begins at zero, and so does one created anew."""
        before = self._tallies.pop(event_id, tally if self._is_first_look else Tally())
        self._tallies[event_id] = tally
        if len(self._tallies) > KEPT_TALLIES:
            del self._tallies[next(iter(self._tallies))]
        # the store has lost some where there are fewer now: none is counted again
        before = Tally(*map(min, tally, before))
        self._metrics.admissions.inc(tally.admissions - before.admissions)
        self._metrics.no_shows.inc(tally.no_shows - before.no_shows)
        self._metrics.expired_holds.inc(tally.expired_holds - before.expired_holds)

    def _forget(self, events: frozenset[str]) -> None:
        self.figures = {event: found for event, found in self.figures.items() if event in events}
        self._idle_until = {event: at for event, at in self._idle_until.items() if event in events}

    # --- seats that are published a moment later ---

    def _flush_later(self, event_id: str) -> None:
        self._later.setdefault(event_id, asyncio.get_running_loop().time() + BUNDLE_SECONDS)
        self._wanted.set()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._later:
                event_id, due = next(iter(self._later.items()))
                await asyncio.sleep(max(0.0, due - loop.time()))
                del self._later[event_id]
                try:
                    if not await self._seats.flush(event_id):
                        self._flush_later(event_id)
                except Refused:
                    log.debug("seats of %s are published by whoever ticks next", event_id)
