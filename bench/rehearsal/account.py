"""What one user was told, over all its connections, held against what it was promised. No I/O, no clock."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from bench.rehearsal.promises import Findings, Promise

Frame = dict[str, Any]
JOINED = {"event-joined", "queue-joined", "seats-joined"}


class At(NamedTuple):
    """A position in a room."""

    epoch: str
    offset: int


class Place(StrEnum):
    """Where a user stands."""

    OUTSIDE = "outside"
    WAITING = "waiting"
    ADMITTED = "admitted"


class Holders:
    """Who holds, or has bought, which seat: from the moment when a user was told so until it asks to give it
    back. Within that time nobody else can have been told the same, however late frames come."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._of: dict[str, str] = {}

    def claim(self, user: str, seats: Iterable[str]) -> None:
        """The user was told that these are its."""
        for seat in seats:
            other = self._of.setdefault(seat, user)
            self._findings.check(Promise.HOLDER, other == user, f"{seat} is {user}'s, and {other}'s")

    def let_go(self, user: str, seats: Iterable[str]) -> None:
        """The user asks to give these back: from now on somebody else may have them."""
        for seat in seats:
            if self._of.get(seat) == user:
                del self._of[seat]


class Account:
    """One user's."""

    def __init__(self, user: str, event: str, holders: Holders, findings: Findings) -> None:
        self.user = user
        self.positions: dict[str, At] = {}
        self.board: dict[str, str] = {}
        """Seat -> ``held`` or ``sold``, from snapshots and updates."""
        self.place = Place.OUTSIDE
        self.position = 0
        self.held: set[str] = set()
        self.sold: set[str] = set()
        self.numbers: list[int] = []
        """The numbered messages, as they came."""
        self.instance = ""
        self.socket_id = ""
        self._event = event
        self._holders = holders
        self._findings = findings
        self._is_leaving = False
        self._asked: dict[str, At] = {}
        self._parting: set[str] = set()
        """Held seats that it has asked to give back, or to pay for."""

    # --- what it does ---

    def leaves(self) -> None:
        """It asks to leave the line, or the sale."""
        self._is_leaving = True

    def has_left(self) -> None:
        """It stands nowhere any more."""
        self.place, self.position = Place.OUTSIDE, 0
        self.positions.pop(f"queue:{self._event}", None)
        self._is_leaving = False

    def releases(self) -> None:
        """It asks to give back all it holds."""
        self._parting |= self.held
        self._holders.let_go(self.user, self.held)

    def pays(self) -> set[str]:
        """It asks to buy what it holds."""
        self._parting |= self.held
        return set(self.held)

    def has_paid(self, seats: set[str]) -> None:
        """The booking stands."""
        self.held -= seats
        self.sold |= seats
        self._parting -= seats

    def resume(self) -> dict[str, dict[str, Any]]:
        """What it says to come back: it is judged by this what it is told then."""
        self._asked = dict(self.positions)
        return {room: at._asdict() for room, at in self.positions.items()}

    # --- what it is told ---

    def hear(self, frame: Frame) -> None:
        """Take over what a frame says."""
        kind = frame["type"]
        if kind == "connected":
            self._greeted(frame)
        elif kind == "session-restored":
            self._restored(frame)
        elif kind == "room-reset":
            self._broken(Promise.MESSAGE, f"{frame['room']} was reset")
            self._stand(frame)
        elif kind in JOINED or kind == "seats-snapshot":
            self._stand(frame)
            if "snapshot" in frame:
                self.board = look(frame["snapshot"])
        elif kind in {"message", "seats-updated"}:
            self._advance(frame)
        if frame.get("eventId") == self._event:
            self._sale(kind, frame)

    def _greeted(self, frame: Frame) -> None:
        self.user, self.instance, self.socket_id = frame["userId"], frame["instance"], frame["socketId"]
        if not self._asked:
            self._stand(frame["userRoom"])

    def _restored(self, frame: Frame) -> None:
        told = {room["room"]: room for room in frame["rooms"]}
        for name, was in self._asked.items():
            room = told.get(name, {"error": "missing"})
            if "error" in room:
                self._is_out(name, room["error"])
                continue
            begins = room["offset"] - room["missed"]
            is_whole = bool(room["recovered"]) and begins == was.offset
            self._check(Promise.SESSION, True, "")
            self._check(Promise.MESSAGE, is_whole, f"was at {was}, and is back as {room}")
            self.positions[name] = At(room["epoch"], begins)
        for name in told.keys() - self._asked.keys():
            # of an earlier visit, or of another connection
            if "error" not in told[name]:
                self._stand(told[name])
        self._stands_again(frame["queue"])
        self._holds((frame["seats"] or {}).get("held", []))

    def _is_out(self, name: str, error: str) -> None:
        """A room was not brought back: right only for a line that it was leaving, and may have been told
        meanwhile that it has left."""
        is_left = name == f"queue:{self._event}" and (self._is_leaving or name not in self.positions)
        self._check(Promise.SESSION, is_left, f"back in {name}: {error}")
        self.positions.pop(name, None)

    def _stands_again(self, queue: Frame | None) -> None:
        """What the store says of the place, on coming back."""
        if self.place is not Place.OUTSIDE:
            is_there = queue is not None or self._is_leaving
            self._check(Promise.PLACE, is_there, f"was {self.place} at {self.position}, and has no place")
        if queue is None:
            self.has_left()
        else:
            self._stands(queue)

    def _stand(self, frame: Frame) -> None:
        """A position that the server told; what was missed is still to come."""
        missed = frame["missed"] if frame.get("recovered") else 0
        self.positions[frame["room"]] = At(frame["epoch"], frame["offset"] - missed)

    def _advance(self, frame: Frame) -> None:
        room, offset = frame["room"], frame["offset"]
        at = self.positions.get(room)
        if at is None:
            self._broken(Promise.SESSION, f"{room}: {offset} came without having joined")
            return
        self._check(Promise.ONCE, offset > at.offset, f"{room}: {offset} came after {at.offset}")
        self._check(Promise.MESSAGE, offset <= at.offset + 1, f"{room}: {offset} came after {at.offset}")
        self.positions[room] = At(frame.get("epoch", at.epoch), offset)
        if frame["type"] == "seats-updated":
            fold(self.board, frame["seats"])
        elif room == f"event:{self._event}":
            self._counts(frame["data"]["n"])

    def _counts(self, number: int) -> None:
        """One of the numbered messages: the first that it hears may be any, then each in turn."""
        if self.numbers:
            expected = self.numbers[-1] + 1
            self._check(Promise.ONCE, number >= expected, f"message {number} came after {expected - 1}")
            self._check(Promise.MESSAGE, number <= expected, f"message {number} came after {expected - 1}")
        self.numbers.append(number)

    # --- the sale ---

    def _sale(self, kind: str, frame: Frame) -> None:
        if kind in {"queue-joined", "queue-updated"}:
            self._stands(frame)
        elif kind == "queue-entry-allowed":
            self._stands({"status": Place.ADMITTED})
        elif kind == "queue-left":
            self._check(Promise.PLACE, self._is_leaving, f"was {self.place}, and was told {frame}")
            self.has_left()
        elif kind == "seats-left":
            self.positions.pop(f"seats:{self._event}", None)
        elif "held" in frame:
            self._holds(frame["held"])
        elif kind == "seats-expired":
            self._holds(self.held - set(frame["seats"]))

    def _stands(self, told: Frame) -> None:
        place = Place(told.get("status", Place.WAITING))
        position = told["position"] if place is Place.WAITING else 0
        was, before = self.place, self.position
        if was is Place.ADMITTED:
            self._check(Promise.PLACE, place is was, f"was let in, and waits at {position}")
        elif was is Place.WAITING:
            self._check(Promise.ORDER, position <= before, f"position {before} became {position}")
        self.place, self.position = place, position

    def _holds(self, seats: Iterable[str]) -> None:
        """All that the user now holds; what is missing it must have asked to part with."""
        # what was read before the booking may come after it
        now = set(seats) - self.sold
        lost = self.held - now - self._parting
        if self.held:
            self._check(Promise.SEAT, not lost, f"held {sorted(self.held)}, and now {sorted(now)}")
        self._holders.claim(self.user, now - self._parting)
        self.held = now
        self._parting &= now

    def _check(self, promise: Promise, is_kept: bool, breach: str) -> None:
        self._findings.check(promise, is_kept, breach if is_kept else f"{self.user}: {breach}")

    def _broken(self, promise: Promise, breach: str) -> None:
        self._check(promise, False, breach)


def fold(board: dict[str, str], seats: dict[str, str]) -> None:
    """Apply what has changed."""
    for seat, state in seats.items():
        if state == "available":
            board.pop(seat, None)
        else:
            board[seat] = state


def look(snapshot: Frame) -> dict[str, str]:
    """Seat -> state, of those that are not available."""
    return {seat: state for state in ("held", "sold") for seat in snapshot[state]}
