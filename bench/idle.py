"""What connections cost that do nothing: memory of the server, and its CPU for a ping every 25 s.

Everyone is signed in and in one room. What the kernel keeps for a socket is not counted. Run:
``.venv/bin/python -m bench.idle [--peer keepseat --readers 5000 --seconds 25 --rounds 1]``, after
``make .venv/.peers``.
"""

import argparse
import sys

from bench.load import loaded
from bench.process import cpu_seconds, resident_kb
from bench.report import Result, compared, spread, table
from bench.rounds import options, scenario
from bench.systems import KEEPSEAT, PYTHON_SOCKETIO, RECOVERY, SOCKETIO, SYSTEMS, TORNADO, System

PEERS = (KEEPSEAT, SOCKETIO)
OTHERS = (RECOVERY, PYTHON_SOCKETIO, TORNADO)
IN_FLIGHT = 64
SETTLE_SECONDS = 3
HEAD = (
    "idle", "KB a connection", "to Socket.IO", "server with nobody, MB", "% of a core", "with nobody, %",
    "pings a second",
)  # fmt: skip


def one(system: System, given: argparse.Namespace) -> dict[str, float]:
    """A round of one system."""
    with loaded(system, given.readers) as setup:
        pid, load = setup.server.pid, setup.load

        def idle(duration: float) -> tuple[float, float]:
            """Percent of a core, and pings a second."""
            cpu = cpu_seconds(pid)
            outcome = load.ask("idle", duration)
            assert not outcome.failed, "connections were closed"
            return (cpu_seconds(pid) - cpu) / outcome.seconds * 100, outcome.pings / outcome.seconds

        nobody, _ = idle(given.seconds / 10)
        empty = resident_kb(pid)
        load.open(IN_FLIGHT)
        load.ask("idle", SETTLE_SECONDS)
        full = resident_kb(pid)
        busy, pings = idle(given.seconds)
    return {
        "kb": (full - empty) / given.readers, "mb": empty / 1024, "cpu": busy, "nobody": nobody,
        "pings": pings, "wrong": 0,
    }  # fmt: skip


def row(result: Result, system: str) -> list[str]:
    """A system's line of the table."""
    figures = result["systems"][system]
    weight = [spread(figures["kb"], 1), compared(result, system, "kb", SOCKETIO.name)]
    return [
        SYSTEMS[system].title,
        *weight,
        *(spread(figures[n], 1) for n in ("mb", "cpu", "nobody", "pings")),
    ]


def tables(result: Result) -> str:
    """All in one."""
    return table(HEAD, [row(result, system) for system in result["systems"]])


if __name__ == "__main__":
    sys.exit(scenario(options(__doc__, PEERS, OTHERS, readers=5000, seconds=25.0, rounds=1), one, tables))
