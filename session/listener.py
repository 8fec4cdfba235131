"""The listener: a cursor a room, moved by what the bell brings and repaired from the truth.

Rooms are opened, repaired and checked here; whoever joins at a position that the ring does not cover
reads its own pages here. What may go wrong, and why this holds, stands in ARCHITECTURE.md.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

from msgspec import Struct

from session import keys
from session.bell import Bell
from session.connection import Connection
from session.hub import Hub, Room, State
from session.metrics import Metrics
from session.notices import Notices
from session.protocol import Refused, RoomReset, text_frame
from session.recovery import Position, Verdict
from session.rooms import Lost, Page, Rooms
from session.store import BUDGET_SECONDS, Store, Unavailable

log = logging.getLogger(__name__)

MAX_PENDING = 1000
LINGER_SECONDS = 30.0
REPAIRS_AT_ONCE = 64
REPAIR_PAUSE_SECONDS = (0.05, 1.0)


class Admission(Struct, frozen=True):
    """What is known of a room for someone who wants to join it at ``since``."""

    room: Room
    since: Position | None
    read: Page | Lost | None


class Entered(Struct, frozen=True):
    """How a connection came into a room: what its answer says."""

    epoch: str
    offset: int
    recovered: bool
    missed: int
    first: bytes = b""
    """The state to begin with, as a frame; to be sent next where nothing was recovered."""


class Start(Struct, frozen=True):
    """Where a room begins, and what makes its follower's state that of exactly there."""

    head: Position
    chain: dict[str, int]
    install: Callable[[], None] = lambda: None


Opener = Callable[[Room], Awaitable[Start]]


class Listener:
    """Keeps this server's rooms at the truth. `run` it as a task, beside the checks."""

    def __init__(self, store: Store, rooms: Rooms, hub: Hub, metrics: Metrics, instance: str) -> None:
        self._store = store
        self._rooms = rooms
        self._hub = hub
        self._metrics = metrics
        self._group: asyncio.TaskGroup | None = None
        self._repairs = asyncio.Semaphore(REPAIRS_AT_ONCE)
        self._by_channel: dict[str, set[Room]] = {}
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """What all rooms have that have been opened: one of its own weighs as much as a room's log."""
        self._opened.set_result(None)
        self.bell = Bell(store.nodes, instance, self, metrics)
        self.notices = Notices(hub)
        self.openers: dict[str, Opener] = {}
        """Namespace -> reads where such a room begins; the others begin at their position alone."""
        self.on_bucket: Callable[[str], None] = lambda bucket: None
        """Told the bucket whose channel is heard again."""
        for bucket in keys.BUCKETS:
            self.bell.subscribe(keys.bucket_channel(bucket))

    async def run(self) -> None:
        """Listen until cancelled. If any part of it fails, all of it does."""
        async with asyncio.TaskGroup() as self._group:
            self._group.create_task(self.bell.run())

    # --- opening ---

    def room(self, name: str) -> Room:
        """The room, opening it where nobody here reads it yet. A user's room is begun by its attach."""
        room = self._hub.rooms.get(name)
        if room is None:
            room = self._hub.new_room(name)
            room.opened.add_done_callback(lambda future: future.exception())
            self._by_channel.setdefault(room.channel, set()).add(room)
            self.bell.subscribe(room.channel)
            room.clean = self.bell.hears(room.channel)
            if not name.startswith("user:"):
                self._spawn(self._open(room))
        if not len(room):
            room.idle_since = time.monotonic()
        return room

    async def _open(self, room: Room) -> None:
        try:
            start = await self._read_start(room)
        except Refused as error:
            self._drop(room)
            room.opened.set_exception(error)
            return
        self.begin(room, start)

    async def _read_start(self, room: Room) -> Start:
        opener = self.openers.get(room.name.partition(":")[0])
        if opener is not None:
            return await opener(room)
        page = await self._rooms.history(room.name, None)
        return Start(page.head, page.chain)

    def begin(self, room: Room, start: Start) -> None:
        """Set an opening room to where the store says it is.

        If the channel was not yet heard when that was read, what was published in between is found by the
        repair that follows the acknowledgement; joiners do not wait for it.
        """
        if room.state is not State.OPENING:
            return
        room.log.reset(start.head, start.chain)
        room.readers.begin(start.head.offset)
        start.install()
        if room.follower is not None:
            room.follower.restarted()
        room.state = State.REPAIRING
        complete = self._offer_pending(room)
        if room.clean and complete and not room.again:
            room.state = State.LIVE
        elif self.bell.hears(room.channel):
            self.repair(room, "open")
        room.opened.set_result(None)
        room.opened = self._opened

    def _drop(self, room: Room) -> None:
        """Forget a room first, then its channel; late messages find no room."""
        self._hub.forget_room(room)
        rooms = self._by_channel[room.channel]
        rooms.discard(room)
        if room.repair is not None:
            room.repair.cancel()
        if not rooms:
            del self._by_channel[room.channel]
            if not room.name.startswith("user:"):
                self.bell.unsubscribe(room.channel)

    def drop_idle(self) -> None:
        """Forget the rooms that nobody here has read for a while."""
        edge = time.monotonic() - LINGER_SECONDS
        for room in list(self._hub.rooms.values()):
            if not room.is_wanted and room.idle_since < edge and room.local_count_told <= 0:
                self._drop(room)

    # --- what the bell brings ---

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """One notice: ``<number> <kind> ...``; see docs/redis.md."""
        number, kind, rest = payload.split(b" ", 2)
        if number != b"0":
            self.notices.count(channel[3:5].decode(), int(number))
        if kind == b"p":
            self._on_publication(rest)
        elif kind == b"g":
            room = self._hub.rooms.get(rest.decode())
            if room is not None:
                self.repair(room, "told")
        else:
            self.notices.act(kind, rest.decode())

    def _on_publication(self, rest: bytes) -> None:
        name, epoch_, offset, private, body = rest.split(b" ", 4)
        room = self._hub.rooms.get(name.decode())
        epoch = epoch_.decode()
        if room is None or epoch in room.log.chain:
            return  # nobody here, or a primary that has been replaced still speaks
        told, frame = body[: int(private)], text_frame(body[int(private) :])
        if room.state is not State.LIVE:
            room.pending.append((epoch, int(offset), frame, told))
            if len(room.pending) > MAX_PENDING:
                room.pending.clear()
                room.again = True
            return
        verdict = room.offer(epoch, int(offset), frame, told)
        if verdict is Verdict.GAP:
            self.repair(room, "gap")
        elif verdict is Verdict.DELIVER:
            self._hub.changed(room)

    def on_ack(self, channel: str) -> None:
        """A channel is heard (again): what was missed before is looked up."""
        if channel.startswith("{u:"):
            self.on_bucket(channel[3:5])
            return
        for room in self._by_channel.get(channel, ()):
            if room.state is State.REPAIRING:
                self.repair(room, "subscribe")

    def on_cut(self, channels: Collection[str]) -> None:
        """These are not heard: no room is live until its channel is acknowledged and the truth was read."""
        for channel in channels:
            for room in self._by_channel.get(channel, ()):
                room.clean = False
                if room.state is State.LIVE:
                    room.state = State.REPAIRING
                room.again = True

    # --- repair ---

    def repair(self, room: Room, cause: str) -> None:
        """Read on from the cursor; asked for again meanwhile, read again."""
        room.again = True
        if room.state is not State.OPENING and room.repair is None:
            room.state = State.REPAIRING
            self._metrics.repairs.labels(cause).inc()
            room.repair = self._spawn(self._repair(room))

    async def _repair(self, room: Room) -> None:
        began = time.monotonic()
        try:
            pause = REPAIR_PAUSE_SECONDS[0]
            while room.again:
                room.again = False
                # what arrived before the read is sent is in the read
                room.pending.clear()
                try:
                    async with self._repairs:
                        read = await self._read_on(room)
                except Refused:
                    room.again = True
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, REPAIR_PAUSE_SECONDS[1])
                    continue
                if not self._take(room, read) or not self._offer_pending(room):
                    room.again = True
        finally:
            room.repair = None
        self._metrics.repair_seconds.observe(time.monotonic() - began)
        # without an acknowledged channel it is not live: the acknowledgement will repair it again
        if self.bell.hears(room.channel):
            room.state = State.LIVE
        self._hub.changed(room)

    async def _read_on(self, room: Room) -> Page | Start:
        """What follows the cursor, or where to start anew."""
        read = await self._read_believable(room)
        if isinstance(read, Page):
            return read
        log.info("room %s is reset: %s", room.name, read.why)
        if room.name.partition(":")[0] in self.openers:
            return await self._read_start(room)
        return Start(read.head, read.chain)

    async def _read_believable(self, room: Room) -> Page | Lost:
        """History from the cursor. An answer from an epoch that ours has replaced comes from a stale
        primary: connect anew, and believe it only if the primary found then says the same."""
        read = await self._rooms.history(room.name, room.log.position)
        if isinstance(read, Lost) and read.head.epoch in room.log.chain:
            self._store.drop_line(keys.room(room.name).meta)
            read = await self._rooms.history(room.name, room.log.position)
        return read

    def _take(self, room: Room, read: Page | Start) -> bool:
        """Take what was read into the log; False where there is more to read."""
        if isinstance(read, Start):
            read.install()
            room.reset(read.head, read.chain)
            return True
        for private, frame in read.entries:
            room.append(text_frame(frame), private)
        room.log.turn(read.head.epoch, read.chain)
        self._hub.changed(room)
        return room.log.hi >= read.head.offset

    def _offer_pending(self, room: Room) -> bool:
        """Offer what arrived during a read; False where one of them shows a gap."""
        verdicts = [room.offer(*publication) for publication in room.pending]
        room.pending.clear()
        return Verdict.GAP not in verdicts

    # --- joining ---

    def admit_at_once(self, name: str, since: Position | None) -> Admission | None:
        """How a connection can come into a room at ``since``, where nothing has to be waited for."""
        room = self.room(name)
        opened = room.opened
        is_open = opened.done() and not opened.cancelled() and opened.exception() is None
        if is_open and (since is None or room.log.covers(since)):
            return Admission(room, since, None)
        return None

    async def admit(self, name: str, since: Position | None) -> Admission:
        """Find out how a connection can come into a room at ``since``.

        Raises:
            Unavailable: the store did not answer in time.
        """
        room = self.room(name)
        read: Page | Lost | None
        if room.state is State.OPENING and since is not None:
            _, read = await asyncio.gather(asyncio.shield(room.opened), self._rooms.history(name, since))
        else:
            await asyncio.shield(room.opened)
            covered = since is None or room.log.covers(since)
            read = None if covered else await self._rooms.history(name, since)
        if since is not None and isinstance(read, Page) and read.head.epoch == room.log.epoch:
            # after a crash all come back from the same place: only the first ones need to read
            room.log.reach_back(since.offset, [text_frame(frame) for _, frame in read.entries])
        if since is not None and room.follower is not None and isinstance(read, Page):
            await self._reach(room, since.offset)
        return Admission(room, since, read)

    async def _reach(self, room: Room, offset: int) -> None:
        """Wait until this server's log has come so far: the state that its follower has is of the log's head.

        Raises:
            Unavailable: it does not come so far in time.
        """
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                while room.log.hi < offset:
                    self.repair(room, "join")
                    await asyncio.shield(room.repair or asyncio.sleep(0))
        except TimeoutError:
            raise Unavailable("none") from None

    def enter(self, connection: Connection, admission: Admission, *, anew: bool = False) -> Entered:
        """Make a connection a member; ``anew`` one that is, which begins at the head then.

        Nothing of the room is sent in this tick, so that the answer, sent in the same tick, precedes it. A
        connection that has ended meanwhile enters nothing.
        """
        room, since, read = admission.room, admission.since, admission.read
        if not connection.is_open:
            return Entered(room.log.epoch, room.log.hi, recovered=False, missed=0)
        if room.name in connection.rooms:
            room.leave(connection)
        head = room.log.position
        if anew:
            room.enter(connection, head.offset)
            return Entered(*head, recovered=False, missed=0)
        if since is not None and room.log.covers(since):
            room.enter(connection, since.offset)
            return Entered(*head, recovered=True, missed=head.offset - since.offset)
        if since is None or isinstance(read, Lost):
            offset, first = room.start()
            room.enter(connection, offset)
            return Entered(head.epoch, offset, recovered=False, missed=0, first=first)
        # read from the store; if the ring still covered it a moment ago, its own pages are judged there
        if read is not None and room.follower is None:
            head = max(head, read.head, key=lambda p: p.offset)
        page = read if isinstance(read, Page) else None
        room.enter_behind(connection, since, self._spawn(self._replay(room, connection, since, page)))
        return Entered(*head, recovered=True, missed=head.offset - since.offset)

    async def _replay(self, room: Room, connection: Connection, at: Position, page: Page | None) -> None:
        """Read a connection's own pages, at the pace of its socket, until the ring covers it. ``page`` is
        the first one where it was read already: what was promised then is not read, and lost, again."""
        if page is not None:
            at = await self._write_page(room, connection, at, page)
        while connection in room.behind and connection.is_open:
            if room.log.covers(at):
                room.leave_behind(connection, at.offset)
                return
            try:
                read = await self._rooms.history(room.name, at)
            except Unavailable:
                await asyncio.sleep(REPAIR_PAUSE_SECONDS[1])
                continue
            if connection not in room.behind:
                return
            if isinstance(read, Lost):
                self._metrics.resets.inc()
                connection.send(RoomReset(room=room.name, epoch=room.log.epoch, offset=room.log.hi))
                offset, first = room.start()
                connection.write(first)
                room.leave_behind(connection, offset)
                return
            at = await self._write_page(room, connection, at, read)
            if at.offset >= room.log.hi and not room.log.covers(at):
                # the log is behind, or of another lineage
                self.repair(room, "replay")
                await asyncio.shield(room.repair or asyncio.sleep(0))

    async def _write_page(self, room: Room, connection: Connection, at: Position, page: Page) -> Position:
        for _, frame in page.entries:
            await self._drained(connection)
            if connection not in room.behind or not connection.is_open:
                return at
            connection.write(text_frame(frame))
            self._metrics.replayed.inc()
            # by the lineage rule the head's epoch names every place that has led to it
            at = Position(page.head.epoch, at.offset + 1)
            room.replayed(connection, at)
        at = Position(page.head.epoch, at.offset)
        room.replayed(connection, at)
        await self._drained(connection)
        return at

    async def _drained(self, connection: Connection) -> None:
        if connection.is_open and not connection.is_idle:
            drained = asyncio.Event()
            connection.when_drained(drained.set)
            await drained.wait()

    # --- within ---

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task whose failure ends `run`, and with it the process."""
        if self._group is None:
            work.close()
            raise RuntimeError("the listener does not run")
        return self._group.create_task(work)
