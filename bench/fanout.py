"""How fast one server tells a room: deliveries a second, and how long it takes from publish to receive.

One server on core 0; the other server, which publishes, the store and the generator on core 1. Everything
published goes through the store. Closed loop: the next publication (or 16 at once) when all readers have the
last one. Run: ``.venv/bin/python -m bench.fanout [--readers 5000 --few 1000 --rounds 3 --seconds 2]``, after
``make .venv/.peers``.
"""

import argparse
import sys
from typing import Any

from bench import report
from bench.load import LIMIT, Setup, loaded
from bench.systems import KEEPSEAT, PUBSUB, STREAMS, System, raise_file_limit

SYSTEMS = (LIMIT, KEEPSEAT, PUBSUB, STREAMS)
IN_FLIGHT = 64
BURST = 16
DELIVERIES_PER_SECOND = 10_000
"""At which latencies are measured: what each of the systems sustains."""
Figures = dict[str, list[float]]


def measure(setup: Setup, readers: int, seconds: float, figures: Figures) -> None:
    """All figures of one system with so many readers."""
    load = setup.load
    load.ask("fan", 1, 0.5)  # warm
    for name, burst in (("one", 1), ("burst", BURST)):
        outcome = load.ask("fan", burst, seconds)
        figures.setdefault(f"{name} {readers}", []).append(outcome.came / outcome.seconds)
    outcome = load.ask("rate", DELIVERIES_PER_SECOND / readers, seconds)
    figures.setdefault(f"p50 {readers}", []).append(outcome.p50)
    figures.setdefault(f"p99 {readers}", []).append(outcome.p99)


def one(system: System, given: argparse.Namespace, figures: Figures) -> None:
    """A round of one system."""
    with loaded(system, given.readers) as setup:
        setup.load.open(IN_FLIGHT)
        setup.load.open_publishers()
        measure(setup, given.readers, given.seconds, figures)
        setup.load.ask("shrink", given.few)
        setup.load.ask("idle", 3)  # until the server has noticed
        measure(setup, given.few, given.seconds, figures)


def tables(given: argparse.Namespace, all_figures: dict[str, Figures]) -> str:
    """A table for each number of readers."""
    parts = []
    for readers in (given.readers, given.few):
        rows = []
        for system in SYSTEMS:
            figures = all_figures[system.name]
            cells = []
            for name in (f"one {readers}", f"burst {readers}"):
                ratio = report.ratio(figures[name], all_figures[PUBSUB.name][name])
                cells += [report.spread(figures[name]), f"{ratio:.2f}"]
            cells += [report.spread(figures[f"{p} {readers}"], 1) for p in ("p50", "p99")]
            rows.append([system.title, *cells])
        head = (f"{readers:,} readers", "deliveries/s, one by one", "ratio", f"{BURST} at once", "ratio",
                "p50, ms", "p99, ms")  # fmt: skip
        parts.append(report.table(head, rows))
    return "\n\n".join(parts)


def main() -> int:
    """Run all systems, one after the other, again and again."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--readers", type=int, default=5000)
    options.add_argument("--few", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", default="", help="write the figures to this file too")
    given = options.parse_args()
    raise_file_limit()
    figures: dict[str, Figures] = {system.name: {} for system in SYSTEMS}
    for number in range(given.rounds):
        for system in SYSTEMS:
            one(system, given, figures[system.name])
            print(f"round {number + 1}: {system.title} done", file=sys.stderr)
    print(tables(given, figures))
    result: dict[str, Any] = {"rounds": given.rounds, "systems": figures}
    report.write(given.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
