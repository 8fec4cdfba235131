"""What connections cost that do nothing: memory of the server, and its CPU for a ping every 25 s.

Everyone is signed in and in one room. What the kernel keeps for a socket is not counted. Run:
``.venv/bin/python -m bench.idle [--readers 5000 --seconds 50 --rounds 1]``, after ``make .venv/.peers``.
"""

import argparse
import sys

from bench import report
from bench.load import loaded
from bench.process import cpu_seconds, resident_kb
from bench.systems import KEEPSEAT, PUBSUB, STREAMS, System, raise_file_limit

SYSTEMS = (KEEPSEAT, PUBSUB, STREAMS)
IN_FLIGHT = 64
SETTLE_SECONDS = 3
HEAD = (
    "idle", "KB a connection", "server with nobody, MB", "% of a core", "with nobody, %", "pings a second",
)  # fmt: skip
Figures = dict[str, list[float]]


def one(system: System, readers: int, seconds: float, figures: Figures) -> None:
    """A round of one system."""
    with loaded(system, readers) as setup:
        pid, load = setup.server.pid, setup.load

        def idle(duration: float) -> tuple[float, float]:
            """Percent of a core, and pings a second."""
            cpu = cpu_seconds(pid)
            outcome = load.ask("idle", duration)
            return (cpu_seconds(pid) - cpu) / outcome.seconds * 100, outcome.pings / outcome.seconds

        nobody, _ = idle(seconds / 5)
        empty = resident_kb(pid)
        load.open(IN_FLIGHT)
        load.ask("idle", SETTLE_SECONDS)
        full = resident_kb(pid)
        busy, pings = idle(seconds)
    measured = {
        "kb": (full - empty) / readers, "mb": empty / 1024, "cpu": busy, "nobody": nobody, "pings": pings,
    }  # fmt: skip
    for name, value in measured.items():
        figures.setdefault(name, []).append(value)


def main() -> int:
    """Run all systems, one after the other, again and again."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--readers", type=int, default=5000)
    options.add_argument("--seconds", type=float, default=50)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--json", default="", help="write the figures to this file too")
    given = options.parse_args()
    raise_file_limit()
    figures: dict[str, Figures] = {system.name: {} for system in SYSTEMS}
    for number in range(given.rounds):
        for system in SYSTEMS:
            one(system, given.readers, given.seconds, figures[system.name])
            print(f"round {number + 1}: {system.title} done", file=sys.stderr)
    rows = [
        [system.title, *(report.spread(values, 1) for values in figures[system.name].values())]
        for system in SYSTEMS
    ]
    print(report.table(HEAD, rows))
    report.write(given.json, {"readers": given.readers, "rounds": given.rounds, "systems": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
