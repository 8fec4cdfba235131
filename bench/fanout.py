"""How fast one server tells a room: deliveries a second, and how long it takes from publish to receive.

One server on core 0; the other server, which publishes, the store and the generator on core 1. Everything
published goes through the store. Closed loop: the next publication (or 16 at once) when all readers have the
last one. Run: ``.venv/bin/python -m bench.fanout [--readers 5000 --few 1000 --rounds 3 --seconds 2]``, after
``make .venv/.peers``.
"""

import argparse
import sys

from bench import report
from bench.load import LIMIT, Load, loaded
from bench.rounds import Figures, by_name, interleaved, options
from bench.systems import KEEPSEAT, PUBSUB, STREAMS, System

SYSTEMS = (LIMIT, KEEPSEAT, PUBSUB, STREAMS)
IN_FLIGHT = 64
BURST = 16
SETTLE_SECONDS = 3
DELIVERIES_PER_SECOND = 10_000
"""At which latencies are measured: what each of the systems sustains."""


def measure(load: Load, readers: int, seconds: float) -> dict[str, float]:
    """All figures of one system with so many readers."""
    load.ask("fan", 1, 0.5)  # warm
    alone, burst = load.ask("fan", 1, seconds), load.ask("fan", BURST, seconds)
    steady = load.ask("rate", DELIVERIES_PER_SECOND / readers, seconds)
    assert not any(outcome.failed for outcome in (alone, burst, steady)), "readers were closed"
    return {
        f"one {readers}": alone.came / alone.seconds,
        f"burst {readers}": burst.came / burst.seconds,
        f"p50 {readers}": steady.p50,
        f"p99 {readers}": steady.p99,
    }


def one(system: System, given: argparse.Namespace) -> dict[str, float]:
    """A round of one system."""
    with loaded(system, given.readers) as setup:
        load = setup.load
        load.open(IN_FLIGHT)
        load.open_publishers()
        many = measure(load, given.readers, given.seconds)
        load.ask("shrink", given.few)
        load.ask("idle", SETTLE_SECONDS)  # until the server has noticed
        return many | measure(load, given.few, given.seconds)


def row(system: System, readers: int, figures: Figures, theirs: Figures) -> list[str]:
    """A system's line of the table."""
    cells = [system.title]
    for name in (f"one {readers}", f"burst {readers}"):
        cells += [report.spread(figures[name]), f"{report.ratio(figures[name], theirs[name]):.2f}"]
    return [*cells, *(report.spread(figures[f"{share} {readers}"], 1) for share in ("p50", "p99"))]


def main() -> int:
    """Run all systems."""
    given = options(__doc__, readers=5000, few=1000, seconds=2.0, rounds=3)
    figures = by_name(interleaved(SYSTEMS, given.rounds, lambda system: one(system, given)))
    for readers in (given.readers, given.few):
        rows = [row(system, readers, figures[system.name], figures[PUBSUB.name]) for system in SYSTEMS]
        head = (f"{readers:,} readers", "deliveries/s, one by one", "ratio", f"{BURST} at once", "ratio",
                "p50, ms", "p99, ms")  # fmt: skip
        print(report.table(head, rows) + "\n")
    report.write(given.json, {"systems": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
