"""The rehearsal's own judgement: what breaks a promise is found, and what does not is no breach."""

import argparse
import asyncio
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jwt
import pytest

from bench.raw import Wire
from bench.rehearsal import plots
from bench.rehearsal.__main__ import Unusable, tokens_of
from bench.rehearsal.account import Account, Holders, Place
from bench.rehearsal.course import Plan
from bench.rehearsal.house import House
from bench.rehearsal.page import page
from bench.rehearsal.promises import Findings, Promise
from bench.rehearsal.record import Record, Sample, Series
from bench.rehearsal.verdict import verdict

Frame = dict[str, Any]
EVENT, ROOM, SEATS, MINE = "e", "event:e", "seats:e", "user:mina"


def joined(kind: str, room: str, **more: Any) -> Frame:
    return {"type": f"{kind}-joined", "eventId": EVENT, "room": room, "epoch": "a", "offset": 0, **more}


def message(offset: int, number: int) -> Frame:
    return {"type": "message", "room": ROOM, "offset": offset, "data": {"n": number, "at": 0}}


def held(*seats: str) -> Frame:
    return {"type": "seats-held", "eventId": EVENT, "held": list(seats)}


def waits(position: int) -> Frame:
    return {"type": "queue-updated", "eventId": EVENT, "position": position}


def restored(*, missed: int = 0, recovered: bool = True, offset: int = 1, **more: Any) -> Frame:
    """What is told on coming back; by default all that the user of `account` has."""
    rooms = [
        {"room": MINE, "epoch": "a", "offset": 0, "recovered": True, "missed": 0},
        {"room": ROOM, "epoch": "a", "offset": offset, "recovered": recovered, "missed": missed},
        *(
            {"room": room, "epoch": "a", "offset": 0, "recovered": True, "missed": 0}
            for room in ("queue:e", SEATS)
        ),
    ]
    told = {"rooms": rooms, "queue": {"status": "admitted"}, "seats": {"held": ["A-1", "A-2"]}, **more}
    return {"type": "session-restored", **told}


IN = {"type": "queue-entry-allowed", "eventId": EVENT}
CONNECTED = {
    "type": "connected", "userId": "mina", "instance": "i-1", "socketId": "s",
    "userRoom": {"room": MINE, "epoch": "a", "offset": 0},
}  # fmt: skip
STORY = [
    CONNECTED,
    joined("event", ROOM),
    joined("queue", "queue:e", status="waiting", position=9),
    message(1, 1),
    waits(3),
    IN,
    joined("seats", SEATS, snapshot={"held": ["B-1"], "sold": []}, held=[]),
    held("A-1", "A-2"),
]


def account(frames: list[Frame], findings: Findings, holders: Holders | None = None) -> Account:
    """A user who was told these, and is about to come back."""
    made = Account("mina", EVENT, holders or Holders(findings), findings)
    for frame in frames:
        made.hear(frame)
    made.resume()
    return made


def broken(findings: Findings) -> set[Promise]:
    return {finding.promise for finding in findings.all() if finding.breaches}


def test_a_sale_that_goes_well_breaks_nothing() -> None:
    """Waiting, let in, back after a cut with what was missed, a change of mind, paid, and gone."""
    findings = Findings()
    user = account(STORY, findings)
    user.hear(restored(missed=1, offset=2))
    user.hear(message(2, 2))
    user.hear({"type": "seats-updated", "room": SEATS, "offset": 1, "eventId": EVENT,
               "seats": {"B-1": "available", "A-1": "held", "A-2": "held"}})  # fmt: skip
    user.releases()
    user.hear({"type": "seats-released", "eventId": EVENT, "held": []})
    user.hear(held("A-3"))
    paid = user.pays()
    user.hear(held())
    user.has_paid(paid)
    user.leaves()
    user.hear({"type": "queue-left", "eventId": EVENT})

    assert set() == broken(findings)
    assert ({"A-3"}, set()) == (user.sold, user.held)
    assert {"A-1": "held", "A-2": "held"} == user.board
    assert Place.OUTSIDE is user.place
    assert [1, 2] == user.numbers


@pytest.mark.parametrize(
    ("promise", "frames"),
    [
        pytest.param(Promise.ONCE, [message(1, 1)], id="a message twice"),
        pytest.param(Promise.ONCE, [message(2, 1)], id="the same message under another offset"),
        pytest.param(Promise.MESSAGE, [message(3, 2)], id="an offset is left out"),
        pytest.param(Promise.MESSAGE, [message(2, 3)], id="a message is left out"),
        pytest.param(Promise.MESSAGE, [restored(recovered=False)], id="not recovered"),
        pytest.param(Promise.MESSAGE, [restored(offset=5, missed=1)], id="recovered from elsewhere"),
        pytest.param(
            Promise.MESSAGE, [{"type": "room-reset", "room": ROOM, "epoch": "b", "offset": 0}], id="a reset"
        ),
        pytest.param(Promise.SESSION, [restored(rooms=[])], id="rooms are forgotten"),
        pytest.param(Promise.PLACE, [restored(queue=None)], id="the place is gone"),
        pytest.param(Promise.PLACE, [waits(1)], id="let in, and back in the line"),
        pytest.param(
            Promise.PLACE, [{"type": "queue-left", "eventId": EVENT, "reason": "expired"}], id="sent out"
        ),
        pytest.param(Promise.SEAT, [restored(seats=None)], id="all seats are gone"),
        pytest.param(Promise.SEAT, [restored(seats={"held": ["A-2"]})], id="a seat is gone"),
        pytest.param(
            Promise.SEAT, [{"type": "seats-expired", "eventId": EVENT, "seats": ["A-1"]}], id="a hold is over"
        ),
    ],
)  # fmt: skip
def test_a_broken_promise_is_found(promise: Promise, frames: list[Frame]) -> None:
    """Each of these is a breach of that promise, and of no other."""
    findings = Findings()
    user = account(STORY, findings)
    before = broken(findings)
    for frame in frames:
        user.hear(frame)

    assert set() == before
    assert {promise} == broken(findings)


def test_a_position_that_gets_worse_is_found() -> None:
    """Over a reconnect as on one line."""
    findings = Findings()
    user = account(STORY[:5], findings)
    user.hear(waits(3))
    before = broken(findings)
    user.hear(waits(4))

    assert (set(), {Promise.ORDER}) == (before, broken(findings))


def test_a_line_that_was_left_meanwhile_need_not_come_back() -> None:
    """It had asked to leave when it was cut off; that it has left, it hears before it hears of its rooms."""
    findings = Findings()
    user = account(STORY[:5], findings)
    user.leaves()
    user.resume()
    user.hear(CONNECTED)
    user.hear({"type": "queue-left", "eventId": EVENT})
    back = restored(missed=1, offset=2, queue=None, seats=None)
    back["rooms"] = [*back["rooms"][:2], {"room": "queue:e", "error": "forbidden"}]
    user.hear(back)

    assert set() == broken(findings)
    assert {MINE, ROOM} == set(user.positions)


def test_a_seat_with_two_holders_is_found() -> None:
    """Two who are told the same seat; what its holder gives back may be another's."""
    findings = Findings()
    holders = Holders(findings)
    holders.claim("mina", ["A-1", "A-2"])
    holders.let_go("mina", ["A-1"])
    holders.claim("jisu", ["A-1"])
    before = broken(findings)
    holders.let_go("jisu", ["A-2"])
    holders.claim("jisu", ["A-2"])

    assert (set(), {Promise.HOLDER}) == (before, broken(findings))


def test_what_was_never_checked_is_not_kept() -> None:
    """It is said to be neither; one breach among many checks breaks a promise, and its words are kept."""
    findings = Findings()
    for n in range(100):
        findings.check(Promise.PLACE, n != 50, f"breach {n}")
    states = {finding.promise: (finding.state, finding.examples) for finding in findings.all()}

    assert ("broken", ["breach 50"]) == states.pop(Promise.PLACE)
    assert {"unchecked"} == {state for state, _ in states.values()}


def test_a_slow_time_is_no_broken_promise() -> None:
    """It is told; what the generator itself delays is told as that."""
    record, findings = Record(), Findings()
    for n in range(100):
        record.answers.add(n, 0.1 if n < 50 else 9.0)
        record.lags.add(n, 0.5)
    found = verdict(findings, record)

    assert found.is_good
    assert ["slow", "unchecked", "unchecked", "unchecked"] == [time.state for time in found.times]
    assert (0.1, 9.0) == (record.answers.percentile(49), found.times[0].p99)
    assert "0.50 s late" in found.bottleneck
    assert "" == verdict(findings, Record()).bottleneck


def test_tokens_are_signed_or_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a deployment that is there are signed with its secret, or come from a file that has enough."""
    few = tmp_path / "tokens"
    few.write_text("one\ntwo\n")
    monkeypatch.setenv("KEEPSEAT_JWT_SECRET", "")
    given = argparse.Namespace(clients=2, url="https://rt.example", tokens="")
    with pytest.raises(Unusable, match="set KEEPSEAT_JWT_SECRET, or give --tokens"):
        tokens_of(given, "e")
    with pytest.raises(Unusable, match="has 2 tokens for 3 clients"):
        tokens_of(argparse.Namespace(clients=3, url=given.url, tokens=str(few)), "e")
    monkeypatch.setenv("KEEPSEAT_JWT_SECRET", "s" * 32)
    signed = tokens_of(given, "e")
    given.tokens = str(few)

    assert {"e-0": "one", "e-1": "two"} == tokens_of(given, "e")
    assert "e-1" == jwt.decode(signed["e-1"], "s" * 32, ["HS256"])["sub"]


def test_percentiles_are_those_of_each_second() -> None:
    """A second in which nothing was measured has none."""
    series = Series()
    for at, value in ((0.1, 1.0), (0.9, 3.0), (4.0, 7.0)):
        series.add(at, value)

    assert [(0, 3.0), (4, 7.0)] == series.line(99)
    assert [1.0, 3.0, 7.0] == series.all()


class Balanced(HTMLParser):
    """Notes tags that are not closed, and what is fetched from elsewhere."""

    VOID = {"meta", "!doctype"}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.problems += [f"{tag} {name}={value}" for name, value in attrs if name in {"src", "href"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}>")


def test_the_report_stands_alone() -> None:
    """One well-formed file that fetches nothing, with what was found, and what users sent as text only."""
    record, findings = Record(), Findings()
    findings.check(Promise.SEAT, False, "<script>lost</script>")
    record.marks = [(0.0, "the first come"), (2.0, "the sale opens")]
    record.samples = [
        Sample(at, {"i-1": 3, "i-2": n}, {"waiting": n, "admitted": 1, "held": 2, "sold": n})
        for n, at in enumerate((0.5, 1.5, 2.5))
    ] + [Sample(3.5, {"i-2": 1}, None)]
    for n in range(20):
        record.answers.add(n / 10, n / 1000)
        record.cuts[n // 10][str(1000 + n)] += 1
    plan = Plan({"a": "token-of-a"}, 5, House.of("e", 10, 5))
    html = page(plan, record, verdict(findings, record), url="https://rt.example")
    reader = Balanced()
    reader.feed(html)

    assert ([], ["html"]) == (reader.problems, [tag for tag in reader.open if tag != "html"] + ["html"])
    assert "1 of 13 promises were broken" in html
    assert "&lt;script&gt;lost" in html
    assert "<script" not in html
    assert "token-of-a" not in html
    assert "https://rt.example" in html


def test_scales_are_round() -> None:
    """So that a grid can be read."""
    assert [0, 10, 20, 30, 40, 50] == plots.linear_scale([47.0]).ticks
    assert [0, 1] == plots.linear_scale([]).ticks
    assert [1, 10, 100] == plots.log_scale([3.0, 40.0]).ticks
    assert plots.log_scale([3.0, 40.0]).y(10) == pytest.approx((plots.placed(0) + plots.placed(1)) / 2)


def test_a_house_has_room_for_most() -> None:
    """About a seat for each, and the line is gone before the sale ends."""
    house = House.of("e", 2000, 120)

    assert 2000 <= len(house.seats) == len(set(house.seats)) <= 2060
    assert 2000 / house.rate <= 120


class Heard(Wire):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__(b"request", b"hello")
        self.payloads: list[bytes] = []

    def heard(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def ended(self) -> None: ...


class Sent(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data


def server_frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2)
        if size < 65536
        else b"\x7f" + size.to_bytes(8)
    )
    return bytes([0x80 | opcode]) + length + payload


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_frames_are_read_however_they_come(step: int) -> None:
    """Byte by byte, in pieces, or all at once; each size of length; a ping among them is answered."""
    payloads = [b"{}", b"x" * 126, b"y" * 65536]
    stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + server_frame(9, b"?")
    stream += b"".join(server_frame(1, payload) for payload in payloads)
    wire, sent = Heard(), Sent()
    wire.connection_made(sent)
    for at in range(0, len(stream), step):
        wire.data_received(stream[at : at + step])

    assert payloads == wire.payloads
    assert b"requesthello" + bytes([0x8A, 0x81, 0, 0, 0, 0]) + b"?" == sent.data
