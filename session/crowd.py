"""The users of one line who are connected to this server: where each stands, counted from the ledger.

Nobody asks the store for a position: the ledger says who has gone, and each has as many fewer ahead as went
from before it. Pure, but for the ears that are told.
"""

import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from session.waiting_room import ADMITTED, WAITING, Figures, Place

TOLD_EVERY = ((500, 1.0), (5_000, 2.0))
"""Up to which position a waiter is told each second, or each two; each `SELDOM_SECONDS` beyond."""
SELDOM_SECONDS = 5.0
KEPT_ENTRIES = 5_000
"""Changes remembered for those whose answer is still on its way."""


class Change(NamedTuple):
    """One line of the ledger: ``A`` let in, ``L`` out of the line, ``E`` an admission has ended."""

    offset: int
    kind: str
    seq: int
    user_id: str
    until: int
    by: str
    why: str


class Ears(Protocol):
    """Who is told what happens to users here."""

    def on_admitted(self, event_id: str, user_id: str, until: int | None) -> None:
        """It was let in."""

    def on_left(self, event_id: str, user_id: str, by: str, why: str) -> None:
        """Its place or admission is gone; ``by`` is the socket that asked for it."""

    def on_restart(self, event_id: str) -> None:
        """The ledger begins anew: where everyone stands must be read again."""


class Waiter:
    """A user here: ``base`` is the ledger's offset that its position is of, if later than the last count."""

    __slots__ = ("base", "joined_at", "made", "next_at", "position", "seq", "status", "told", "until")

    def __init__(self, place: Place) -> None:
        self.status = place.status
        self.seq = place.seq
        self.position = self.told = place.position
        self.until = place.until
        self.base = place.ledger.offset
        self.made = place.made
        self.joined_at: float | None = None
        """When it took the place, if it did so here; on the same clock as below."""
        self.next_at = 0.0
        """When it may be told its position again, on the clock that `Crowd.count` is given."""

    def is_over(self, now: Place) -> bool:
        """Whether a place that is read now is a later one; of who was let in, and is, that cannot be said."""
        return self.made != now.made or (now.status == WAITING and self.seq != now.seq)


class Crowd:
    """The local users of one line; the ledger's `Follower`."""

    def __init__(self, event_id: str, ears: Ears, since: int) -> None:
        self._ears = ears
        self._changes: deque[Change] = deque(maxlen=KEPT_ENTRIES)
        self._order: list[tuple[int, str]] = []
        self._gone: list[tuple[int, int]] = []
        """(offset, seq) of who left the line since the last count."""
        self._since = since
        """All changes after this offset were heard."""
        self._hi = since
        self.event_id = event_id
        self.users: dict[str, Waiter] = {}
        self.here: set[str] = set()
        """Users of whom the store knows, or may, that they are connected here."""
        self.unsure: set[str] = set()
        """Users who came with an answer that was too old to be of use: their place is being read again."""
        self._ended: dict[str, int] = {}
        """Users whose place is known to have ended by that offset, which was not heard yet."""
        self.in_use = True
        """Whether somebody came to it since it was last looked at: its answer may be on the way."""
        self.moving = False
        """Whether those in the line were told how long it takes."""

    # --- the ledger ---

    def took(self, offset: int, private: bytes) -> None:
        """Take one entry of the ledger."""
        self._hi = offset
        for line in private.decode().split("\n"):
            change = _change(offset, line)
            if len(self._changes) == KEPT_ENTRIES:
                self._since = self._changes[0].offset
            self._changes.append(change)
            if change.kind != "E" and change.seq:
                self._gone.append((offset, change.seq))
            waiter = self.users.get(change.user_id)
            told = self._ended.get(change.user_id, 0) if waiter is None else waiter.base
            if told < offset:
                self._tell(change)
        while self._ended and next(iter(self._ended.values())) <= offset:
            del self._ended[next(iter(self._ended))]

    def _tell(self, change: Change) -> None:
        waiter = self.users.get(change.user_id)
        if change.kind != "A":
            self.drop(change.user_id)
            self._ears.on_left(self.event_id, change.user_id, change.by, change.why)
        elif waiter is not None:
            self._admitted(change.user_id, waiter, change.until or None)

    def _admitted(self, user_id: str, waiter: Waiter, until: int | None) -> None:
        self._unorder(user_id, waiter)
        waiter.status, waiter.until = ADMITTED, until
        self._ears.on_admitted(self.event_id, user_id, until)

    def restarted(self) -> None:
        """What was heard so far is of another history."""
        self._changes.clear()
        self._gone.clear()
        self._ended.clear()
        self._ears.on_restart(self.event_id)

    def has_heard(self, offset: int) -> bool:
        """Whether the ledger was heard up to ``offset``."""
        return self._hi >= offset

    def has_ended(self, user_id: str, since: int) -> bool:
        """Whether it was heard that a place has ended which a user had at that offset."""
        return any(
            change.user_id == user_id and change.kind != "A" and change.offset > since
            for change in self._changes
        )

    def begin(self, offset: int) -> None:
        """The ledger is open: all changes after this offset are heard."""
        self._since = self._hi = offset

    def first_frame(self) -> None:
        """Nobody but servers reads a ledger."""

    # --- users ---

    def fold(self, user_id: str, place: Place) -> Place | None:
        """A place as it is by now: its answer may be older than what was heard since. None where what was
        heard does not reach back so far, or the place is gone again: then it must be read again."""
        if place.ledger.offset < self._since:
            return None
        status, until, ahead = place.status, place.until, 0
        for change in self._changes:
            if change.offset <= place.ledger.offset:
                continue
            if change.user_id == user_id:
                if change.kind != "A":
                    return None
                status, until = ADMITTED, change.until or None
            elif change.kind != "E" and 0 < change.seq < place.seq:
                ahead += 1
        ledger = place.ledger._replace(offset=max(self._hi, place.ledger.offset))
        position = place.position - ahead if place.status == WAITING else 0
        return place._replace(status=status, until=until, position=position, ledger=ledger)

    def put(self, user_id: str, place: Place) -> Waiter | None:
        """Write down where a user stands, as of a fold; returns what was known of it before."""
        before = self.drop(user_id)
        waiter = self.users[user_id] = Waiter(place)
        waiter.joined_at = before.joined_at if before is not None else None
        if place.status == WAITING:
            insort(self._order, (place.seq, user_id))
        return before

    def newest(self, user_id: str, place: Place) -> Place | None:
        """A place that was written down a while ago as it is by now; None where it is gone."""
        waiter = self.users.get(user_id)
        if waiter is None:
            return place if user_id in self.unsure else None
        position = waiter.position if waiter.status == WAITING else 0
        if position and place.status == WAITING and not waiter.is_over(place):
            position = min(place.position, position)
        return place._replace(status=waiter.status, until=waiter.until, position=position)

    def drop(self, user_id: str) -> Waiter | None:
        """A user has no place any more, or is not here; returns what was known of it."""
        self.unsure.discard(user_id)
        waiter = self.users.pop(user_id, None)
        if waiter is not None:
            self._unorder(user_id, waiter)
        return waiter

    def drop_before(self, user_id: str, offset: int) -> bool:
        """Drop a user, unless it was put down later than that; whether it is not there any more."""
        waiter = self.users.get(user_id)
        if waiter is None or waiter.base < offset:
            self.drop(user_id)
            return True
        return False

    def end_early(self, user_id: str, offset: int) -> bool:
        """A dropped user's place has ended by that offset; whether that was not heard yet, nor known: then it
        is told now, and not when it is heard, as something later may be told before."""
        is_early = not self.has_heard(offset) and self._ended.get(user_id, 0) < offset
        if is_early:
            # those behind it in the table are forgotten no later than it
            self._ended.pop(user_id, None)
            self._ended[user_id] = offset
        return is_early

    def _unorder(self, user_id: str, waiter: Waiter) -> None:
        at = bisect_left(self._order, (waiter.seq, user_id))
        if at < len(self._order) and self._order[at] == (waiter.seq, user_id):
            del self._order[at]

    # --- positions ---

    @property
    def is_shorter(self) -> bool:
        """Whether somebody left the line since the last count, and somebody here stands in it."""
        return bool(self._gone and self._order)

    def count(self, figures: Figures, now: float) -> Iterable[tuple[str, Waiter]]:
        """Move everyone up by those who have gone from before; yields whom to tell: who has moved, those far
        back more rarely, and everyone where it became known how long it takes, or unknown."""
        gone, self._gone = self._gone, []
        first = gone[0][0] if gone else 0
        seqs = sorted(seq for _, seq in gone)
        turned, self.moving = figures.is_moving != self.moving, figures.is_moving
        passed = 0
        for seq, user_id in list(self._order):
            waiter = self.users[user_id]
            while passed < len(seqs) and seqs[passed] < seq:
                passed += 1
            if waiter.base < first:
                waiter.position -= passed
            else:
                # it came between them: what it was told counts some of them already
                waiter.position -= sum(at > waiter.base and s < seq for at, s in gone)
            if (waiter.position != waiter.told and now >= waiter.next_at) or turned:
                waiter.told = waiter.position
                waiter.next_at = now + _pause(waiter.position)
                yield user_id, waiter


def _pause(position: int) -> float:
    """Seconds until the next word of a position; a part of it by chance, so that not all hear at once."""
    seconds = next((s for limit, s in TOLD_EVERY if position <= limit), SELDOM_SECONDS)
    return seconds * random.uniform(0.7, 1) if seconds > 1 else 0.0


def _change(offset: int, line: str) -> Change:
    kind, *rest = line.split(" ")
    if kind == "A":
        until, seq, user_id = rest
        return Change(offset, kind, int(seq), user_id, int(until), "", "")
    if kind == "L":
        seq, user_id, by, why = rest
        return Change(offset, kind, int(seq), user_id, 0, by, why)
    user_id, by, why = rest
    return Change(offset, kind, 0, user_id, 0, by, why)
