"""The waiting rooms in the store: places in line, admissions, and what time does to them.

A place is a sequence number of the store's own; no clock and no server decides who is first. Whoever has no
connection is absent: it keeps its number, and is passed over until it is back or its grace is over.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from session import keys
from session.config import Config
from session.protocol import Code, Refused
from session.recovery import Position
from session.sale import SaleScripts, Who
from session.store import Arg, Store, Unavailable

BATCH = 200
"""Users that one script looks at."""
WAITING, ADMITTED, NOWHERE = "waiting", "admitted", "nowhere"
NAME_EVERY_SECONDS = 60.0
IDLE_AFTER_MS = 3_600_000
"""An event of which nobody made use for so long, and where nothing can happen by itself, is not looked at."""


class Tally(NamedTuple):
    """Of an event: admissions; places and admissions that ended while their user was away; holds that have
    expired."""

    admissions: int = 0
    no_shows: int = 0
    expired_holds: int = 0


class Figures(NamedTuple):
    """An event's line and seats at one moment; the last minute's admissions, and over how long they went; and
    what was counted since the event was created."""

    total: int
    present: int
    admitted: int
    held: int
    sold: int
    seats: int
    moved: int
    span_ms: int
    paused: bool
    tally: Tally

    @property
    def available(self) -> int | None:
        """Seats still free; None where the event has none."""
        return self.seats - self.held - self.sold if self.seats else None

    @property
    def is_moving(self) -> bool:
        """Whether it can be said how long it takes."""
        return not self.paused and self.moved > 0

    def eta_seconds(self, position: int) -> int | None:
        """How long it takes to be let in, by the last minute's admissions; None where that is not known."""
        if not self.is_moving:
            return None
        # those who are away are passed over
        ahead = position * self.present / max(self.total, 1)
        return max(1, round(ahead * self.span_ms / self.moved / 1000))


class Place(NamedTuple):
    """Where a user stands, as of a position of the ledger; ``until`` is Unix ms, None without an end."""

    status: str
    seq: int
    position: int
    until: int | None
    ledger: Position
    figures: Figures
    made: str
    """Which event it is: one that was deleted and created anew is another."""

    @property
    def is_last(self) -> bool:
        """Whether nobody stands behind: as it is for who has just come."""
        return self.status == WAITING and self.position == self.figures.total


class Server(Protocol):
    """This server, as the store knows it."""

    instance: str


class Left(NamedTuple):
    """What giving up a place came to: whether there was one, and the ledger's offset that knows of it, or 0
    where that is not known."""

    had: bool
    offset: int


class WaitingRooms:
    """The waiting rooms in the store."""

    def __init__(self, store: Store, config: Config, server: Server) -> None:
        self._store = store
        self._scripts = SaleScripts(store, config)
        self._server = server
        self._named: dict[str, float] = {}
        self._entered: set[tuple[str, str]] = set()
        """(event, instance) where this server has users, or had."""

    # --- users ---

    async def join(self, event_id: str, who: Who) -> Place:
        """Take a place in the line, or find the one that there is.

        Raises:
            Refused: there is no such event, or it has no waiting room.
            Replaced, Unavailable: as `SaleScripts.run`.
        """
        await self.use(event_id)
        return await self._come(event_id, who, "join")

    async def arrive(self, event_id: str, who: Who) -> Place | None:
        """A user with a connection here is back at its place; with the status `NOWHERE` where it has none
        (any more), None where there is no such line.

        Raises:
            Replaced, Unavailable: as `SaleScripts.run`.
        """
        try:
            return await self._come(event_id, who, "arrive")
        except Unavailable:
            raise
        except Refused:
            return None

    async def _come(self, event_id: str, who: Who, how: str) -> Place:
        # noted first: the script may run though its answer is lost
        self._entered.add((event_id, self._server.instance))
        here = keys.here(event_id, self._server.instance)
        answer = await self._scripts.run(
            "join", event_id, [self._server.instance, how], who=who, own_keys=[here]
        )
        if answer[0] == b"open":
            raise Refused(Code.NOT_FOUND, "this event has no waiting room")
        return _place(answer)

    async def leave(self, event_id: str, who: Who, why: str = "left") -> Left:
        """Give up a place, or an admission.

        Raises:
            Refused, Replaced, Unavailable: as `SaleScripts.run`.
        """
        request = secrets.token_hex(8)
        _, had, head = await self._scripts.run("leave", event_id, [why, request], who=who)
        return Left(bool(had), int(head))

    async def has_place(self, event_id: str, user_id: str) -> bool:
        """Whether a user has a place in a line, or was let in.

        Raises:
            Unavailable: the store did not answer in time.
        """
        return (await self.places(event_id, [user_id]))[0] is not None

    async def depart(self, event_id: str, users: Sequence[str], instance: str = "") -> None:
        """Users have no connection at an instance (this one) any more; at most `BATCH` of them.

        Raises:
            Unavailable: the store did not answer in time; asking again does no harm.
        """
        left = instance or self._server.instance
        names = [left]
        while True:
            here = [keys.here(event_id, name) for name in names]
            answer = await self._scripts.run("depart", event_id, [len(names), *names, *users], own_keys=here)
            if answer[0] != b"instances":
                return
            names = [left, *(name for name in (n.decode() for n in answer[1:]) if name != left)]

    async def places(self, event_id: str, users: Sequence[str]) -> list[Place | None]:
        """Where users stand; at most `BATCH` of them.

        Raises:
            Unavailable: the store did not answer in time.
        """
        try:
            answer = await self._scripts.run("places", event_id, users)
        except Unavailable:
            raise
        except Refused:
            return [None] * len(users)
        places = [_place(one) for one in answer[1:]]
        return [None if place.status == NOWHERE else place for place in places]

    async def put_back(self, event_id: str, made: str, known: Iterable[tuple[str, int, int | None]]) -> None:
        """Give places back that the store may have lost: user, number, and until when it is admitted (0
        without an end, None where it waits). Of another event than the one ``made`` so, none.

        Raises:
            Unavailable: the store did not answer in time; asking again does no harm.
        """
        triples: list[Arg] = []
        for user_id, seq, until in known:
            triples += [user_id, seq, "" if until is None else until]
        try:
            await self._scripts.run(
                "put_back", event_id, [self._server.instance, made, secrets.token_hex(8), *triples],
                own_keys=[keys.here(event_id, self._server.instance)],
            )  # fmt: skip
        except Unavailable:
            raise
        except Refused:
            return  # there is no such event any more

    # --- the back end ---

    async def pause(self, event_id: str, paused: bool) -> None:
        """Let nobody in for a while, or go on.

        Raises:
            Refused: there is no such event, or it has no waiting room.
            Unavailable: the store did not answer in time; asking again does no harm.
        """
        await self.use(event_id)
        await self._set(event_id, Who(""), "pause" if paused else "resume")

    async def admit(self, event_id: str, user_id: str) -> str:
        """Let one user in before the others: ``ok``, ``none`` (it does not wait) or ``full``.

        Raises:
            Refused: there is no such event, it has no waiting room, or the sale has not begun.
            Unavailable: the store did not answer in time; asking again does no harm.
        """
        await self.use(event_id)
        return await self._set(event_id, Who(user_id), "admit")

    async def _set(self, event_id: str, who: Who, what: str) -> str:
        answer = await self._scripts.run("queue_set", event_id, [what], who=who)
        if answer[0] == b"open":
            raise Refused(Code.NOT_FOUND, "this event has no waiting room")
        if answer[0] == b"closed":
            raise Refused(Code.NOT_OPEN, "the sale has not begun", {"startsAt": int(answer[1])})
        return str(answer[0].decode())

    async def figures(self, event_id: str) -> Figures:
        """An event's figures; what is over by now is ended first.

        Raises:
            Refused: there is no such event.
            Unavailable: the store did not answer in time.
        """
        return (await self._tick(event_id))[1]

    # --- time ---

    async def use(self, event_id: str, *, anew: bool = False) -> None:
        """Name an event for the timed work, before anything in it needs that; ``anew`` if the name is lost.

        Raises:
            Unavailable: the store did not answer in time.
        """
        now = asyncio.get_running_loop().time()
        if not anew and now - self._named.get(event_id, -NAME_EVERY_SECONDS) < NAME_EVERY_SECONDS:
            return
        if not await self._store.command("EXISTS", keys.event(event_id)):
            return  # nothing will happen there
        await self._store.command("ZADD", keys.ACTIVE, self._store.clock.now_ms(), event_id)
        self._named = {name: at for name, at in self._named.items() if now - at < NAME_EVERY_SECONDS}
        self._named[event_id] = now

    async def active(self) -> list[str]:
        """The events for which there is timed work.

        Raises:
            Unavailable: the store did not answer in time.
        """
        return [name.decode() for name in await self._store.command("ZRANGE", keys.ACTIVE, 0, -1)]

    async def tick(self, event_id: str) -> tuple[bool, Figures] | None:
        """Do what is due in an event: end what is over, let the next in, publish what waits.

        Returns whether anything can happen there by itself, and its figures; None where there is none such.

        Raises:
            Unavailable: the store did not answer in time.
        """
        try:
            return await self._tick(event_id)
        except Unavailable:
            raise
        except Refused:
            return None

    async def _tick(self, event_id: str) -> tuple[bool, Figures]:
        _, busy, *figures = await self._scripts.run("tick", event_id)
        return bool(busy), _figures(figures)

    async def retire(self, events: Sequence[str]) -> None:
        """Look no more at events in which nothing can happen, unless one was used within the hour.

        Raises:
            Unavailable: the store did not answer in time.
        """
        await self._store.script("event_forget", [keys.ACTIVE], [IDLE_AFTER_MS, *events])

    # --- servers that have gone ---

    async def go(self) -> None:
        """This server has no users any more: its name is taken off every line where it stands.

        Raises:
            Unavailable: the store did not answer in time.
        """
        await asyncio.gather(*(self.bury(event_id, instance) for event_id, instance in self._entered))

    def entered(self) -> list[str]:
        """The events in whose lines this server has users, or had."""
        return [event_id for event_id, instance in self._entered if instance == self._server.instance]

    async def here(self, event_id: str) -> list[str]:
        """The users of whom the store believes that they are connected to this server.

        Raises:
            Unavailable: the store did not answer in time.
        """
        return await self.left_at(event_id, self._server.instance)

    async def left_at(self, event_id: str, instance: str) -> list[str]:
        """The users whom an instance has left behind.

        Raises:
            Unavailable: the store did not answer in time.
        """
        return [uid.decode() for uid in await self._store.command("SMEMBERS", keys.here(event_id, instance))]

    async def bury(self, event_id: str, instance: str) -> None:
        """Forget an instance of which nothing is left.

        Raises:
            Unavailable: the store did not answer in time.
        """
        await self._store.command("SREM", keys.sale(event_id).instances, instance)


NO_FIGURES = Figures(0, 0, 0, 0, 0, 0, 0, 0, paused=True, tally=Tally())


def _place(answer: Sequence[Any]) -> Place:
    if answer[0] == b"none":
        return Place(NOWHERE, 0, 0, None, Position(answer[1].decode(), int(answer[2])), NO_FIGURES, "")
    if answer[0] == b"admitted":
        _, until, epoch, head, figures, made = answer
        ledger = Position(epoch.decode(), int(head))
        return Place(ADMITTED, 0, 0, int(until) or None, ledger, _figures(figures), made.decode())
    _, seq, position, epoch, head, figures, made = answer
    ledger = Position(epoch.decode(), int(head))
    return Place(WAITING, int(seq), position, None, ledger, _figures(figures), made.decode())


def _figures(values: Sequence[int]) -> Figures:
    total, present, admitted, held, sold, seats, moved, span_ms, paused, *tally = values
    return Figures(
        total, present, admitted, held, sold, seats, moved, span_ms, paused=bool(paused), tally=Tally(*tally)
    )
