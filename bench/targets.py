"""What was aimed at, and what was reached: the figures of all benchmarks against their targets."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import NamedTuple

from bench.report import Figures, Result, ratio, table
from bench.systems import KEEPSEAT, LIMIT, SESSIONS, SOCKETIO, TWO

Results = Mapping[str, Result]
"""Benchmark -> what it came to."""

HEAD = ("figure", "target", "measured", "")
MANY, FEW, MOST = 5000, 1000, 15_000
ENOUGH_CORES = 4
"""Two for the processes, one for the store and the other server, one for the generator."""


class Check(NamedTuple):
    """A value, and where it should lie; ``unit`` is what follows the number."""

    value: float
    least: bool
    bound: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.least else self.value <= self.bound

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.least else '≤'} {number(self.bound)}{self.unit}"

    @property
    def measured(self) -> str:
        return f"{number(self.value)}{self.unit}"


class Target(NamedTuple):
    """A figure and all that is asked of it; ``note`` says what keeps it from being measured here."""

    figure: str
    checks: list[Check]
    note: str = ""

    def row(self) -> list[str]:
        """Its line of the table."""
        met = "met" if all(check.is_met for check in self.checks) else "**missed**"
        wanted = ", ".join(check.wanted for check in self.checks)
        measured = ", ".join(check.measured for check in self.checks)
        return [self.figure, wanted, measured, self.note or met]


def number(value: float) -> str:
    """As many digits as it carries."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ours(result: Result) -> Figures:
    return result["systems"][KEEPSEAT.name]


def against(result: Result, name: str, other: str) -> float:
    """Our ratio to another system."""
    return ratio(ours(result)[name], result["systems"][other][name])


def fanout(result: Result) -> Iterator[Target]:
    """A room is told."""
    for readers, bound in ((MANY, 2.0), (FEW, 1.8)):
        name = f"one {readers}"
        yield Target(
            f"deliveries/s, {readers:,} in a room, one publication at a time",
            [
                Check(against(result, name, SOCKETIO.name), True, bound, " × Socket.IO"),
                Check(against(result, name, LIMIT.name), True, 0.65, " × C"),
            ],
        )
    burst = f"burst {MANY}"
    single = result["systems"][LIMIT.name][f"one {MANY}"]
    yield Target(
        f"deliveries/s, {MANY:,} in a room, 16 publications in flight",
        [
            Check(against(result, burst, SOCKETIO.name), True, 10, " × Socket.IO"),
            Check(ratio(ours(result)[burst], single), True, 3, " × single sends in C"),
        ],
    )
    for share in ("p50", "p99"):
        value = against(result, f"{share} {MANY}", SOCKETIO.name)
        yield Target(f"publish to receive, {MANY:,}, {share}", [Check(value, False, 0.75, " × Socket.IO")])


def joins(result: Result) -> Iterator[Target]:
    """All come at once."""
    yield Target(
        "joins/s, all at once, to the restored session",
        [
            Check(against(result, "rate", SOCKETIO.name), True, 1.2, " × Socket.IO"),
            Check(against(result, "rate", SESSIONS.name), True, 2.5, " × Socket.IO with a session"),
        ],
    )
    p99 = against(result, "p99", SOCKETIO.name)
    yield Target("its p99", [Check(p99, False, 0.6, " × Socket.IO")])
    megabytes = median(ours(result)["key bytes"]) / result["given"]["readers"] * MANY / 1e6
    yield Target(f"all keys of the store at {MANY:,} users", [Check(megabytes, False, 3, " MB")])


def idle(result: Result) -> Iterator[Target]:
    """Nobody does anything."""
    yield Target(
        "memory of a connection, in one room, idle",
        [
            Check(against(result, "kb", SOCKETIO.name), False, 0.9, " × Socket.IO"),
            Check(median(ours(result)["kb"]), False, 12, " kB"),
        ],
    )
    yield Target(
        "CPU of idle connections, a ping each in 25 s",
        [Check(median(ours(result)["cpu"]), False, 3, " % of a core")],
    )


def holds(result: Result) -> Iterator[Target]:
    """Seats are wanted."""
    figures = ours(result)
    yield Target(
        f"seat holds/s, {result['given']['readers']} clients, as fast as answers come",
        [Check(median(figures["rate"]), True, 3000, "")],
    )
    yield Target(
        f"p99 of a hold, {result['given']['rate']:,} a second",
        [Check(median(figures["p99"]), False, 30, " ms")],
    )


def growth(result: Result) -> Iterator[Target]:
    """More come."""
    figures = ours(result)

    def change(name: str) -> float:
        """In percent, from few to most."""
        return (ratio(figures[f"{name} {MOST}"], figures[f"{name} {FEW}"]) - 1) * 100

    span = f"from {FEW:,} to {MOST:,}"
    yield Target(f"deliveries/s lost {span}", [Check(-change("one"), False, 25, " %")])
    yield Target(f"dearer joins {span}", [Check(change("join"), False, 10, " %")])
    yield Target(f"heavier connections {span}", [Check(change("kb"), False, 10, " %")])


def processes(result: Result) -> Iterator[Target]:
    """A second process."""
    one, two = ours(result), result["systems"][TWO.name]
    cores = int(min(one["cores"]))
    note = ""
    figure = "two processes to one, deliveries/s"
    value = ratio(two["one"], one["one"])
    if cores < ENOUGH_CORES:
        # what two cores of their own could do if nothing else held them back
        value = 2 * ratio(one["cpu"], two["cpu"])
        figure += ", reckoned from the CPU of each"
        note = f"not measurable on {cores} cores"
    yield Target(figure, [Check(value, True, 1.7, "")], note)


ALL = {
    "fanout": fanout,
    "joins": joins,
    "idle": idle,
    "growth": growth,
    "processes": processes,
    "holds": holds,
}


def tables(results: Results) -> str:
    """One table of those that were measured."""
    rows = [target.row() for name, of in ALL.items() if name in results for target in of(results[name])]
    return table(HEAD, rows)
