"""What connections cost that do nothing: memory of the server, and its CPU for a ping every 25 s.

Everyone is signed in and in one room. What the kernel keeps for a socket is not counted. Run:
``.venv/bin/python -m bench.idle [--readers 5000 --seconds 50 --rounds 1]``, after ``make .venv/.peers``.
"""

import sys

from bench import report
from bench.load import loaded
from bench.process import cpu_seconds, resident_kb
from bench.rounds import by_name, interleaved, options
from bench.systems import KEEPSEAT, PUBSUB, STREAMS, System

SYSTEMS = (KEEPSEAT, PUBSUB, STREAMS)
IN_FLIGHT = 64
SETTLE_SECONDS = 3
HEAD = (
    "idle", "KB a connection", "server with nobody, MB", "% of a core", "with nobody, %", "pings a second",
)  # fmt: skip


def one(system: System, readers: int, seconds: float) -> dict[str, float]:
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
    return {
        "kb": (full - empty) / readers, "mb": empty / 1024, "cpu": busy, "nobody": nobody, "pings": pings,
    }  # fmt: skip


def main() -> int:
    """Run all systems."""
    given = options(__doc__, readers=5000, seconds=50.0, rounds=1)
    figures = by_name(
        interleaved(SYSTEMS, given.rounds, lambda system: one(system, given.readers, given.seconds))
    )
    rows = [
        [system.title, *(report.spread(values, 1) for values in figures[system.name].values())]
        for system in SYSTEMS
    ]
    print(report.table(HEAD, rows))
    report.write(given.json, {"readers": given.readers, "systems": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
