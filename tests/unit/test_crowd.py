"""Positions counted from the ledger: pure, against a line that is simply counted."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.crowd import Crowd
from session.recovery import Position
from session.waiting_room import ADMITTED, WAITING, Figures, Place, Tally

FIGURES = Figures(10, 10, 0, 0, 0, 0, 5, 1000, paused=False, tally=Tally())
STILL = FIGURES._replace(moved=0)


class Ears:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def on_admitted(self, event_id: str, user_id: str, until: int | None) -> None:
        self.told.append(("admitted", user_id, str(until)))

    def on_left(self, event_id: str, user_id: str, by: str, why: str) -> None:
        self.told.append(("left", user_id, by, why))

    def on_restart(self, event_id: str) -> None:
        self.told.append(("restart",))


def waiting(seq: int, position: int, offset: int) -> Place:
    return Place(WAITING, seq, position, None, Position("e", offset), FIGURES, "made")


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def crowd(ears: Ears) -> Crowd:
    return Crowd("42", ears, 0)


def told(crowd: Crowd, figures: Figures = FIGURES) -> dict[str, int]:
    """Whom a count tells which position, when it is long ago that they were told."""
    return {user: waiter.position for user, waiter in crowd.count(figures, float("inf"))}


def test_everyone_moves_up_by_those_before(crowd: Crowd, ears: Ears) -> None:
    """Who was let in, and who left, from before; who is behind them has not moved."""
    for n, user in enumerate("abcd", 1):
        crowd.put(user, waiting(10 * n, n, 0))
    crowd.moving = True

    crowd.took(1, b"A 0 10 a")
    crowd.took(2, b"L 30 c sock left\nL 99 stranger - expired")

    assert {"b": 1, "d": 2} == told(crowd)
    assert {} == told(crowd)
    assert [
        ("admitted", "a", "None"),
        ("left", "c", "sock", "left"),
        ("left", "stranger", "-", "expired"),
    ] == ears.told
    assert ADMITTED == crowd.users["a"].status


def test_an_answer_that_comes_late_is_brought_up_to_date(crowd: Crowd) -> None:
    """What went since its offset is taken off; what it knew already is not taken off twice."""
    crowd.took(1, b"A 0 1 x")
    crowd.took(2, b"A 0 2 y\nA 0 9 z")

    late = crowd.fold("b", waiting(5, 4, 1))
    known = crowd.fold("c", waiting(6, 3, 2))
    assert late is not None
    assert known is not None
    crowd.put("b", late)
    crowd.put("c", known)
    crowd.moving = True
    crowd.took(3, b"A 0 3 w")

    assert (3, 3) == (late.position, known.position)
    assert {"b": 2, "c": 2} == told(crowd)


def test_an_answer_that_the_ledger_has_overtaken(crowd: Crowd) -> None:
    """Let in meanwhile: it says so. Out of the line meanwhile, or older than what was heard: ask again."""
    crowd.begin(5)
    crowd.took(6, b"A 777 3 b")
    crowd.took(7, b"L 4 c - removed")

    now = crowd.fold("b", waiting(3, 1, 5))

    assert now is not None
    assert (ADMITTED, 777) == (now.status, now.until)
    assert crowd.fold("c", waiting(4, 2, 5)) is None
    assert crowd.fold("d", waiting(5, 2, 4)) is None


def test_news_of_an_earlier_place_is_no_news(crowd: Crowd, ears: Ears) -> None:
    """Who left and joined again is not put out by the word of its leaving."""
    crowd.put("a", waiting(7, 1, 3))

    crowd.took(3, b"L 2 a - left")

    assert "a" in crowd.users
    assert [] == ears.told


def test_an_end_that_is_known_before_it_is_heard_is_told_once(crowd: Crowd, ears: Ears) -> None:
    """The answer to a leaving may be quicker than the ledger; what comes after it is told as ever."""
    crowd.put("a", waiting(2, 1, 0))
    assert crowd.drop_before("a", 2)
    assert crowd.end_early("a", 2)
    assert not crowd.end_early("a", 2)

    crowd.took(1, b"A 0 1 b")
    crowd.took(2, b"L 2 a s left\nL 3 b t left")
    assert [("left", "b", "t", "left")] == ears.told
    crowd.took(3, b"L 5 a - removed")

    assert ("left", "a", "-", "removed") == ears.told[-1]
    assert not crowd.end_early("a", 3)


def test_everyone_is_told_when_it_becomes_known_how_long_it_takes(crowd: Crowd) -> None:
    """And when it is unknown again, as in a pause; otherwise only who has moved."""
    crowd.put("a", waiting(1, 1, 0))

    assert {"a": 1} == told(crowd, FIGURES)
    assert {} == told(crowd, FIGURES)
    assert {"a": 1} == told(crowd, STILL)


def test_who_is_far_back_is_told_more_rarely(crowd: Crowd) -> None:
    """And then where it stands by then."""
    crowd.put("near", waiting(10, 10, 0))
    crowd.put("far", waiting(20_000, 20_000, 0))
    crowd.moving = True
    heard: list[list[str]] = []
    for second in range(1, 12):
        crowd.took(second, f"A 0 {second} x{second}".encode())
        heard.append([user for user, _ in crowd.count(FIGURES, float(second))])

    assert all("near" in users for users in heard[:9])
    assert 2 <= sum("far" in users for users in heard) <= 4


class Event(NamedTuple):
    kind: str
    index: int


class Line:
    """What the store would say: users in order, and the ledger so far."""

    def __init__(self) -> None:
        self.seq = 0
        self.offset = 0
        self.line: list[tuple[int, str]] = []

    def join(self) -> tuple[str, Place]:
        self.seq += 1
        user = f"u{self.seq}"
        self.line.append((self.seq, user))
        return user, waiting(self.seq, len(self.line), self.offset)

    def remove(self, index: int, admitted: bool) -> bytes:
        self.offset += 1
        seq, user = self.line.pop(index % len(self.line))
        return f"A 0 {seq} {user}".encode() if admitted else f"L {seq} {user} - left".encode()


events = st.lists(
    st.builds(Event, st.sampled_from(["join", "late join", "admit", "leave", "count"]), st.integers(0, 50))
)


@given(events)
def test_positions_are_those_of_the_line(happenings: list[Event]) -> None:
    """Whatever comes in whatever order, also answers that are older than what was heard: after a count each
    stands where it stands, and nobody was ever told to have fallen back."""
    line, crowd = Line(), Crowd("42", Ears(), 0)
    late: list[tuple[str, Place]] = []
    before: dict[str, int] = {}

    def settle() -> Iterator[tuple[str, int]]:
        while late:
            user, place = late.pop()
            now = crowd.fold(user, place)
            if now is not None and now.status == WAITING:
                crowd.put(user, now)
                yield user, now.position

    def check() -> None:
        moved = [(user, waiter.position) for user, waiter in crowd.count(FIGURES, float("inf"))]
        for user, position in moved:
            assert position <= before.get(user, position)
            before[user] = position
        truth = {user: at for at, (_, user) in enumerate(line.line, 1)}
        known = {user: w.position for user, w in crowd.users.items() if w.status == WAITING}
        assert {user: truth[user] for user in known} == known

    for kind, index in happenings:
        if kind == "join":
            user, place = line.join()
            crowd.put(user, place)
            before[user] = place.position
        elif kind == "late join":
            late.append(line.join())
        elif kind == "count":
            before |= settle()
            check()
        elif line.line:
            entry = line.remove(index, kind == "admit")
            crowd.took(line.offset, entry)
    before |= settle()
    check()
