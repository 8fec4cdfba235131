"""The line to the store, over a wire that does what the test says."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from session import line as line_module
from session.line import EARLY, Call, Line, LineLostError, Wire
from tests.support.waiting import eventually


class ErrorReply(Exception):  # noqa: N818 - what the store says
    """A reply that is an error."""


class FakeWire:
    """Records what is written; answers what it is told to."""

    def __init__(self) -> None:
        self.writes: list[list[tuple[Any, ...]]] = []
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.disconnected = self.has_ended = False

    @property
    def sent(self) -> list[tuple[Any, ...]]:
        return [command for write in self.writes for command in write]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[Any]:
        return [tuple(command) for command in commands]

    def write_packed(self, commands: Any) -> None:
        if self.has_ended:
            raise RuntimeError("the handler is closed")
        self.writes.append(commands)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        await self.may_write.wait()
        assert not check_health
        self.writes.append(command)

    async def read_response(self) -> Any:
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def read_buffered(self) -> Iterable[Any]:
        while not self.answers.empty():
            yield self.answers.get_nowait()

    async def disconnect(self, nowait: bool = False) -> None:
        assert nowait
        self.disconnected = True

    def answer(self, *answers: Any) -> None:
        for answer in answers:
            self.answers.put_nowait(answer)


class Exchange:
    """Opens fake wires; may be out of order."""

    def __init__(self) -> None:
        self.wires: list[FakeWire] = []
        self.tries = 0
        self.works = True

    async def open(self) -> Wire:
        self.tries += 1
        if not self.works:
            raise OSError("nobody there")
        self.wires.append(FakeWire())
        return self.wires[-1]

    async def wire(self, number: int = 0) -> FakeWire:
        """The wire of that number, when it has been opened."""
        await eventually(lambda: len(self.wires) > number, f"wire {number} is open")
        return self.wires[number]


Make = Callable[[Exchange], Line]


@pytest.fixture
def make(io_loop: Any) -> Iterable[Make]:
    """Runs lines until the test is over."""
    tasks: list[asyncio.Task[None]] = []

    def _make(exchange: Exchange) -> Line:
        line = Line(exchange.open, ErrorReply)
        tasks.append(asyncio.ensure_future(line.run()))
        return line

    yield _make

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    io_loop.run_sync(end)


async def outcome(call: Call) -> Any:
    """The answer, or the error itself."""
    async with asyncio.timeout(5):
        return (await asyncio.gather(call.future, return_exceptions=True))[0]


async def turns(count: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_answers_come_in_order(make: Make) -> None:
    """Each call gets the answer of its own command, an error reply too, and the line goes on."""
    exchange = Exchange()
    line = make(exchange)
    calls = [line.submit("GET", n) for n in range(3)]
    wire = await exchange.wire()
    wire.answer("zero", ErrorReply("one"), "two")

    answers = [await outcome(call) for call in calls]

    assert [("GET", 0), ("GET", 1), ("GET", 2)] == wire.sent
    assert ["zero", "two"] == [answers[0], answers[2]]
    assert isinstance(answers[1], ErrorReply)
    assert line.is_up


async def test_what_is_asked_together_leaves_together(make: Make) -> None:
    """The commands of one turn of the loop are one write."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    first = [line.submit("A"), line.submit("B")]
    await turns()
    second = line.submit("C")
    wire.answer(1, 2, 3)

    assert [1, 2, 3] == [await outcome(call) for call in (*first, second)]
    assert [[("A",), ("B",)], [("C",)]] == wire.writes


async def test_many_commands_leave_before_the_turn_is_over(make: Make) -> None:
    """The store works on the first while the others are still being asked for; all in order."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    calls = [line.submit(n) for n in range(2 * EARLY + 1)]
    early = [len(write) for write in wire.writes]
    wire.answer(*range(len(calls)))

    assert [*range(len(calls))] == [await outcome(call) for call in calls]
    assert [EARLY, EARLY] == early
    assert [(n,) for n in range(len(calls))] == wire.sent


async def test_nothing_leaves_early_while_the_kernel_takes_no_more(make: Make) -> None:
    """What waits is bounded here, what a connection has been given is not."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    wire.may_write.clear()
    calls = [line.submit("first")]
    await eventually(lambda: line._free is None, "the first is being written")
    calls += [line.submit(n) for n in range(2 * EARLY)]
    early = list(wire.writes)
    wire.may_write.set()
    wire.answer(*calls)

    assert calls == [await outcome(call) for call in calls]
    assert [] == early


async def test_what_leaves_early_on_a_line_that_has_ended_fails_as_all_in_flight(make: Make) -> None:
    """The transport knows of the end before its reader does: who asks hears of it as ever."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    wire.has_ended = True
    calls = [line.submit(n) for n in range(EARLY)]
    lost = {type(await outcome(call)) for call in calls}
    following = await exchange.wire(1)
    call = line.submit("again")
    following.answer("done")

    assert {LineLostError} == lost
    assert "done" == await outcome(call)


async def test_does_not_wait_for_an_answer_before_it_writes_on(make: Make) -> None:
    """A slow script delays nobody's sending."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    slow = line.submit("SLOW")
    await turns()
    following = line.submit("NEXT")
    await turns()
    sent = list(wire.sent)
    wire.answer(1, 2)

    assert [("SLOW",), ("NEXT",)] == sent
    assert [1, 2] == [await outcome(slow), await outcome(following)]


async def test_calls_wait_for_the_first_connection(make: Make) -> None:
    """What was asked for before the store was there is sent once it is."""
    exchange = Exchange()
    exchange.works = False
    line = make(exchange)
    call = line.submit("GET", "x")
    await eventually(lambda: exchange.tries > 1, "it tried again")
    waited = not call.sent and not line.is_up
    exchange.works = True
    (await exchange.wire()).answer("here")

    assert waited
    assert "here" == await outcome(call)


async def test_a_lost_connection_fails_what_was_sent_and_nothing_else(make: Make) -> None:
    """A command that may have run is not sent again by itself; one that was not goes over the next wire."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    sent = line.submit("SENT")
    await turns()
    wire.may_write.clear()
    wire.answer(ConnectionError("gone"))
    lost = await outcome(sent)
    later = line.submit("LATER")
    second = await exchange.wire(1)
    second.answer("there")

    assert isinstance(lost, LineLostError)
    assert sent.sent
    assert "there" == await outcome(later)
    assert [("LATER",)] == second.sent
    assert wire.disconnected


async def test_a_write_that_did_not_finish_counts_as_sent(make: Make) -> None:
    """The kernel may have taken a part of it, or all."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    wire.may_write.clear()
    call = line.submit("HALF")
    await turns()
    line.drop()

    assert isinstance(await outcome(call), LineLostError)
    assert call.sent


async def test_what_was_given_up_is_never_sent(make: Make) -> None:
    """Neither by the line that is there nor by the one that comes."""
    exchange = Exchange()
    exchange.works = False
    line = make(exchange)
    calls = [line.submit("KEPT", 1), line.submit("GIVEN-UP"), line.submit("KEPT", 2)]
    calls[1].future.cancel()
    await eventually(lambda: exchange.tries > 1, "it tried again")
    exchange.works = True
    wire = await exchange.wire()
    wire.answer(1, 2)

    assert [1, 2] == [await outcome(calls[0]), await outcome(calls[2])]
    assert [("KEPT", 1), ("KEPT", 2)] == wire.sent
    assert not calls[1].sent


async def test_what_was_given_up_at_once_is_never_sent(make: Make) -> None:
    """Also where the line is up: its caller went before the loop turned."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    gone, here = line.submit("GONE"), line.submit("HERE")
    gone.future.cancel()
    wire.answer("for the one that is here")

    assert "for the one that is here" == await outcome(here)
    assert [("HERE",)] == wire.sent
    assert not gone.sent


async def test_the_answer_of_what_was_given_up_is_nobody_elses(make: Make) -> None:
    """It was sent, its caller went; its answer is thrown away, the next one is right."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    gone, here = line.submit("GONE"), line.submit("HERE")
    await turns()
    gone.future.cancel()
    wire.answer("for the one that is gone", "for the one that is here")

    assert "for the one that is here" == await outcome(here)


async def test_each_command_has_the_same_patience(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent or not: without an answer in time it is a `TimeoutError`; an answer that comes after all is nobody
    else's."""
    monkeypatch.setattr(line_module, "PATIENCE_SECONDS", 0.2)
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    first = line.submit("FIRST")
    await turns()
    wire.may_write.clear()
    stuck = line.submit("STUCK")
    await turns()
    unsent = line.submit("UNSENT")
    began = asyncio.get_running_loop().time()
    outcomes = [await outcome(call) for call in (first, stuck, unsent)]
    took = asyncio.get_running_loop().time() - began
    later = line.submit("LATER")
    wire.may_write.set()
    wire.answer("first", "stuck", "later")

    assert [TimeoutError] * 3 == [type(error) for error in outcomes]
    assert [True, True, False] == [call.sent for call in (first, stuck, unsent)]
    assert 0.1 < took
    assert "later" == await outcome(later)
    assert ("UNSENT",) not in wire.sent


async def test_who_asked_later_is_waited_for_longer(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one timer is set again for the next, which is given up in its turn."""
    monkeypatch.setattr(line_module, "PATIENCE_SECONDS", 0.3)
    exchange = Exchange()
    line = make(exchange)
    await exchange.wire()
    first = line.submit("FIRST")
    await asyncio.wait([first.future], timeout=0.15)
    second = line.submit("SECOND")

    assert isinstance(await outcome(first), TimeoutError)
    assert not second.future.done()
    assert isinstance(await outcome(second), TimeoutError)


async def test_the_time_of_many_is_kept_by_one_timer(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer each would cost a tenth of a command."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    looks: list[float] = []
    look_at = line._look_at
    monkeypatch.setattr(line, "_look_at", lambda when: (looks.append(when), look_at(when)))
    calls = [line.submit(n) for n in range(200)]
    wire.answer(*range(200))

    assert list(range(200)) == [await outcome(call) for call in calls]
    assert [calls[0].ends] == looks


async def test_a_silent_line_is_dropped(make: Make) -> None:
    """Commands unanswered for so long, and nothing heard: the next one goes over a new connection."""
    exchange = Exchange()
    line = make(exchange)
    await exchange.wire()
    call = line.submit("PING")
    await turns()
    line.drop_if_silent(60)
    await turns()
    patient = not call.future.done()
    line.drop_if_silent(0)

    assert patient
    assert isinstance(await outcome(call), LineLostError)
    assert await exchange.wire(1)


async def test_a_line_with_nothing_to_say_is_not_silent(make: Make) -> None:
    """Where nothing is asked, nothing need be heard."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    call = line.submit("PING")
    wire.answer("PONG")
    await outcome(call)
    line.drop_if_silent(0)
    await turns()

    assert line.is_up
    assert 1 == len(exchange.wires)


async def test_more_than_may_wait_is_refused_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded while the store is away."""
    monkeypatch.setattr(line_module, "MAX_WAITING", 3)
    exchange = Exchange()
    exchange.works = False
    line = make(exchange)
    calls = [line.submit("X") for _ in range(3)]

    with pytest.raises(LineLostError, match="too many"):
        line.submit("X")
    for call in calls:
        call.future.cancel()
    await eventually(lambda: exchange.tries > 2, "it forgot what was given up")

    assert not line.submit("X").sent


async def test_no_answer_behind_another_one_is_an_answer(make: Make) -> None:
    """What came together with an answer, and is neither one nor an error reply, ends the connection too."""
    exchange = Exchange()
    line = make(exchange)
    wire = await exchange.wire()
    one, two = line.submit("ONE"), line.submit("TWO")
    await turns()
    wire.answer("one", ConnectionError("it has gone"))

    assert "one" == await outcome(one)
    assert isinstance(await outcome(two), LineLostError)
    assert await exchange.wire(1)


async def test_goes_on_connecting(make: Make) -> None:
    """A wire that breaks at once is followed by another, for as long as it runs."""
    exchange = Exchange()
    line = make(exchange)
    for number in range(5):
        wire = await exchange.wire(number)
        wire.answer(ConnectionError("again"))
    last = await exchange.wire(5)
    call = line.submit("X")
    last.answer("at last")

    assert "at last" == await outcome(call)


async def test_is_down_while_nothing_is_connected(make: Make) -> None:
    """`is_up` is what readiness asks."""
    exchange = Exchange()
    line = make(exchange)
    before = line.is_up
    wire = await exchange.wire()
    await eventually(lambda: line.is_up, "it is up")
    exchange.works = False
    wire.answer(ConnectionError("gone"))
    await eventually(lambda: not line.is_up, "it is down")

    assert not before
    assert wire.disconnected
