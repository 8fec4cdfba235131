"""What a second process of the server is worth: one and two on as many cores, the same load.

Where there are fewer than three cores, the load generator, the store and the publishing server share the
second process's core, and the rates say little. The CPU that a delivery or a join takes then says what two
free cores would do. Run: ``.venv/bin/python -m bench.processes [--readers 5000 --seconds 1 --rounds 1]``.
"""

import argparse
import os
import sys

from bench.load import cores, loaded
from bench.process import cpu_seconds
from bench.report import Result, compared, spread, table
from bench.rounds import options, scenario
from bench.systems import KEEPSEAT, SYSTEMS, TWO, System

PEERS = (KEEPSEAT, TWO)
IN_FLIGHT = 256
WARM_SECONDS = 0.3
NAMES = ("rate", "cpu a join", "one", "cpu", "burst")


def one(system: System, given: argparse.Namespace) -> dict[str, float]:
    """A round with so many processes."""
    readers = given.readers
    count = int(system.options.get("processes", 1))
    with loaded(system, readers, cores(count)) as setup:
        load, pid = setup.load, setup.server.pid
        cpu = cpu_seconds(pid)
        joins = load.open(IN_FLIGHT)
        joining = cpu_seconds(pid) - cpu
        load.open_publishers()
        load.ask("fan", 1, WARM_SECONDS)
        cpu = cpu_seconds(pid)
        alone = load.ask("fan", 1, given.seconds)
        telling = cpu_seconds(pid) - cpu
        burst = load.ask("fan", 16, given.seconds)
    return {
        "rate": readers / joins.seconds, "cpu a join": joining / readers * 1e6,
        "one": alone.came / alone.seconds, "cpu": telling / alone.came * 1e6,
        "burst": burst.came / burst.seconds, "wrong": alone.wrong + burst.wrong,
        "cores": len(os.sched_getaffinity(0)),
    }  # fmt: skip


def row(result: Result, system: str) -> list[str]:
    """A line of the table."""
    figures = result["systems"][system]
    cells = [SYSTEMS[system].title]
    for name in NAMES:
        cells += [spread(figures[name], int(name == "cpu")), compared(result, system, name, KEEPSEAT.name)]
    return cells


def tables(result: Result) -> str:
    """All in one."""
    titles = ("joins/s", "CPU a join, us", "deliveries/s, one by one", "CPU a delivery, us", "16 at once")
    head = [cell for title in titles for cell in (title, "ratio")]
    return table(("processes", *head), [row(result, system) for system in result["systems"]])


if __name__ == "__main__":
    sys.exit(scenario(options(__doc__, PEERS, readers=5000, seconds=1.0, rounds=1), one, tables))
