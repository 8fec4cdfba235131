"""The seats of events in the store: hold, extend, release, book, refund, and what everyone may see.

At any moment the store names at most one holder of a seat. Each operation is one script, which ends what
is over first, by the store's clock, and publishes what has changed.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from session import keys
from session.catalog import Catalog
from session.config import Config
from session.protocol import Code, Refused
from session.recovery import Position, parse_chain
from session.sale import NOBODY, SaleScripts, Who
from session.store import BUDGET_SECONDS, Arg, Store, Unavailable

KEPT_SEATS = 500_000
"""Seats of all lists that are kept in memory, some 200 bytes each; the one used last is always kept."""
CATALOG_TRIES = 5
"""How often a list of seats may change while a command is under way."""
KEPT_NAMES = 1000
"""Events whose list of seats is known by name; the one asked for last is always known."""
PICK_TRIES = 10
"""How often seats that were chosen may have been taken meanwhile."""


OnBooking = Callable[[str, str, Sequence[str]], None]
RunOnSeats = Callable[[bytes, list[str]], Awaitable[list[Any]]]
"""Runs a script, given the name of the list of seats and seats as ``index=id``."""


class Holding(NamedTuple):
    """What a user holds in an event; ``first`` and ``until`` are Unix ms, 0 where nothing is held.

    Of two for one event that with the higher ``version`` is newer.
    """

    first: int
    until: int
    version: int
    seats: list[str]
    made: str = ""
    """In which event: one that was deleted and created anew is another. Empty where that is not known."""

    @property
    def expires_at(self) -> int | None:
        """When it ends, as clients are told."""
        return self.until if self.seats else None


NOTHING = Holding(0, 0, 0, [])


class Booking(NamedTuple):
    """A booking; ``replicated`` is None where there are no replicas."""

    booking_id: str
    seats: list[str]
    replicated: bool | None


class Record(NamedTuple):
    """A booking that stands, and since when (Unix ms)."""

    booking_id: str
    booked_at: int
    seats: list[str]


class Published(NamedTuple):
    """The published state of an event's seats, at exactly a position of their room."""

    head: Position
    chain: dict[str, int]
    states: bytes
    catalog: Catalog


class Seats:
    """The seats in the store."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._scripts = SaleScripts(store, config)
        self._catalogs: dict[bytes, Catalog] = {}
        self._names: dict[str, bytes] = {}
        self._reading: dict[bytes, asyncio.Task[None]] = {}
        self._picking: dict[str, asyncio.Lock] = {}
        self.on_later: Callable[[str], None] = lambda event_id: None
        """Told an event whose changes must be published in a moment."""
        self.on_booking: OnBooking = lambda event_id, user_id, seats: None
        """Told of a booking, once; without seats where it was refused."""

    # --- reading ---

    async def read(self, event_id: str) -> Published:
        """The state that has been published.

        Raises:
            Unavailable: the store did not answer in time.
        """
        k = keys.sale(event_id)
        for _ in range(CATALOG_TRIES):
            answer = await self._store.script("seats_read", [k.event, k.shown, k.seats_meta])
            epoch, head, chain, states, word = answer
            catalog = await self._catalog(event_id, word)
            if catalog is not None:
                position = Position(epoch.decode(), int(head))
                return Published(position, parse_chain(chain.decode()), states, catalog)
        raise Refused(Code.NOT_FOUND, "the list of seats changes all the time")

    async def mine(self, event_id: str, who: Who) -> Holding:
        """What a user holds; a connection that it replaces is kept out from now on.

        Raises:
            Refused, Replaced, Unavailable: as `SaleScripts.run`.
        """
        return self._holding(event_id, await self._scripts.run("seats_mine", event_id, who=who))

    # --- holding ---

    async def hold(
        self, event_id: str, who: Who, seats: Iterable[str], again: Holding | None = None
    ) -> Holding:
        """Hold seats, all or nothing; ``again`` is a hold that the store has lost, put back in the
        very event that it was in.

        Raises:
            Refused: one of them is taken, or there is none such; too many; not admitted; not open.
            Replaced, Unavailable: as `SaleScripts.run`.
        """
        lost: list[Arg] = [""] * 4
        if again:
            # who holds nothing again may give it back at any moment: asked again, the store leaves it so
            lost = [again.first, again.until, again.made, secrets.token_hex(8)]
        answer = await self._on_seats(event_id, seats, self._script("hold", event_id, who, [0, *lost]))
        return self._held(event_id, answer)

    async def hold_best(self, event_id: str, who: Who, count: int, section: str | None) -> Holding:
        """Hold the best free seats.

        Raises:
            Refused: fewer are free; too many; not admitted; not open; no such section.
            Replaced, Unavailable: as `SaleScripts.run`.
        """
        lock = self._picking.setdefault(event_id, asyncio.Lock())
        end = asyncio.get_running_loop().time() + BUDGET_SECONDS
        try:
            async with lock:
                return await self._hold_best(event_id, who, count, section, end)
        finally:
            if not lock.locked():
                self._picking.pop(event_id, None)

    async def _hold_best(
        self, event_id: str, who: Who, count: int, section: str | None, end: float
    ) -> Holding:
        k = keys.sale(event_id)
        for _ in range(PICK_TRIES):
            if asyncio.get_running_loop().time() > end:
                # so many want the best at the same time that each waits too long
                raise Unavailable("none")
            word, states = await self._store.script("seats_map", [k.event, k.map])
            catalog = await self._catalog(event_id, word)
            if catalog is None:
                continue
            if section is not None and word and not catalog.has_section(section):
                raise Refused(Code.UNKNOWN_SEAT, f"there is no section {section}")
            chosen = catalog.best(states, count, section)
            few = len(chosen) < count
            # the script says what else speaks against it, before it is said that too few are free
            request = secrets.token_hex(8)
            run = self._script("hold", event_id, who, [count if few else 0, "", "", "", request])
            answer = await self._on_seats(event_id, [] if few else chosen, run)
            if few:
                self._held(event_id, answer)
                raise Refused(Code.SEAT_UNAVAILABLE, f"fewer than {count} are free", {"seats": []})
            if answer[0] != b"taken":
                return self._held(event_id, answer)
            self._soon(event_id, answer[1])
        raise Refused(Code.SEAT_UNAVAILABLE, "others were faster each time; try again", {"seats": []})

    async def extend(self, event_id: str, who: Who) -> Holding:
        """Lengthen a hold, if there is one.

        Raises:
            Refused: it cannot be longer.
            Replaced, Unavailable: as `SaleScripts.run`.
        """
        answer = await self._scripts.run("extend", event_id, [secrets.token_hex(8)], who=who)
        if answer[0] == b"limit":
            raise Refused(Code.HOLD_LIMIT, "the hold is as long already as it may be")
        return self._holding(event_id, answer)

    async def release(
        self, event_id: str, who: Who, seats: Sequence[str] | None = None
    ) -> tuple[bool, Holding]:
        """Give seats back, or all: whether any were held, and what is left. What it does not hold stays.

        Raises:
            Refused: one of them is no seat.
            Replaced, Unavailable: as `SaleScripts.run`.
        """
        request = secrets.token_hex(8)
        if seats is None:
            answer = await self._scripts.run("release", event_id, [request, "all"], who=who)
        else:
            run = self._script("release", event_id, who, [request, "named"])
            answer = await self._on_seats(event_id, seats, run)
        return answer[0] != b"none", self._holding(event_id, answer)

    # --- selling ---

    async def book(self, event_id: str, user_id: str, seats: Sequence[str], request_id: str) -> Booking:
        """Turn held seats into sold ones, all or nothing; the same ``request_id`` brings the first answer.

        Raises:
            Refused: one of them is not held by that user, or is no seat.
            Unavailable: the store did not answer in time; ask again with the same request id.
        """
        booking_id = secrets.token_urlsafe(12)

        async def run(word: bytes, named: list[str]) -> list[Any]:
            # without one, asked again by the store's own retry it is still one booking
            args = [request_id or f"r:{booking_id}", booking_id, *named]
            return await self._scripts.run_replicated("book", event_id, args, who=Who(user_id), catalog=word)

        answer = await self._on_seats(event_id, seats, run)
        replicated = answer.pop()
        if answer[0] == b"taken":
            self._soon(event_id, answer[1])
            self.on_booking(event_id, user_id, ())
            details = {"seats": _text(answer[2:])}
            raise Refused(Code.SEAT_UNAVAILABLE, "not all of these are held by that user", details)
        self._soon(event_id, answer[2])
        # also where the answer was lost, and our own retry found it done
        if answer[1].decode() == booking_id:
            self.on_booking(event_id, user_id, _text(answer[3:]))
        return Booking(answer[1].decode(), _text(answer[3:]), replicated)

    async def refund(self, event_id: str, seats: Sequence[str]) -> None:
        """Make sold seats available again, all or nothing.

        Raises:
            Refused: one of them is not sold, or is no seat.
            Unavailable: the store did not answer in time; asking again does no harm.
        """
        answer = await self._on_seats(event_id, seats, self._script("refund", event_id, NOBODY, []))
        self._soon(event_id, answer[1])
        if answer[0] == b"taken":
            raise Refused(Code.SEAT_UNAVAILABLE, "not all of these are sold", {"seats": _text(answer[2:])})

    async def bookings_of(self, event_id: str, user_id: str) -> list[Record]:
        """What a user has booked; without seats that were given back. It looks at all bookings of the event.

        Raises:
            Unavailable: the store did not answer in time.
        """
        k = keys.sale(event_id)
        rows = await self._store.script("bookings", [k.bookings], [user_id])
        if not rows:
            return []
        word, states = await self._store.script("seats_map", [k.event, k.map])
        catalog = await self._catalog(event_id, word)
        if catalog is None:
            return []
        found = []
        for booking, at, text in zip(*[iter(rows)] * 3, strict=True):
            known, _ = catalog.named(text.decode().split())
            sold = [seat for seat, i in known.items() if states[i : i + 1] == b"s"]
            if sold:
                found.append(Record(booking.decode(), int(at), sold))
        return found

    async def flush(self, event_id: str) -> bool:
        """Publish what waits; False where it is too early.

        Raises:
            Unavailable: the store did not answer in time.
        """
        return await self._scripts.run("flush", event_id) != [b"later"]

    # --- within ---

    async def _catalog(self, event_id: str, word: bytes) -> Catalog | None:
        """The list of seats of that name; None where it is another one by now. It is large: whoever wants it
        while it is being read waits for the same answer."""
        if word not in self._catalogs:
            reading = self._reading.get(word)
            if reading is None:
                reading = self._reading[word] = asyncio.create_task(self._read_catalog(event_id, word))
                reading.add_done_callback(lambda task: self._was_read(word, task))
            await asyncio.shield(reading)
        return self._kept(word)

    def _kept(self, word: bytes) -> Catalog | None:
        catalog = self._catalogs.pop(word, None)
        if catalog is not None:
            self._catalogs[word] = catalog  # used last
        return catalog

    def _was_read(self, word: bytes, reading: "asyncio.Task[None]") -> None:
        self._reading.pop(word, None)
        if not reading.cancelled():
            reading.exception()  # whoever waited for it was told

    async def _read_catalog(self, event_id: str, word: bytes) -> None:
        seats: bytes | None = b""
        if word:
            now, seats = await self._store.command("HMGET", keys.event(event_id), "catalog", "seats")
            if now != word:
                return
        self._catalogs[word] = Catalog(word, seats or b"")
        while len(self._catalogs) > 1 and sum(len(c.ids) for c in self._catalogs.values()) > KEPT_SEATS:
            del self._catalogs[next(iter(self._catalogs))]

    async def _newest(self, event_id: str) -> Catalog:
        for _ in range(CATALOG_TRIES):
            made, word = await self._store.command("HMGET", keys.event(event_id), "made", "catalog")
            if made is None:
                raise Refused(Code.NOT_FOUND, "there is no such event")
            catalog = await self._catalog(event_id, word or b"")
            if catalog is not None:
                self._names.pop(event_id, None)
                self._names[event_id] = catalog.word
                if len(self._names) > KEPT_NAMES:
                    del self._names[next(iter(self._names))]
                return catalog
        raise Refused(Code.NOT_FOUND, "the list of seats changes all the time")

    def _newest_known(self, event_id: str) -> Catalog | None:
        """The list that was the newest when it was last asked for: scripts refuse another one, and say so."""
        word = self._names.get(event_id)
        return None if word is None else self._kept(word)

    def _script(self, name: str, event_id: str, who: Who, args: Sequence[Arg]) -> RunOnSeats:
        async def run(word: bytes, named: list[str]) -> list[Any]:
            return await self._scripts.run(name, event_id, [*args, *named], who=who, catalog=word)

        return run

    async def _on_seats(self, event_id: str, seats: Iterable[str], run: RunOnSeats) -> list[Any]:
        """Run a script on seats by their names, which it knows by their indexes.

        Raises:
            Refused: one of them is no seat, or there is no such event.
        """
        seats = list(seats)
        catalog = self._newest_known(event_id)
        for _ in range(CATALOG_TRIES):
            known, unknown = ({}, seats) if catalog is None else catalog.named(seats)
            if catalog is None or unknown:
                catalog = await self._newest(event_id)
                known, unknown = catalog.named(seats)
            if unknown:
                raise Refused(Code.UNKNOWN_SEAT, "there are no such seats", {"seats": unknown[:100]})
            answer = await run(catalog.word, [f"{i}={seat}" for seat, i in known.items()])
            if answer[0] != b"catalog":
                return answer
            catalog = None
        raise Refused(Code.NOT_FOUND, "the list of seats changes all the time")

    def _held(self, event_id: str, answer: list[Any]) -> Holding:
        """What a hold came to.

        Raises:
            Refused: nothing.
        """
        if answer[0] == b"taken":
            self._soon(event_id, answer[1])
            details = {"seats": _text(answer[2:])}
            raise Refused(Code.SEAT_UNAVAILABLE, "not all of these seats are free", details)
        if answer[0] == b"many":
            raise Refused(
                Code.TOO_MANY_SEATS,
                f"a user may hold {int(answer[1])} seats here",
                {"maxSeats": int(answer[1])},
            )
        if answer[0] == b"closed":
            raise Refused(Code.NOT_OPEN, "the sale has not begun", {"startsAt": int(answer[1])})
        if answer[0] == b"outside":
            raise Refused(Code.NOT_ADMITTED, "join the queue first; nobody holds seats who was not let in")
        return self._holding(event_id, answer)

    def _holding(self, event_id: str, answer: list[Any]) -> Holding:
        if answer[0] == b"none":
            return NOTHING._replace(version=int(answer[1]))
        _, first, until, version, made, flushed, *seats = answer
        self._soon(event_id, flushed)
        if not seats:
            return NOTHING._replace(version=int(version))
        return Holding(int(first), int(until), int(version), _text(seats), made.decode())

    def _soon(self, event_id: str, flushed: bytes) -> None:
        if flushed == b"later":
            self.on_later(event_id)


def _text(words: Iterable[bytes]) -> list[str]:
    return [word.decode() for word in words]
