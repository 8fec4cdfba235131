"""A room's log against a plain list, which is what it must look like from outside."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from session.log import Log
from session.recovery import Position, Verdict

FRAMES = st.binary(min_size=1, max_size=40)


def made(*frames: bytes, most: int = 100, most_bytes: int = 10_000) -> Log:
    """A log of epoch A that begins after offset 10, and whose readers have been sent everything."""
    log = Log(most, most_bytes)
    log.reset(Position("A", 10), {"Z": 4})
    for frame in frames:
        log.append(frame)
    log.trim(log.hi)
    return log


def test_takes_what_is_next() -> None:
    """Deliver, and the cursor has moved; anything else leaves it."""
    log = made()

    verdicts = [log.offer("A", 11, b"x"), log.offer("A", 11, b"x"), log.offer("A", 13, b"z")]

    assert [Verdict.DELIVER, Verdict.DUPLICATE, Verdict.GAP] == verdicts
    assert Position("A", 11) == log.position
    assert (b"x", 11) == log.after(10, 1000)


def test_another_epoch_is_a_gap() -> None:
    """Whatever its offset: only the store's chain tells how it goes on."""
    log = made()

    verdicts = [log.offer("B", offset, b"x") for offset in (9, 10, 11, 12)]

    assert [Verdict.GAP] * 4 == verdicts
    assert Position("A", 10) == log.position


def test_keeps_the_newest_frames() -> None:
    """By number and by bytes; the cursor does not care."""
    by_number = made(b"a", b"b", b"c", most=2)
    by_bytes = made(b"aaaa", b"bbb", b"cc", most_bytes=5)

    assert (11, 13) == (by_number.lo, by_number.hi)
    assert (b"bc", 13) == by_number.after(11, 1000)
    assert (11, 13) == (by_bytes.lo, by_bytes.hi)


def test_reaches_back() -> None:
    """What came before is taken in where it meets the ring, and once; readers there are then covered."""
    log = made(b"k", b"l")

    before = log.covers(Position("A", 7))
    log.reach_back(7, [b"h", b"i", b"j", b"k"])
    log.reach_back(7, [b"h", b"i", b"j", b"k"])

    assert not before
    assert log.covers(Position("A", 7))
    assert not log.covers(Position("A", 6))
    assert (b"hijkl", 12) == log.after(7, 1000)
    assert (7, 12) == (log.lo, log.hi)


def test_an_empty_ring_reaches_back() -> None:
    """As on a server that has just opened the room."""
    log = made()

    log.reach_back(8, [b"i", b"j"])

    assert (b"ij", 10) == log.after(8, 1000)
    assert Verdict.DELIVER is log.offer("A", 11, b"k")
    assert (b"ijk", 11) == log.after(8, 1000)


@pytest.mark.parametrize(
    ("at", "frames", "limits"),
    [
        (6, [b"g", b"h"], {}),
        (7, [b"h", b"i", b"j"], {"most": 4}),
        (7, [b"h", b"i", b"j"], {"most_bytes": 4}),
        (11, [b"l"], {}),
    ],
    ids=["a gap", "too many", "too large", "nothing new"],
)
def test_does_not_reach_back(at: int, frames: list[bytes], limits: dict[str, int]) -> None:
    """Over a gap, or beyond what a ring may hold."""
    log = made(b"k", b"l", **limits)

    log.reach_back(at, frames)

    assert (10, 12) == (log.lo, log.hi)
    assert (b"kl", 12) == log.after(10, 1000)


def test_a_frame_larger_than_the_ring_is_not_kept() -> None:
    """It is counted all the same: readers read it from the store."""
    log = made(b"a", b"b" * 20, most_bytes=10)

    assert (12, 12) == (log.lo, log.hi)
    assert not log.covers(Position("A", 11))
    assert log.covers(Position("A", 12))


def test_a_page_has_at_most_so_many_bytes() -> None:
    """But at least one frame, or nobody would ever get on."""
    log = made(b"aa", b"bb", b"cc")

    assert (b"aabb", 12) == log.after(10, 5)
    assert (b"aa", 11) == log.after(10, 1)
    assert (b"", 13) == log.after(13, 100)


def test_what_has_fallen_out_is_an_error() -> None:
    """A hole is never papered over."""
    log = made(b"a", b"b", most=1)

    with pytest.raises(ValueError, match="fallen out of the ring, which begins after 11"):
        log.after(10, 100)


def test_what_nobody_was_sent_stays() -> None:
    """However full the ring is: a repair may bring more than it holds, and readers wait for all of it."""
    log = Log(2, 10_000)
    log.reset(Position("A", 0), {})
    for frame in (b"a", b"b", b"c", b"d"):
        log.append(frame)
    log.trim(0)
    whole = log.after(0, 1000)
    log.trim(1)
    rest = log.lo
    log.trim(4)

    assert (b"abcd", 4) == whole
    assert (1, 2) == (rest, log.lo)


class At(NamedTuple):
    """A position and whether a reader at it can be served."""

    epoch: str
    offset: int
    covered: bool


@pytest.mark.parametrize(
    "at",
    [
        At("A", 11, True),
        At("A", 13, True),
        At("A", 10, False),
        At("A", 14, False),
        At("B", 12, False),
        At("Z", 4, False),
    ],
)
def test_covers_what_is_in_the_ring(at: At) -> None:
    """Not what has fallen out, is still to come, or belongs to an epoch that ended before the ring."""
    log = made(b"a", b"b", b"c", most=2)

    assert at.covered is log.covers(Position(at.epoch, at.offset))


def test_covers_by_lineage() -> None:
    """After a turn, the old word is good up to where it ended."""
    log = made(b"a", b"b", b"c")
    log.turn("B", {"A": 13})
    log.append(b"d")

    good = [offset for offset in range(20) if log.covers(Position("A", offset))]

    assert list(range(10, 14)) == good
    assert (b"bcd", 14) == log.after(11, 1000)
    assert log.covers(Position("B", 14))


def test_a_reset_forgets() -> None:
    """The ring is empty, at the new head."""
    log = made(b"a", b"b")
    log.reset(Position("C", 5), {})

    assert Position("C", 5) == log.position
    assert (5, b"") == (log.lo, log.after(5, 100)[0])
    assert not log.covers(Position("A", 11))


@given(frames=st.lists(FRAMES, max_size=30), page=st.integers(0, 100))
def test_pages_join_to_the_whole(frames: list[bytes], page: int) -> None:
    """Whatever the size of a page, nothing is left out or said twice."""
    log = made(*frames)
    at, pages = log.lo, []
    while at < log.hi:
        got, at = log.after(at, page)
        pages.append(got)

    assert b"".join(frames) == b"".join(pages)


class LogAgainstList(RuleBasedStateMachine):
    """Any order of publications, turns and resets."""

    @initialize(most=st.integers(1, 6), most_bytes=st.integers(1, 120))
    def make(self, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.log = Log(most, most_bytes)
        self.words = 0
        self.frames: list[tuple[int, bytes]] = []
        self.ends: dict[str, int] = {}
        self.reset(0)

    def word(self) -> str:
        self.words += 1
        return f"e{self.words}"

    @rule(head=st.integers(0, 50))
    def reset(self, head: int) -> None:
        self.epoch, self.hi, self.frames, self.ends = self.word(), head, [], {}
        self.log.reset(Position(self.epoch, head), {})

    @rule()
    def turn(self) -> None:
        self.ends = {**self.ends, self.epoch: self.hi}
        self.epoch = self.word()
        self.log.turn(self.epoch, self.ends)

    @rule(frame=FRAMES, ahead=st.integers(-2, 2))
    def offer(self, frame: bytes, ahead: int) -> None:
        others = Verdict.GAP if ahead > 1 else Verdict.DUPLICATE
        expected = Verdict.DELIVER if ahead == 1 else others

        assert expected is self.log.offer(self.epoch, self.hi + ahead, frame)
        if ahead == 1:
            self.hi += 1
            self.frames.append((self.hi, frame))

    @rule(unsent=st.integers(0, 3))
    def trim(self, unsent: int) -> None:
        sent = self.hi - unsent
        while (
            self.frames
            and self.frames[0][0] <= sent
            and (len(self.frames) > self.most or sum(len(f) for _, f in self.frames) > self.most_bytes)
        ):
            del self.frames[0]
        self.log.trim(sent)

    @invariant()
    def looks_like_the_list(self) -> None:
        lo = self.hi - len(self.frames)
        assert (lo, self.hi, self.epoch) == (self.log.lo, self.log.hi, self.log.epoch)
        assert (b"".join(f for _, f in self.frames), self.hi) == self.log.after(lo, 10_000)

    @invariant()
    def covers_exactly_what_survived(self) -> None:
        lo = self.hi - len(self.frames)
        for epoch, end in {**self.ends, self.epoch: self.hi}.items():
            for offset in range(max(0, lo - 2), self.hi + 3):
                assert (lo <= offset <= end) is self.log.covers(Position(epoch, offset))

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def read_on(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(self.hi - len(self.frames), self.hi))
        assert b"".join(f for o, f in self.frames if o > start) == self.log.after(start, 10_000)[0]


TestLogAgainstList = LogAgainstList.TestCase
