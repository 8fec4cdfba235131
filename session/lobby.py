"""The waiting rooms as this server's users see them: who is here, what each is told, who has gone.

The ledger of a line is followed while anyone of it is connected here. Whoever's last connection ends is
reported absent; whoever comes is reported there; a place that the store has lost is put back.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import TypeVar

from session import keys
from session.absences import COMPARE_SECONDS, Absences
from session.connection import Connection
from session.crowd import Crowd, Waiter
from session.doubts import Doubts
from session.hub import Hub
from session.line_events import LineEvent, LineEvents, queue_left, queue_updated
from session.listener import Listener
from session.manager import LINE, SessionManager
from session.metrics import Metrics
from session.parting import Partings
from session.protocol import Refused
from session.recorder import Recorder
from session.sale import Replaced, Who
from session.store import Unavailable
from session.ticker import Ticker
from session.waiting_room import ADMITTED, NO_FIGURES, NOWHERE, WAITING, Left, Place, WaitingRooms

P = TypeVar("P", Place, Place | None)

ROUND_SECONDS = 1.0
"""A position is told so often at most."""
RETRY_SECONDS = 0.25
SETTLE_SECONDS = 3.0
"""After a loss no place is read for so long, as nobody is let in (``shared/queue.lua``): other servers still
put back who stands before it, and a position that is too good would have to be taken back."""
AT_ONCE = 100
"""Users who are told before others get a turn."""


class Lobby:
    """All lines of this server. `run` it as a task."""

    def __init__(
        self, *, waiting_rooms: WaitingRooms, manager: SessionManager, hub: Hub,
        listener: Listener, ticker: Ticker, events: LineEvents, recorder: Recorder,
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self._waiting_rooms = waiting_rooms
        self._manager = manager
        self._hub = hub
        self._listener = listener
        self._ticker = ticker
        self._events = events
        self._recorder = recorder
        self._metrics = metrics
        self._crowds: dict[str, Crowd] = {}
        self._partings = Partings(self._tell_end_late)
        self._wanted = asyncio.Event()
        self.absences = Absences(waiting_rooms, hub, self._wanted.set, self._reported)
        self.doubts = Doubts(hub, self._wanted.set)
        self._postponed: set[tuple[str, str]] = set()
        self._missed: set[tuple[str, str]] = set()
        """Places that the store did not know of, to be looked for a second time."""
        self._second_look: set[tuple[str, str]] = set()
        """Those for which that is on its way: if it finds nothing either, they are gone."""
        self._settling: asyncio.TimerHandle | None = None
        self._unnamed: dict[tuple[str, str], None] = {}
        """(event, user) whose session names a place that is gone."""
        listener.notices.on_line = self.doubts.add_twice

    async def run(self) -> None:
        """Count, tell, and keep the store informed, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            group.create_task(self._work())

    # --- coming and going ---

    async def join(self, connection: Connection, event_id: str) -> Place:
        """Take a place for a connection's user, or find the one it has.

        Raises:
            Refused, Replaced, Unavailable: as `WaitingRooms.join`.
        """
        crowd = await self._crowd(event_id)
        who = Who.of(connection)
        place = await self._coming(crowd, who, self._waiting_rooms.join(event_id, who))
        self._ticker.is_used(event_id)
        settled = self._settle_in(crowd, connection, place, is_new=True)
        waiter = crowd.users.get(who.user_id)
        if waiter is not None and place.is_last:
            waiter.joined_at = waiter.joined_at or time.monotonic()
        return settled

    async def arrive(self, connection: Connection, event_id: str, replaces: str = "") -> Place | None:
        """Bring a connection's user back to its place; None where it has none (any more).

        Raises:
            Replaced, Unavailable: as `WaitingRooms.arrive`.
        """
        crowd = await self._crowd(event_id)
        who = Who.of(connection, replaces)
        place = await self._coming(crowd, who, self._waiting_rooms.arrive(event_id, who))
        if place is None or place.status == NOWHERE:
            self._forget_name(event_id, connection.user_id)
            return None
        return self._settle_in(crowd, connection, place, is_new=False)

    async def _coming(self, crowd: Crowd, who: Who, script: Awaitable[P]) -> P:
        """Bring a user, of whom the store may know from here on that it is here: also if the answer is lost,
        or comes when the user has gone."""
        user_id = who.user_id
        crowd.here.add(user_id)
        try:
            place = await script
        except Unavailable:
            self.absences.add_late_if_gone(crowd.event_id, user_id)
            raise
        except (Refused, Replaced):
            self._not_here(crowd, user_id)
            raise
        if place is None or place.status == NOWHERE:
            self._not_here(crowd, user_id)
        else:
            crowd.here.add(user_id)
            self.absences.add_if_gone(crowd.event_id, user_id)
        return place

    @staticmethod
    def _not_here(crowd: Crowd, user_id: str) -> None:
        if user_id not in crowd.users:
            crowd.here.discard(user_id)

    def newest(self, user_id: str, event_id: str, place: Place) -> Place | None:
        """A place as it is by now: what was heard since may have overtaken it. None if it is gone."""
        crowd = self._crowds.get(event_id)
        return place if crowd is None else crowd.newest(user_id, place)

    def _settle_in(self, crowd: Crowd, connection: Connection, place: Place, *, is_new: bool) -> Place:
        """Write a place down as it is by now; one that must be read again first stays as it is.

        The user's other connections here are told what is new; where it came back to a place that was not
        known here, those that are coming back as well are told where they stand in a moment.
        """
        user_id = connection.user_id
        if user_id not in self._hub.users:
            return place
        now, is_known = crowd.fold(user_id, place), user_id in crowd.users
        if now is None:
            # an end that was heard was told: nothing older may be told after it
            if not crowd.has_ended(user_id, place.ledger.offset):
                crowd.unsure.add(user_id)
            self.doubts.add(crowd.event_id, user_id)
            return place
        # who comes back is not told of an end that it was not there to hear
        if self._put(crowd, user_id, now, "" if is_new else connection.socket_id):
            coming = () if is_new or is_known else self._hub.coming(user_id)
            self._tell(user_id, self._events.of(crowd.event_id, user_id, now), connection.socket_id, *coming)
        return now

    def _put(self, crowd: Crowd, user_id: str, now: Place, but: str = "") -> bool:
        """Write a place down; whether it is news.

        Where there was another one, that it has ended is told first, except to the socket ``but``: the ledger
        may not have been heard yet to say so.
        """
        before = crowd.put(user_id, now)
        if before is None:
            return True
        if before.is_over(now):
            self._tell_end(user_id, crowd.event_id, but)
            return True
        # who left and was let in again at once is told until when
        return (before.status, before.told, before.until) != (now.status, now.position, now.until)

    def _tell_end(self, user_id: str, event_id: str, but: str = "") -> None:
        """A user's place has ended, which the ledger was not heard to say yet."""
        self._hub.tell(user_id, queue_left(event_id, "left"), but, *self._partings.end(user_id, event_id))
        self._hub.leave_room(user_id, f"queue:{event_id}")

    def _tell_end_late(self, connection: Connection, event_id: str, is_own: bool) -> None:
        """The answer to a leaving did not tell of the end that it was to tell of; nor does anything else,
        where that leaving has brought it about."""
        connection.send(queue_left(event_id, "left"))
        if is_own:
            connection.pay(_leaving(event_id))

    def leaving(self, connection: Connection, event_id: str) -> AbstractContextManager[None]:
        """A connection gives its user's place up, and is answered, in this context."""
        return self._partings.until_answered(connection, event_id)

    def left(self, connection: Connection, event_id: str, left: Left) -> None:
        """A connection has given its user's place up: its answer is on the way. Another of its connections
        may have joined again since."""
        user_id, name = connection.user_id, f"queue:{event_id}"
        crowd = self._crowds.get(event_id)
        was_known = crowd is not None and user_id in crowd.users
        is_gone = crowd is None or crowd.drop_before(user_id, left.offset)
        if crowd is not None and is_gone and (left.had or was_known):
            is_early = crowd.end_early(user_id, left.offset)
            # of a place that was known here until now nobody was told that it has ended, whatever was heard
            if is_early or was_known:
                self._tell_end(user_id, event_id)
        self._partings.left(connection, event_id, had=left.had)
        connection.pay(_leaving(event_id))
        if is_gone:
            self._partings.keep(user_id, event_id, queue_left(event_id, "left"))
            self._hub.leave_room(user_id, name)
        elif crowd is not None and left.offset:
            self._partings.remind(connection, event_id, self._event_of(crowd, user_id))
        if name in connection.rooms:
            connection.rooms[name].leave(connection)

    def join_unanswered(self, connection: Connection, event_id: str) -> None:
        """A connection was told that nobody knows what has come of its wish for a place: when that is known
        it is told the place, also where that is no news here, as another connection has come to it."""
        self.doubts.unanswered(connection, event_id, _joining(event_id))

    def leave_unanswered(self, connection: Connection, event_id: str) -> None:
        """A connection was told that nobody knows whether it has given its user's place up: if so it is told,
        though it is the one that asked."""
        self.doubts.unanswered(connection, event_id, _leaving(event_id))

    def user_gone(self, user_id: str) -> None:
        """A user's last connection here has ended."""
        for crowd in self._crowds.values():
            self._second_look.discard((crowd.event_id, user_id))
            if user_id in crowd.here:
                crowd.drop(user_id)
                self.absences.add(crowd.event_id, user_id)

    def of(self, user_id: str) -> list[str]:
        """The lines in which a user who is connected here has a place."""
        return [crowd.event_id for crowd in self._crowds.values() if user_id in crowd.users]

    async def _crowd(self, event_id: str) -> Crowd:
        """The crowd of a line, opening its ledger where nobody here is in that line yet.

        Raises:
            Unavailable: the store did not answer in time.
        """
        crowd = self._crowds.get(event_id)
        room = self._listener.room(f"{keys.LEDGER}:{event_id}")
        if crowd is None or room.follower is not crowd:
            crowd = self._crowds[event_id] = Crowd(event_id, self, room.log.hi)
            # where the room is still to be opened, it tells its follower when it is
            room.follower, room.pinned = crowd, True
        crowd.in_use = True
        await asyncio.shield(room.opened)
        return crowd

    # --- what the ledger says ---

    def on_admitted(self, event_id: str, user_id: str, until: int | None) -> None:
        """Tell a user that it may enter."""
        if user_id in self._hub.users:
            self._recorder.queue(user_id, event_id, ADMITTED)
            self._note_wait(event_id, user_id)
            self._tell(user_id, self._events.allowed(event_id, user_id, until))

    def _note_wait(self, event_id: str, user_id: str) -> None:
        """How long a user has waited; of one who took its place elsewhere that is not known here."""
        waiter = self._crowds[event_id].users.get(user_id)
        if waiter is not None and waiter.joined_at is not None:
            self._metrics.queue_wait_seconds.observe(time.monotonic() - waiter.joined_at)

    def on_left(self, event_id: str, user_id: str, by: str, why: str) -> None:
        """Tell a user that its place, or its admission, is gone."""
        if user_id in self._hub.users:
            asker = self._hub.connections.get(by)
            is_late = asker is not None and asker.pay(_leaving(event_id))
            self._recorder.queue(user_id, event_id, why)
            # of what a connection here has done its own answer tells, unless it was left without one
            self._tell(user_id, queue_left(event_id, why), "" if is_late else by)
            self._partings.has_ended(user_id, event_id, "" if is_late else by)
            self._hub.leave_room(user_id, f"queue:{event_id}")
            if is_late or why != "left":
                self._forget_name(event_id, user_id)

    def on_restart(self, event_id: str) -> None:
        """Read again where everyone stands."""
        crowd = self._crowds.get(event_id)
        if crowd is not None:
            room = self._hub.rooms[f"{keys.LEDGER}:{event_id}"]
            crowd.begin(room.log.hi)
            if crowd.here:
                self._begin_to_settle()
            for user_id in crowd.here:
                self.doubts.add(event_id, user_id, put_back=True)

    def put_back_all(self) -> None:
        """Another incarnation of the store answers: it may have lost places, and who has left them."""
        self._begin_to_settle()
        self.absences.compare_soon()
        for crowd in self._crowds.values():
            for user_id in crowd.here:
                self.doubts.add(crowd.event_id, user_id, put_back=True)

    def _begin_to_settle(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle)

    def _settle(self) -> None:
        self._settling = None
        postponed, self._postponed = self._postponed, set()
        for event_id, user_id in postponed:
            self.doubts.add(event_id, user_id)

    # --- telling ---

    def tell(self, connection: Connection, event_id: str, place: Place) -> None:
        """Tell one connection where its user stands."""
        user_id = connection.user_id
        event = self._events.of(event_id, user_id, place)
        if connection.socket_id not in self._partings.keep(user_id, event_id, event):
            connection.send(event)

    def tell_known(self, connection: Connection, event_id: str, *, is_sure: bool) -> None:
        """Tell a connection that is back of a place that another one has taken meanwhile; where it is not
        ``is_sure`` that it stands, when that is known."""
        crowd = self._crowds[event_id]
        if is_sure:
            connection.send(self._event_of(crowd, connection.user_id))
        else:
            self.join_unanswered(connection, event_id)

    def _tell(self, user_id: str, event: LineEvent, *but: str) -> None:
        """Tell all of a user's connections here what is new of its place, except the sockets ``but``."""
        self._hub.tell(user_id, event, *but, *self._partings.keep(user_id, event.event_id, event))

    def _event_of(self, crowd: Crowd, user_id: str) -> LineEvent:
        """What is told of the place that is written down for a user."""
        waiter = crowd.users[user_id]
        if waiter.status == ADMITTED:
            return self._events.allowed(crowd.event_id, user_id, waiter.until)
        figures = self._ticker.figures.get(crowd.event_id, NO_FIGURES)
        return queue_updated(crowd.event_id, waiter.position, figures)

    async def _count(self) -> None:
        while True:
            began = time.monotonic()
            for crowd in list(self._crowds.values()):
                await self._count_one(crowd)
            await asyncio.sleep(max(0.1, began + ROUND_SECONDS - time.monotonic()))

    async def _count_one(self, crowd: Crowd) -> None:
        self._close_if_empty(crowd)
        figures = self._ticker.figures.get(crowd.event_id)
        if figures is not None and crowd.is_shorter:
            # those of the last tick may count some who have gone: "2 of 3", and nobody is third
            figures = await self._ticker.fresh(crowd.event_id)
        if figures is None:
            return
        moved = list(crowd.count(figures, time.monotonic()))
        for at in range(0, len(moved), AT_ONCE):
            for user_id, waiter in moved[at : at + AT_ONCE]:
                # it may have left while others were told
                if waiter.status == WAITING and crowd.users.get(user_id) is waiter:
                    self._tell(user_id, queue_updated(crowd.event_id, waiter.position, figures))
            await asyncio.sleep(0)

    def _close_if_empty(self, crowd: Crowd) -> None:
        room = self._hub.rooms.get(f"{keys.LEDGER}:{crowd.event_id}")
        busy = crowd.here or crowd.users or room is None or not room.opened.done()
        if busy or crowd.in_use:
            crowd.in_use = False
            return
        del self._crowds[crowd.event_id]
        if room is not None and room.follower is crowd:
            room.follower, room.pinned, room.idle_since = None, False, time.monotonic()

    # --- keeping the store informed ---

    def _forget_name(self, event_id: str, user_id: str) -> None:
        self._unnamed[event_id, user_id] = None
        self._wanted.set()

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMPARE_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            works = (
                self.absences.compare, self.absences.report_all, self._look_up_all, self._unname_all,
            )  # fmt: skip
            done = [await work() for work in works]
            if not all(done):
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted.set()

    def _reported(self, event_id: str, user_id: str) -> None:
        crowd = self._crowds.get(event_id)
        if user_id in self._hub.users:
            # back meanwhile: the report may have come after that of its coming
            self.doubts.add(event_id, user_id)
        elif crowd is not None:
            crowd.here.discard(user_id)

    async def _look_up_all(self) -> bool:
        doubted = self.doubts.take()
        for event_id in dict.fromkeys(event for event, _ in doubted):
            users = [user for event, user in doubted if event == event_id]
            for at in range(0, len(users), AT_ONCE):
                batch = [user for user in users[at : at + AT_ONCE] if user in self._hub.users]
                try:
                    await self._look_up_batch(event_id, batch, {u: doubted[event_id, u] for u in batch})
                except Unavailable:
                    self.doubts.give_back(doubted)
                    return False
        return True

    async def _look_up_batch(self, event_id: str, users: list[str], put_back: dict[str, bool]) -> None:
        crowd = await self._crowd(event_id)
        known = {user: crowd.users[user] for user in users if put_back[user] and user in crowd.users}
        for made in {waiter.made for waiter in known.values()}:
            lost = [(user, *_known(waiter)) for user, waiter in known.items() if waiter.made == made]
            await self._waiting_rooms.put_back(event_id, made, lost)
        if self._settling is not None:
            self._postponed.update((event_id, user) for user in users)
            return
        await asyncio.gather(*(self._look_up_one(crowd, user) for user in users))

    async def _look_up_one(self, crowd: Crowd, user_id: str) -> None:
        # the store's answers come in the order in which it ran the scripts: learn at once, before a later one
        self._learn(crowd, user_id, await self._waiting_rooms.arrive(crowd.event_id, Who(user_id)))

    def _learn(self, crowd: Crowd, user_id: str, place: Place | None) -> None:
        """A place was read again: tell its user what is new."""
        if place is not None:
            crowd.here.add(user_id)
        if user_id not in self._hub.users:
            self.absences.add(crowd.event_id, user_id)
            return
        if place is None or place.status == NOWHERE:
            self._learn_of_loss(crowd, user_id, place)
            return
        self._second_look.discard((crowd.event_id, user_id))
        now = crowd.fold(user_id, place)
        if now is None:
            self.doubts.add(crowd.event_id, user_id)
            return
        if self._put(crowd, user_id, now):
            self._tell(user_id, self._events.of(crowd.event_id, user_id, now))
            self._hub.paid(user_id, _joining(crowd.event_id))
        for connection in self._hub.due(user_id, _joining(crowd.event_id), _leaving(crowd.event_id)):
            self.tell(connection, crowd.event_id, now)

    def _learn_of_loss(self, crowd: Crowd, user_id: str, place: Place | None) -> None:
        """A user has no place any more. If the ledger says so, that is told when it is heard; else the store
        has lost the place, or the event is gone."""
        key = (crowd.event_id, user_id)
        if place is not None and not crowd.has_heard(place.ledger.offset):
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.doubts.add, crowd.event_id, user_id)
        elif place is not None and user_id in crowd.users and key not in self._second_look:
            # a store that has lost it is known as another incarnation in a moment, and gets it back; where
            # there is no such line, nobody does
            if key not in self._missed:
                self._missed.add(key)
                asyncio.get_running_loop().call_later(
                    SETTLE_SECONDS, self._look_again, user_id, crowd.event_id
                )
        else:
            self._second_look.discard(key)
            # an answer of long ago was passed on as it was, and the ledger has begun anew behind the end
            is_untold = user_id in crowd.unsure
            if crowd.drop(user_id) is not None or is_untold:
                self.on_left(crowd.event_id, user_id, "", "expired")
                self._hub.paid(user_id, _leaving(crowd.event_id))
            for connection in self._hub.due(user_id, _leaving(crowd.event_id)):
                connection.send(queue_left(crowd.event_id, "left"))
            # who asked for a place has none: that is what it was told
            self._hub.due(user_id, _joining(crowd.event_id))

    def _look_again(self, user_id: str, event_id: str) -> None:
        self._missed.discard((event_id, user_id))
        if user_id in self._hub.users:
            self._second_look.add((event_id, user_id))
            self.doubts.add(event_id, user_id)

    async def _unname_all(self) -> bool:
        unnamed, self._unnamed = self._unnamed, {}
        for event_id, user_id in list(unnamed):
            try:
                # it may join again meanwhile, also elsewhere: then it is named anew
                name = await self._manager.named(user_id, LINE, event_id)
                if not await self._waiting_rooms.has_place(event_id, user_id):
                    await self._manager.unname(user_id, LINE, event_id, name)
            except Unavailable:
                self._unnamed = unnamed | self._unnamed
                return False
            unnamed.pop((event_id, user_id))
        return True


def _joining(event_id: str) -> str:
    """What a connection is owed word of that has asked for a place."""
    return f"join:{event_id}"


def _leaving(event_id: str) -> str:
    """What a connection is owed word of that has asked to give one up."""
    return f"leave:{event_id}"


def _known(waiter: Waiter) -> tuple[int, int | None]:
    """A place as it is put back: its number, and until when it is admitted."""
    return waiter.seq, (waiter.until or 0) if waiter.status == ADMITTED else None
