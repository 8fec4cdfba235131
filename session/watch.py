"""The checks: once a second, is what this server believes of its rooms and users still true?

A lost message that nothing follows shows nowhere but in the head of its room, so all heads of rooms that
somebody here reads are read; personal rooms are checked by the counter of their bucket.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from session import keys
from session.connection import Connection
from session.hub import Hub, Room, State
from session.listener import Listener
from session.manager import SessionManager
from session.protocol import Close
from session.recovery import Position, is_unused
from session.rooms import Rooms
from session.store import Store, Unavailable

K = TypeVar("K")
T = TypeVar("T")

CHECK_SECONDS = 1.0
IDLE_SECONDS = 5.0
"""So often rooms are looked for that nobody reads any more: each user has one."""


class Watch:
    """The checks of one process. `run` it as a task."""

    def __init__(
        self, store: Store, rooms: Rooms, manager: SessionManager, hub: Hub, listener: Listener
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._manager = manager
        self._hub = hub
        self._listener = listener
        self._due: set[str] = set()
        self._woken = asyncio.Event()
        self._before: dict[str, int] = {}
        self.on_doubt: Callable[[Connection], None] = lambda connection: None
        """Told a connection that the store does not know any more."""
        self.on_line: Callable[[str, str], None] = lambda event_id, user_id: None
        """Told an event, and a user who may have a place in its line."""
        self.on_seats: Callable[[str, str], None] = lambda event_id, user_id: None
        """Told an event, and a user who may hold seats in it."""
        listener.on_bucket = self.look_at
        listener.notices.on_jump = self.look_at

    def look_at(self, bucket: str) -> None:
        """Read the users of a bucket again, soon."""
        self._due.add(bucket)
        self._woken.set()

    async def run(self) -> None:
        """Check until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heads())
            group.create_task(self._buckets())
            group.create_task(self._idle_rooms())

    # --- heads ---

    async def _heads(self) -> None:
        while True:
            # without jitter all servers would ask at the same moment
            await asyncio.sleep(CHECK_SECONDS * random.uniform(0.8, 1.2))
            await asyncio.gather(self._check_heads(), self._check_counters())

    async def _idle_rooms(self) -> None:
        while True:
            await asyncio.sleep(IDLE_SECONDS)
            self._listener.drop_idle()

    async def _check_heads(self) -> None:
        rooms = [r for r in self._hub.shared.values() if r.is_settled and r.is_wanted]
        # what is heard while the answer is on its way may be newer than the answer
        asked = {room: room.log.position for room in rooms}
        heads = await _answered({room: self._rooms.head(room.name) for room in rooms})
        for room, head in heads.items():
            if room.is_settled and self._is_behind(room, head, asked[room]):
                self._listener.repair(room, "head")
            room.head_before = head

    @staticmethod
    def _is_behind(room: Room, head: Position | None, asked: Position) -> bool:
        """Whether a room must be repaired that was at ``asked`` when its head was asked for. A busy one is
        always a little behind its head: what counts is the head seen one check earlier."""
        at, before = room.log.position, room.head_before
        if head is None:
            return not is_unused(asked)
        if room.state is not State.LIVE:
            # nothing of it is heard: what the bell would have brought is fetched
            return head != at
        if head.epoch in room.log.chain:
            # a primary that has been replaced, and is soon known to be; if it stays, it is the truth
            return before == head
        if head.epoch != at.epoch:
            return before is not None and before.epoch == head.epoch
        return head.offset < asked.offset or (
            before is not None and before.epoch == at.epoch and at.offset < before.offset
        )

    # --- buckets ---

    async def _check_counters(self) -> None:
        buckets = list(self._hub.buckets)
        if not buckets:
            return
        asked = dict(self._listener.notices.known)
        for bucket, value in (await self._read_counters(buckets)).items():
            known = self._listener.notices.known.get(bucket, 0)
            behind = value > known and self._before.get(bucket, 0) > known
            if value < asked.get(bucket, 0) or behind:
                self._listener.notices.known[bucket] = value
                self.look_at(bucket)
            self._before[bucket] = value

    async def _read_counters(self, buckets: list[str]) -> dict[str, int]:
        """Where all are on one node, with one command: two hundred and fifty cost more than all else that a
        server does for users who do nothing. In a Cluster each has a slot of its own."""
        if self._store.nodes.has_slots:
            asked = {b: self._store.command("GET", keys.bucket_counter(b)) for b in buckets}
            return {bucket: int(answer or 0) for bucket, answer in (await _answered(asked)).items()}
        try:
            answers = await self._store.command("MGET", *map(keys.bucket_counter, buckets))
        except Unavailable:
            return {}
        return {bucket: int(answer or 0) for bucket, answer in zip(buckets, answers, strict=True)}

    async def _buckets(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            due, self._due = self._due, set()
            for bucket in due:
                try:
                    await asyncio.gather(
                        *(self._check_user(uid) for uid in list(self._hub.buckets.get(bucket, ())))
                    )
                except Unavailable:
                    self._due.add(bucket)
            if self._due:
                await asyncio.sleep(CHECK_SECONDS / 2)
                self._woken.set()

    async def _check_user(self, user_id: str) -> None:
        """Read a user again: is the room where we believe it is, and are the connections still the user's?"""
        mine = list(self._hub.users.get(user_id, ()))
        checked = await self._manager.check(user_id)
        known = {socket.socket_id for socket in checked.session.sockets}
        self._listener.notices.revoke(user_id, checked.revoked)
        for connection in mine:
            if connection.is_open and connection.attached_at <= checked.session.kicked_at:
                connection.close(Close.REMOVED, "removed")
            elif connection.is_open and connection.socket_id not in known:
                self.on_doubt(connection)
        for event_id in checked.session.lines:
            self.on_line(event_id, user_id)
        for event_id in checked.session.holds:
            self.on_seats(event_id, user_id)
        room = self._hub.rooms.get(f"user:{user_id}")
        if room is not None and (room.state is not State.LIVE or room.log.position != checked.user_room):
            self._listener.repair(room, "bucket")


async def _answered(works: Mapping[K, Awaitable[T]]) -> dict[K, T]:
    """What the store says; where a part of it does not answer, that is left out, and the checks go on."""
    results = await asyncio.gather(*works.values(), return_exceptions=True)
    answers = {}
    for key, result in zip(works, results, strict=True):
        if isinstance(result, BaseException):
            if not isinstance(result, Unavailable):
                raise result
            continue
        answers[key] = result
    return answers
