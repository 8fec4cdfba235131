"""Events for sale: what the back end says of one, and what the store keeps.

An event is one hash: its settings, its sections where it was given any, and ``seats``, the one list of
its seat ids, whether they were named one by one or made from sections. ``catalog`` is the list's name:
another list, another word. What an event does not set is read from the options, each time.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import filterfalse
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from session import keys
from session.config import Config
from session.protocol import Code, Refused, encode
from session.sale import SaleScripts
from session.store import Arg, Store, Unavailable

MAX_EVENTS = 10_000
MAX_SEATS = 100_000
MAX_SECTIONS = 1_000
"""Sections are sent to whoever looks at the list of events; finer ones are a list of seats."""
MAX_SEATS_A_USER = 1_000
"""A command names its seats in one frame."""
MAX_SECONDS = 366 * 86_400
SEAT_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
SeatId = Annotated[str, Meta(extra_json_schema={"pattern": rf"^{SEAT_ID.pattern}$"})]
"""Its pattern is for the documents: `EventDraft` says which seat it is that breaks it."""

FORGET_AFTER_MS = 60_000
"""A name that leads to nothing may be that of an event which is just being written; not for so long."""
READ_AT_ONCE = 100
"""Events asked of the store together, so that reading all of them lets others run in between."""
CATALOG_TRIES = 5
"""How often a list of seats may change while another change of it is under way."""
KEPT_CATALOGS = 8
"""Seat lists kept in memory, 3.5 MB each at most: everyone who opens an event's page reads its list."""
LIST_SHARE = 10
"""The list that everyone may see is kept this many times as long as it took to read: at most a tenth of
the time goes into it, however many ask, and a short list is as good as fresh."""
LIST_KEPT_SECONDS = 2.0

Seconds = Annotated[int, Meta(ge=1, le=MAX_SECONDS)] | Annotated[float, Meta(ge=0.001, le=MAX_SECONDS)]
Rate = Annotated[int, Meta(ge=1, le=1_000_000)] | Annotated[float, Meta(gt=0, le=1_000_000)]
Price = Annotated[int, Meta(ge=0, lt=2**53)] | Annotated[float, Meta(ge=0, lt=2**53)]
Count = Annotated[int, Meta(ge=1, lt=2**53)]
UnixMs = Annotated[int, Meta(ge=0, lt=2**53, description="Unix milliseconds")]
Rows = Annotated[int, Meta(ge=1, le=MAX_SEATS)]


class Section(Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """A block of rows of the same length; ``price`` is in whatever unit the back end counts."""

    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,32}\Z")]
    rows: Rows
    seats_per_row: Rows
    price: Price | None = None

    def seat_ids(self) -> Iterator[str]:
        """Section, row, seat, both counted from 1: ``VIP-1-1``."""
        seats = range(1, self.seats_per_row + 1)
        return (f"{self.name}-{row}-{seat}" for row in range(1, self.rows + 1) for seat in seats)

    def last_seat_id(self) -> str:
        """The longest of the ids."""
        return f"{self.name}-{self.rows}-{self.seats_per_row}"


class Settings(Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """What the back end set; None is what it left to the default."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    venue: Annotated[str, Meta(max_length=200)] | None = None
    starts_at: UnixMs | None = None
    capacity: Count | None = None
    admit_per_second: Rate | None = None
    admission_seconds: Seconds | None = None
    hold_seconds: Seconds | None = None
    max_hold_seconds: Seconds | None = None
    max_seats: Annotated[int, Meta(ge=1, le=MAX_SEATS_A_USER)] | None = None


class EventDraft(Settings, frozen=True, kw_only=True):
    """What a ``PUT`` brings. Without seats and sections an event keeps the seats that it has."""

    seats: (
        Annotated[list[SeatId], Meta(max_length=MAX_SEATS, extra_json_schema={"uniqueItems": True})] | None
    ) = None
    sections: Annotated[list[Section], Meta(max_length=MAX_SECTIONS)] | None = None

    def __post_init__(self) -> None:
        """Check what goes over more than one field.

        Raises:
            ValueError: it breaks a rule; says which.
        """
        if self.seats is not None and self.sections is not None:
            raise ValueError("seats, sections: an event has either, not both")
        _check_seats(self.seats or ())
        _check_sections(self.sections or ())

    def seat_ids(self) -> Sequence[str] | None:
        """The whole list of seats; None where the event keeps what it has."""
        if self.sections is None:
            return self.seats
        return [seat for section in self.sections for seat in section.seat_ids()]


def _check_seats(seats: Sequence[str]) -> None:
    bad = next(filterfalse(SEAT_ID.fullmatch, seats), None)
    if bad is not None:
        raise ValueError(f"seats: {bad[:40]!r} is not 1 to 32 characters of A-Z a-z 0-9 . _ -")
    if len(set(seats)) < len(seats):
        raise ValueError("seats: an id stands there twice")


def _check_sections(sections: Sequence[Section]) -> None:
    """Ids of different sections differ: the name is what stands before the last two numbers."""
    if len({section.name for section in sections}) < len(sections):
        raise ValueError("sections: a name stands there twice")
    if sum(section.rows * section.seats_per_row for section in sections) > MAX_SEATS:
        raise ValueError(f"sections: more than {MAX_SEATS} seats")
    for section in sections:
        if not SEAT_ID.fullmatch(section.last_seat_id()):
            raise ValueError(f"sections: {section.last_seat_id()!r} is longer than 32 characters")


class PublicEvent(Struct, rename="camel", frozen=True, kw_only=True):
    """What everyone may see. Sections, or else the seat ids, are there where the event has any."""

    id: str
    title: str
    venue: str | None
    starts_at: UnixMs | None
    max_seats: int
    waiting_room: bool
    seat_count: int
    sections: Raw | UnsetType = UNSET
    seats: Raw | UnsetType = UNSET


class Event(Struct, rename="camel", frozen=True, kw_only=True):
    """An event as the back end reads it, defaults filled in; without ``capacity`` no waiting room."""

    id: str
    title: str
    venue: str | None
    starts_at: UnixMs | None
    capacity: int | None
    admit_per_second: int | float | None
    admission_seconds: int | float | None
    hold_seconds: int | float
    max_hold_seconds: int | float
    max_seats: int
    seat_count: int
    sections: Raw | UnsetType = UNSET
    seats: Raw | UnsetType = UNSET

    def public(self) -> PublicEvent:
        """What everyone may see of it."""
        return PublicEvent(
            id=self.id,
            title=self.title,
            venue=self.venue,
            starts_at=self.starts_at,
            max_seats=self.max_seats,
            waiting_room=self.capacity is not None,
            seat_count=self.seat_count,
            sections=self.sections,
            seats=self.seats,
        )


class Put(NamedTuple):
    """What a `put` came to."""

    created: bool
    event: Event


class _Row(NamedTuple):
    """An event's fields in the store; empty where it has no such field, or it was not asked for."""

    settings: bytes
    sections: bytes
    seat_count: bytes
    catalog: bytes
    seats: bytes = b""


FIELDS = ("settings", "sections", "count", "catalog")
"""What is read of an event; the seat ids are large, and often not wanted."""


class Events:
    """The events in the store."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config
        self._scripts = SaleScripts(store, config)
        self._catalogs: dict[bytes, bytes] = {}
        self._list: asyncio.Task[list[PublicEvent]] | None = None
        self._list_until = 0.0

    async def put(self, event_id: str, draft: EventDraft) -> Put:
        """Create an event, or replace the settings, and where any are given the seats, of one.

        Raises:
            Refused: the holds' times do not fit each other, or there are `MAX_EVENTS` already.
            Unavailable: the store did not answer in time; asking again does no harm.
        """
        self._check_holds(draft)
        if not await self._name(event_id):
            await self.all()  # forgets the names that lead to nothing
            if not await self._name(event_id):
                raise Refused(Code.BAD_MESSAGE, f"there are {MAX_EVENTS} events already")
        settings = msgspec.convert(draft, Settings, from_attributes=True)
        request = secrets.token_hex(8)
        for _ in range(CATALOG_TRIES):
            seating = await self._seating(event_id, draft)
            args = [request, encode(settings), *_flat(settings), *seating.args]
            verdict, *fields = await self._scripts.run("event_put", event_id, args, catalog=seating.catalog)
            self._list = None
            if verdict == b"taken":
                taken = [seating.ids[int(i)] for i in fields]
                raise Refused(Code.SEAT_UNAVAILABLE, "seats that are held or sold stay", {"seats": taken})
            if verdict != b"catalog":
                return Put(verdict == b"created", self._event(event_id, _row(fields)))
        raise Refused(Code.SEAT_UNAVAILABLE, "others change the list of seats at the same time")

    async def _seating(self, event_id: str, draft: EventDraft) -> "_Seating":
        """What a draft makes of the seats there are: new ones behind them, and which are taken out."""
        sections = encode(draft.sections) if draft.sections else ""
        wanted = draft.seat_ids()
        if wanted is None:
            return _Seating(b"", [], ["keep"])
        word, old = await self._store.command("HMGET", keys.event(event_id), "catalog", "seats")
        ids = _ids.decode(old) if old else []
        there, wanted_set = set(filter(None, ids)), set(wanted)
        if word is not None and there == wanted_set:
            return _Seating(word, ids, ["sections", sections])
        out = [i for i, seat in enumerate(ids) if seat and seat not in wanted_set]
        new = [seat if seat in wanted_set else "" for seat in ids] + [s for s in wanted if s not in there]
        if len(new) > 2 * MAX_SEATS:
            raise Refused(Code.BAD_MESSAGE, "seats: changed too often; make a new event")
        args: list[Arg] = ["seats", sections, encode(new) if new else "", len(new), len(wanted), *_runs(out)]
        return _Seating(word or b"", ids, args)

    async def get(self, event_id: str, *, with_seats: bool = False) -> Event | None:
        """Read an event; with the seat ids where asked for, and where it has no sections that say them.

        Raises:
            Unavailable: the store did not answer in time.
        """
        row = await self._read(event_id, *FIELDS)
        if row and with_seats and row.catalog and not row.sections:
            if row.catalog not in self._catalogs:
                row = await self._read(event_id, *FIELDS, "seats")
            row = row and self._with_catalog(row)
        return self._event(event_id, row) if row else None

    async def all(self) -> Sequence[Event]:
        """Read all events, by start and title, without their seat ids.

        Raises:
            Unavailable: the store did not answer in time.
        """
        names = [name.decode() for name in await self._store.command("ZRANGE", keys.EVENTS, 0, -1)]
        found: list[Event] = []
        gone: list[str] = []
        for at in range(0, len(names), READ_AT_ONCE):
            page = names[at : at + READ_AT_ONCE]
            rows = await asyncio.gather(*(self._read(name, *FIELDS) for name in page))
            found += [self._event(name, row) for name, row in zip(page, rows, strict=True) if row]
            gone += [name for name, row in zip(page, rows, strict=True) if not row]
        await self._forget(gone)
        return sorted(found, key=lambda event: (event.starts_at or 0, event.title, event.id))

    async def public(self) -> Sequence[PublicEvent]:
        """All events as everyone may see them; at most two seconds old, whoever asks how often.

        Raises:
            Unavailable: the store did not answer in time.
        """
        if self._list is None or (self._list.done() and time.monotonic() >= self._list_until):
            self._list_until = 0.0
            self._list = asyncio.create_task(self._read_public())
        return await asyncio.shield(self._list)

    async def delete(self, event_id: str) -> bool:
        """Remove an event with its line and seats, and end the histories of its rooms; False where there is
        none.

        Raises:
            Refused: seats are sold.
            Unavailable: the store did not answer in time; asking again does no harm.
        """
        # asked first: a script that runs twice because its answer was lost finds nothing the second time
        if not await self._store.command("EXISTS", keys.event(event_id)):
            return False
        rooms = [f"{namespace}:{event_id}" for namespace in ("event", "queue", "seats", keys.LEDGER)]
        own_keys = [key for k in map(keys.room, rooms) for key in (k.meta, k.stream, k.ids)]
        try:
            answer = await self._scripts.run("event_delete", event_id, rooms, own_keys=own_keys)
        except Unavailable:
            raise
        except Refused:
            answer = [b"ok"]  # another was faster
        if answer == [b"sold"]:
            raise Refused(Code.SEAT_UNAVAILABLE, "an event with sold seats stays; refund them first")
        self._list = None
        await self._forget([event_id])
        return True

    async def create_demo_events(self) -> None:
        """Create the three events of the demo, those that are not there.

        Raises:
            Unavailable: the store did not answer in time.
        """
        for event_id, draft in _demo_events().items():
            if await self.get(event_id) is None:
                await self.put(event_id, draft)

    # --- reading -------------------------------------------------------------------------------------

    async def _read(self, event_id: str, *fields: str) -> _Row | None:
        values = await self._store.command("HMGET", keys.event(event_id), *fields)
        return _row(values) if values[0] is not None else None

    def _with_catalog(self, row: _Row) -> _Row:
        if row.seats:
            # seats taken out of sale have left an empty name
            whole = b'""' not in row.seats
            seats = [] if whole else [*filter(None, _ids.decode(row.seats))]
            self._catalogs[row.catalog] = row.seats if whole else encode(seats) if seats else b""
            if len(self._catalogs) > KEPT_CATALOGS:
                del self._catalogs[next(iter(self._catalogs))]
        return row._replace(seats=self._catalogs.get(row.catalog, b""))

    async def _read_public(self) -> list[PublicEvent]:
        started = time.monotonic()
        shown = [event.public() for event in await self.all()]
        ended = time.monotonic()
        self._list_until = ended + min((ended - started) * LIST_SHARE, LIST_KEPT_SECONDS)
        return shown

    async def _name(self, event_id: str) -> bool:
        """Put an event on the list of all; False where that is full."""
        return await self._store.script("event_index", [keys.EVENTS], [event_id, MAX_EVENTS]) == [b"ok"]

    async def _forget(self, names: Sequence[str]) -> None:
        """Take names that lead to nothing off the list; that can wait for a better moment."""
        if names:
            with contextlib.suppress(Unavailable):
                await self._store.script("event_forget", [keys.EVENTS], [FORGET_AFTER_MS, *names])

    def _event(self, event_id: str, row: _Row) -> Event:
        settings = msgspec.json.decode(row.settings, type=Settings)
        hold, longest = self._hold_times(settings)
        return Event(
            id=event_id,
            title=settings.title,
            venue=settings.venue,
            starts_at=settings.starts_at,
            capacity=settings.capacity,
            admit_per_second=settings.admit_per_second,
            admission_seconds=settings.admission_seconds,
            hold_seconds=_plain(hold),
            max_hold_seconds=_plain(longest),
            max_seats=settings.max_seats or self._config.max_seats,
            seat_count=int(row.seat_count or 0),
            sections=Raw(row.sections) if row.sections else UNSET,
            seats=Raw(row.seats) if row.seats else UNSET,
        )

    # --- the rules that need the options -------------------------------------------------------------

    def _hold_times(self, settings: Settings) -> tuple[float, float]:
        """How long a hold lasts, and how long with extensions; an event's own is by default doubled."""
        hold = settings.hold_seconds
        longest = self._config.max_hold_seconds if hold is None else 2 * hold
        return hold or self._config.hold_seconds, settings.max_hold_seconds or longest

    def _check_holds(self, settings: Settings) -> None:
        hold, longest = self._hold_times(settings)
        if longest < hold:
            raise Refused(Code.BAD_MESSAGE, f"maxHoldSeconds: must not be less than holdSeconds ({hold:g})")


def _plain(seconds: float) -> int | float:
    """``300`` rather than ``300.0``, for readers with whole numbers."""
    return int(seconds) if seconds == int(seconds) else seconds


def _row(values: Sequence[bytes | None]) -> _Row:
    return _Row(*(value or b"" for value in values))


class _Seating(NamedTuple):
    """Which list of seats a change is of, its ids, and what the script is told of the change."""

    catalog: bytes
    ids: list[str]
    args: list[Arg]


_ids = msgspec.json.Decoder(list[str])


def _flat(settings: Settings) -> list[Arg]:
    """The settings that scripts need, as they read them: times in ms, empty where not set."""
    times = (settings.admission_seconds, settings.hold_seconds, settings.max_hold_seconds)
    adm, hold, longest = ("" if t is None else int(t * 1000) for t in times)
    rate = settings.admit_per_second
    plain = (settings.capacity, settings.max_seats, settings.starts_at)
    cap, most, start = ("" if n is None else n for n in plain)
    return [cap, "" if rate is None else repr(rate), adm, hold, longest, most, start]


def _runs(indexes: Sequence[int]) -> list[str]:
    """Indexes in order, as ``from-to`` each."""
    runs: list[list[int]] = []
    for i in indexes:
        if runs and runs[-1][1] == i - 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return [f"{first}-{last}" for first, last in runs]


def _demo_events() -> dict[str, EventDraft]:
    """One to buy at once, one behind a waiting room, and one with many seats; prices in won."""
    return {
        "demo-quartet": EventDraft(
            title="Seorin Quartet: Letters from the Winter Garden",
            venue="Onyu Recital Hall, Seoul",
            sections=[
                Section(name="R", rows=5, seats_per_row=20, price=90_000),
                Section(name="S", rows=10, seats_per_row=20, price=60_000),
            ],
        ),
        "demo-musical": EventDraft(
            title="The Lighthouse Keeper's Daughter, a musical",
            venue="Haneulbit Theatre, Busan",
            capacity=25,
            admit_per_second=2,
            admission_seconds=600,
            sections=[
                Section(name="VIP", rows=10, seats_per_row=30, price=165_000),
                Section(name="R", rows=20, seats_per_row=30, price=120_000),
                Section(name="S", rows=20, seats_per_row=30, price=80_000),
            ],
        ),
        "demo-arena": EventDraft(
            title="Paper Comets: Afterglow Tour",
            venue="Miraebit Arena, Incheon",
            sections=[
                Section(name="FLOOR", rows=20, seats_per_row=50, price=154_000),
                Section(name="EAST", rows=40, seats_per_row=50, price=132_000),
                Section(name="WEST", rows=40, seats_per_row=50, price=132_000),
            ],
        ),
    }
