"""How fast one server tells a room: deliveries a second, and how long it takes from publish to receive.

One server on a core of its own; the other server, which publishes, the store and the generator on another.
Everything published goes through the store. Closed loop: the next publication (or 16 at once) when all
readers have the last one. Run: ``.venv/bin/python -m bench.fanout [--peer keepseat --peer limit --readers
5000 --few 1000 --rounds 3 --seconds 1]``, after ``make .venv/.peers``. Status 1 where a message was missing
or came twice.
"""

import argparse
import sys

from bench.load import Load, loaded
from bench.process import cpu_seconds
from bench.report import Result, compared, spread, table
from bench.rounds import options, scenario
from bench.systems import (
    CEILING,
    KEEPSEAT,
    LIMIT,
    PYTHON_SOCKETIO,
    RECOVERY,
    SOCKETIO,
    SYSTEMS,
    TORNADO,
    System,
)  # fmt: skip

PEERS = (LIMIT, CEILING, KEEPSEAT, SOCKETIO, RECOVERY, PYTHON_SOCKETIO, TORNADO)
IN_FLIGHT = 64
BURST = 16
WARM_SECONDS = 0.3
SETTLE_SECONDS = 1.5
DELIVERIES_PER_SECOND = 10_000
"""At which latencies are measured: what most of the systems sustain."""


def measure(system: System, load: Load, pid: int, readers: int, seconds: float) -> dict[str, float]:
    """All figures of one system with so many readers."""
    load.ask("fan", 1, WARM_SECONDS)
    cpu = cpu_seconds(pid)
    alone = load.ask("fan", 1, seconds)
    cpu = cpu_seconds(pid) - cpu
    steady = load.ask("rate", DELIVERIES_PER_SECOND / readers, 2 * seconds)
    figures = {
        f"one {readers}": alone.came / alone.seconds,
        f"cpu {readers}": cpu / alone.came * 1e6,
        f"p50 {readers}": steady.p50,
        f"p99 {readers}": steady.p99,
        f"busy {readers}": alone.busy,
        f"wrong {readers}": alone.wrong + steady.wrong,
    }
    if system.bursts:
        burst = load.ask("fan", BURST, seconds)
        figures[f"burst {readers}"] = burst.came / burst.seconds
        figures[f"busy {readers}"] = max(alone.busy, burst.busy)
        figures[f"wrong {readers}"] += burst.wrong
    return figures


def one(system: System, given: argparse.Namespace) -> dict[str, float]:
    """A round of one system; many readers first, where it bears them."""
    readers = given.readers if system.most >= given.readers else given.few
    figures: dict[str, float] = {}
    with loaded(system, readers) as setup:
        load, pid = setup.load, setup.server.pid
        load.open(IN_FLIGHT)
        load.open_publishers()
        if readers > given.few:
            figures |= measure(system, load, pid, readers, given.seconds)
            load.ask("shrink", given.few)
            load.ask("idle", SETTLE_SECONDS)  # until the server has noticed
        figures |= measure(system, load, pid, given.few, given.seconds)
    wrong = sum(count for name, count in figures.items() if name.startswith("wrong"))
    return {**figures, "wrong": wrong}


def row(result: Result, system: str, readers: int) -> list[str]:
    """A system's line of the table."""
    figures = result["systems"][system]

    def told(name: str) -> list[str]:
        named = f"{name} {readers}"
        if named not in figures:
            return ["", ""]
        ratios = (compared(result, system, named, other) for other in (SOCKETIO.name, LIMIT.name))
        return [spread(figures[named]), " / ".join(ratios)]

    def plain(name: str) -> str:
        return spread(figures[f"{name} {readers}"], 1)

    return [
        SYSTEMS[system].title, *told("one"), plain("cpu"), *told("burst"), plain("p50"), plain("p99"),
    ]  # fmt: skip


def tables(result: Result) -> str:
    """One for many readers, one for few."""
    both = []
    for readers in (result["given"]["readers"], result["given"]["few"]):
        head = (
            f"{readers:,} readers", "deliveries/s, one by one", "to Socket.IO / C", "CPU a delivery, us",
            f"{BURST} at once", "to Socket.IO / C", "p50, ms", "p99, ms",
        )  # fmt: skip
        rows = [
            row(result, name, readers) for name, of in result["systems"].items() if f"one {readers}" in of
        ]
        both.append(table(head, rows))
    return "\n\n".join(both)


if __name__ == "__main__":
    sys.exit(scenario(options(__doc__, PEERS, readers=5000, few=1000, seconds=1.0, rounds=3), one, tables))
