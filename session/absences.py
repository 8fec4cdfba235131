"""Who of the lines' users has gone from this server: the store is told, until it knows.

What it does not know costs others their turn: it would wait for somebody who is not there. So nobody is
forgotten before it has answered, and it is asked now and then whom it believes to be here.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from session.doubts import LATE_SECONDS
from session.hub import Hub
from session.protocol import Refused
from session.store import Unavailable
from session.waiting_room import BATCH, WaitingRooms

log = logging.getLogger(__name__)

COMPARE_SECONDS = 60.0


class Absences:
    """Those to be reported; whoever has it runs `compare` and `report_all`."""

    def __init__(
        self,
        waiting_rooms: WaitingRooms,
        hub: Hub,
        on_add: Callable[[], None],
        on_reported: Callable[[str, str], None],
    ) -> None:
        """``on_add`` is called whenever there is somebody to report; ``on_reported`` gets event and user."""
        self._waiting_rooms = waiting_rooms
        self._hub = hub
        self._on_add = on_add
        self._on_reported = on_reported
        self._gone: dict[tuple[str, str], None] = {}
        """(event, user) whose last connection here has ended."""
        self._all_known = asyncio.Event()
        self._all_known.set()
        self._compared_at = time.monotonic()

    def add(self, event_id: str, user_id: str) -> None:
        """A user has no connection here any more, or may have none: who is back by then is not reported."""
        self._gone[event_id, user_id] = None
        self._all_known.clear()
        self._on_add()

    def add_if_gone(self, event_id: str, user_id: str) -> None:
        """The same of a user of whom the store may know, if it has no connection here."""
        if user_id not in self._hub.users:
            self.add(event_id, user_id)

    def add_late_if_gone(self, event_id: str, user_id: str) -> None:
        """The same, when the store has done what it has not answered yet."""
        asyncio.get_running_loop().call_later(LATE_SECONDS, self.add_if_gone, event_id, user_id)

    def compare_soon(self) -> None:
        """The store may have lost who has gone."""
        self._compared_at = float("-inf")
        self._on_add()

    async def compare(self) -> bool:
        """Look now and then whether the store believes somebody here who is not: a report may be lost. False
        where it must be tried again."""
        if time.monotonic() - self._compared_at >= COMPARE_SECONDS:
            try:
                await self._find_lost()
            except Unavailable:
                return False
            self._compared_at = time.monotonic()
        return True

    async def _find_lost(self) -> None:
        for event_id in self._waiting_rooms.entered():
            for user_id in await self._waiting_rooms.here(event_id):
                self.add_if_gone(event_id, user_id)

    async def report_all(self) -> bool:
        """Report those who have gone as absent, unless they are back. False where it must be tried again."""
        for event_id in dict.fromkeys(event for event, _ in self._gone):
            gone = [user for event, user in self._gone if event == event_id]
            for at in range(0, len(gone), BATCH):
                batch = [user for user in gone[at : at + BATCH] if user not in self._hub.users]
                try:
                    if batch:
                        await self._waiting_rooms.depart(event_id, batch)
                except Unavailable:
                    return False
                except Refused:
                    log.debug("the event %s is gone, and its line with it", event_id)
                for user_id in gone[at : at + BATCH]:
                    self._gone.pop((event_id, user_id), None)
                    self._on_reported(event_id, user_id)
        if not self._gone:
            self._all_known.set()
        return True

    async def settled(self) -> None:
        """Wait until the store knows of everyone who has gone, and nothing of this server any more.

        Raises:
            Unavailable: the store did not answer in time; the others will sweep this server.
        """
        await self._find_lost()
        await self._all_known.wait()
        await self._waiting_rooms.go()

    async def sweep(self, instance: str) -> None:
        """Report those whom a dead server has left behind as absent.

        Raises:
            Unavailable: the store did not answer in time; nothing is lost, sweep again.
        """
        for event_id in await self._waiting_rooms.active():
            users = await self._waiting_rooms.left_at(event_id, instance)
            try:
                for at in range(0, len(users), BATCH):
                    await self._waiting_rooms.depart(event_id, users[at : at + BATCH], instance)
            except Unavailable:
                raise
            except Refused:
                continue
            await self._waiting_rooms.bury(event_id, instance)
