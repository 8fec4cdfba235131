"""How many connections, over all servers, are in an event: written on change, told at most so often."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable

from session.hub import NO_COUNTS, Hub, Room
from session.leases import Leases
from session.protocol import RoomInfo, pack
from session.rooms import Rooms
from session.store import Unavailable

ROUND_SECONDS = 1.0
REFRESH_SECONDS = 10.0
"""Unchanged counts are written again so often: the store may have lost them, or we a notice."""
CROWD = 1000
CROWD_SECONDS = 5.0
"""Above so many connections an event's count is told only so often."""
FEW = 16
"""Up to so many here, who comes or goes is counted before it is answered; a crowd, once a round."""
PREFIX = "event:"


class Presence:
    """The counts of one process. `run` it as a task."""

    def __init__(self, rooms: Rooms, hub: Hub, leases: Leases) -> None:
        self._rooms = rooms
        self._hub = hub
        self._leases = leases
        self._on_the_way: dict[str, int] = {}
        """Event -> how many more there will be here when those have been answered who come and go now."""

    async def run(self) -> None:
        """Write, and tell, until cancelled."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            now = time.monotonic()
            events = [room for name, room in self._hub.shared.items() if name.startswith(PREFIX)]
            await asyncio.gather(*(self._write(room, now) for room in events if _is_due(room, now)))
            for room in events:
                self._tell(room, now)

    async def _write(self, room: Room, now: float) -> None:
        count = len(room)
        gone = self._forgotten(room, now)
        heard, room.counts_heard = room.counts_heard, NO_COUNTS
        try:
            counts = await self._rooms.tell_count(
                room.name.removeprefix(PREFIX), self._leases.instance, count, gone
            )
        except Unavailable:
            room.counts_heard = {**heard, **room.counts_heard}
            return
        room.counts = {**counts, **room.counts_heard}
        room.local_count_told = count
        room.counts_at = now

    def _forgotten(self, room: Room, now: float) -> list[str]:
        """Instances that have left their count behind. One that is so new that this server has not heard of
        its lease yet is none of them: its count was not there the last time, or it was heard since."""
        if not room.counts_at or now - room.counts_at < REFRESH_SECONDS / 2:
            return []
        silent = room.counts.keys() - room.counts_heard.keys()
        return [instance for instance in silent if not self._leases.is_living(instance)]

    def total(self, room: Room) -> int:
        """Connections in the room over all living servers, as far as this one knows."""
        others = room.counts.keys() - {self._leases.instance}
        return len(room) + sum(
            room.counts[instance] for instance in others if self._leases.is_living(instance)
        )

    async def count(self, event_id: str) -> int:
        """Connections in an event over all living servers, as the store knows it.

        Raises:
            Unavailable: the store did not answer in time.
        """
        counts = await self._rooms.counts(event_id)
        return sum(n for instance, n in counts.items() if self._leases.is_living(instance))

    async def comes(self, event_id: str, *, is_new: bool) -> None:
        """A connection is about to come into an event, whose room is open or opening here, or is in there
        already: see that its answer, and those of other servers from now on, say how many there are.

        Raises:
            Unavailable: the store did not answer in time.
        """
        room = self._hub.rooms.get(PREFIX + event_id)
        if room is None or (room.counts_at and not (is_new and len(room) < FEW)):
            return
        if len(room) < FEW:
            counts = await self._write_ahead(room, event_id, int(is_new))
        else:
            counts = await self._asking(room, self._rooms.counts(event_id))
        if not all(self._leases.knows(instance) for instance in counts):
            # a server that has only just begun
            await self._leases.renew()

    async def goes(self, event_id: str) -> None:
        """A connection is about to leave an event. Whether that could be written is nothing to the command,
        whose own part of it may have happened: if not, the next round writes it."""
        room = self._hub.rooms.get(PREFIX + event_id)
        if room is not None and 0 < len(room) <= FEW:
            with contextlib.suppress(Unavailable):
                await self._write_ahead(room, event_id, -1)

    async def _write_ahead(self, room: Room, event_id: str, more: int) -> dict[str, int]:
        """Write how many there will be here in a moment; if it comes otherwise, the next round mends it."""
        self._on_the_way[event_id] = self._on_the_way.get(event_id, 0) + more
        count = max(0, len(room) + self._on_the_way[event_id])
        # noted first: it may be written though the answer is lost
        room.local_count_told = count
        try:
            return await self._asking(
                room, self._rooms.tell_count(event_id, self._leases.instance, count, ())
            )
        finally:
            # nothing stands for none: they may add up to that while some are still on the way
            left = self._on_the_way.pop(event_id, 0) - more
            if left:
                self._on_the_way[event_id] = left

    @staticmethod
    async def _asking(room: Room, answer: Awaitable[dict[str, int]]) -> dict[str, int]:
        """Take over the counts that the store tells, but those that were heard since it was asked."""
        heard, room.counts_heard = room.counts_heard, NO_COUNTS
        try:
            counts = await answer
            room.counts = {**counts, **room.counts_heard}
        finally:
            room.counts_heard = {**heard, **room.counts_heard}
        return counts

    def _tell(self, room: Room, now: float) -> None:
        total = self.total(room)
        pause = CROWD_SECONDS if total > CROWD else ROUND_SECONDS
        # a little less than the pause: the rounds themselves are not exact
        if total != room.told_count and now - room.told_at >= pause * 0.9:
            room.told_count, room.told_at = total, now
            info = RoomInfo(event_id=room.name.removeprefix(PREFIX), user_count=total)
            self._hub.say(room, pack(info))


def _is_due(room: Room, now: float) -> bool:
    if len(room) != room.local_count_told and (len(room) or room.local_count_told > 0):
        return True
    return len(room) > 0 and now - room.counts_at >= REFRESH_SECONDS
