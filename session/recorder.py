"""The flight recorder: the last life-cycle events of each user, over all servers.

What a script does to a user it notes itself, in the same step. What servers see happen they note here, which
never waits and never fails: while the store is away notes are kept, a limited number, and then written.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from session import keys
from session.config import Config
from session.connection import Connection
from session.manager import Socket
from session.metrics import Metrics
from session.protocol import Close
from session.store import Arg, Store, Unavailable

log = logging.getLogger(__name__)

MOST = 50
"""Notes that are kept of a user; ``lua/prelude.lua`` has the same number."""
MOST_WAITING = 20_000
"""Notes that wait to be written."""
BATCH = 100
USERS_AT_ONCE = 20
"""Whose notes one script writes: that takes the store half a millisecond."""
RETRY_SECONDS = 1.0
MOST_SEATS = 8
"""Seats that a note names; how many there were it says beside."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "refused": ("instance", "reason"),
    "restored": ("instance", "socketId", "from", "rooms", "reset", "missed"),
    "renewed": ("instance", "socketId", "tokenExpiresAt"),
    "closed": ("instance", "socketId", "code", "by", "reason", "connectedAt"),
    "replaced": ("instance", "socketId", "connectedAt"),
    "removed": ("instance", "socketId", "connectedAt"),
    "lost": ("instance", "socketId", "connectedAt"),
    "room": ("change", "room"),
    "queue": ("eventId", "change"),
    "seats": ("eventId", "change", "count", "seats"),
}
"""What the words of a note are, by the first of them."""
NUMBERS = frozenset({"rooms", "reset", "missed", "tokenExpiresAt", "code", "connectedAt", "count"})
NONE = "-"


class _Note(NamedTuple):
    at: int
    what: str
    subject: str


_Notes = Mapping[str, Sequence[_Note]]
"""User -> notes."""


class Recorder:
    """Writes and reads what befell users. `run` it as a task."""

    def __init__(self, store: Store, config: Config, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._ttl_ms = int(config.session_ttl * 1000)
        self._waiting: dict[str, deque[_Note]] = {}
        self._count = 0
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    def note(self, user_id: str, what: str, subject: str = "") -> None:
        """Something befell a user; ``what`` is words as `FIELDS` names them. Of those that begin with
        ``subject`` only a change is noted: several servers may hear of one and the same."""
        if self._count >= MOST_WAITING:
            self._metrics.notes_lost.inc()
            return
        self._put(user_id, [_Note(self._store.clock.now_ms(), what, subject)])
        self._settled.clear()
        self._wanted.set()

    def queue(self, user_id: str, event_id: str, change: str) -> None:
        """A place in a line: ``waiting``, ``admitted``; ``left``, ``removed``, ``expired``, ``closed``, or
        ``gone`` where it was not seen how."""
        self.note(user_id, f"queue {event_id} {change}", f"queue {event_id} ")

    def seats(self, user_id: str, event_id: str, change: str, seats: Sequence[str]) -> None:
        """A hold: ``held``, ``extended``, ``released`` (with what is held from then on), ``expired``,
        ``booked``, or ``gone`` where it was not seen how."""
        named = f" {len(seats)} {','.join(seats[:MOST_SEATS])}" if seats else ""
        self.note(user_id, f"seats {event_id} {change}{named}", f"seats {event_id} ")

    async def run(self) -> None:
        """Write what is noted, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                if not await self._write_batch():
                    await asyncio.sleep(RETRY_SECONDS)
            self._settled.set()

    async def settled(self) -> None:
        """Wait until everything that was noted is written."""
        await self._settled.wait()

    async def read(self, user_id: str) -> list[str]:
        """The notes of a user, newest first.

        Raises:
            Unavailable: the store did not answer in time.
        """
        found = await self._store.command("LRANGE", keys.user(user_id).recorder, 0, MOST - 1)
        return [note.decode() for note in found]

    # --- within ---

    def _put(self, user_id: str, notes: Iterable[_Note]) -> None:
        waiting = self._waiting.setdefault(user_id, deque(maxlen=MOST))
        before = len(waiting)
        waiting.extend(notes)
        self._count += len(waiting) - before

    async def _write_batch(self) -> bool:
        """Write the notes of some users; False where the store is away, and they wait on."""
        batch = dict(islice(self._waiting.items(), BATCH))
        for user_id, notes in batch.items():
            del self._waiting[user_id]
            self._count -= len(notes)
        groups = list(self._groups(batch))
        results = await asyncio.gather(*map(self._write, groups), return_exceptions=True)
        is_away = False
        for group, result in zip(groups, results, strict=True):
            if isinstance(result, Unavailable):
                is_away = True
                self._put_back(group)
            elif isinstance(result, BaseException):
                # a diary is worth no more than that: nobody else is to suffer
                self._lose(group, result)
        return not is_away

    def _put_back(self, group: _Notes) -> None:
        for user_id, notes in group.items():
            newer = self._waiting.pop(user_id, ())
            self._count -= len(newer)
            self._put(user_id, (*notes, *newer))

    def _lose(self, group: _Notes, why: BaseException | None = None) -> None:
        for user_id, notes in group.items():
            log.error(
                "what befell a user could not be noted",
                exc_info=why,
                extra={"fields": {"user": user_id}},
            )
            self._metrics.notes_lost.inc(len(notes))

    def _groups(self, batch: _Notes) -> Iterator[_Notes]:
        """Those that one script may write: their keys must be in one slot, and it must not take long."""
        groups: dict[str, list[str]] = {}
        for user_id in batch:
            groups.setdefault(keys.bucket(user_id) if self._store.nodes.has_slots else "", []).append(user_id)
        for users in groups.values():
            for at in range(0, len(users), USERS_AT_ONCE):
                yield {user_id: batch[user_id] for user_id in users[at : at + USERS_AT_ONCE]}

    async def _write(self, group: _Notes) -> None:
        users = list(group)
        args: list[Arg] = [self._ttl_ms]
        for number, user_id in enumerate(users, start=1):
            for note in group[user_id]:
                args += (number, *note)
        answer = await self._store.script("recorder_note", [keys.user(user).recorder for user in users], args)
        unreadable = {users[int(number) - 1] for number in answer[1:]}
        self._lose({user_id: group[user_id] for user_id in unreadable})


# --- the words of notes ---


def closing(connection: Connection, instance: str, by: str) -> str:
    """How a connection of this server has ended; ``by`` is ``server``, ``client`` or ``network``. The script
    that unmaps it adds since when it was there."""
    # what a client gives as a reason is not repeated: it may say anything
    code, reason = connection.close_code or int(Close.RESTART), connection.close_reason or NONE
    return f"closed {instance} {connection.socket_id} {code} {by} {reason}"


def lost(instance: str, socket_id: str) -> str:
    """A connection was found that a dead server has left behind."""
    return f"lost {instance} {socket_id}"


# --- what operators read ---


class Happened(Struct, rename="camel", frozen=True, kw_only=True):
    """Something befell a user, at a time (Unix ms); which other fields it has goes by its ``type``."""

    at: int
    type: str
    instance: str | UnsetType = UNSET
    socket_id: str | UnsetType = UNSET
    code: int | UnsetType = UNSET
    by: str | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    from_: str | UnsetType | None = field(default=UNSET, name="from")
    rooms: int | UnsetType = UNSET
    reset: int | UnsetType = UNSET
    missed: int | UnsetType = UNSET
    token_expires_at: int | UnsetType = UNSET
    room: str | UnsetType = UNSET
    event_id: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    seats: list[str] | UnsetType = UNSET


def history(notes: Iterable[str], sockets: Iterable[Socket]) -> list[Happened]:
    """A user's events, newest first, from its notes and the connections that it has now.

    That a connection came is no note of its own: it is told by how it ended, or by its being there.
    """
    events, came = [], {s.socket_id: _came(s.socket_id, s.instance, s.connected_at) for s in sockets}
    for note in notes:
        words = _words(note)
        at = words.pop("connectedAt", 0)
        if at:
            came.setdefault(words["socketId"], _came(words["socketId"], words["instance"], at))
        events.append(msgspec.convert(words, Happened))
    # servers' clocks follow the store's within milliseconds; notes may have waited for the store
    return sorted((*events, *came.values()), key=lambda event: -event.at)[:MOST]


def _came(socket_id: str, instance: str, at: int) -> Happened:
    return Happened(at=at, type="connected", instance=instance, socket_id=socket_id)


def _words(note: str) -> dict[str, Any]:
    """A note by the names of its words."""
    at, kind, *rest = note.split(" ")
    words: dict[str, Any] = {"at": int(at), "type": kind}
    # a newer server may note what this one does not know
    for name, word in zip(FIELDS.get(kind, ()), rest, strict=False):
        words[name] = int(word) if name in NUMBERS else None if word == NONE else word
    if "change" in words:
        words["type"] = f"{kind}-{words.pop('change')}"
    if "seats" in words:
        words["seats"] = words["seats"].split(",")
    return words
