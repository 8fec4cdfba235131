"""Whether a delivery, a join or a connection costs more where there are more: 100 to 15,000 in one room.

The readers of a size come on top of those of the one before it. Run: ``.venv/bin/python -m bench.growth
[--peer keepseat --seconds 1 --rounds 3 --scale 1]``; a scale of 0.1 is for trying it. Status 1 where a
message was missing or came twice.
"""

import argparse
import sys

from bench.load import loaded
from bench.process import cpu_seconds, resident_kb
from bench.report import Result, spread, table
from bench.rounds import options, scenario
from bench.systems import KEEPSEAT, LIMIT, RECOVERY, SOCKETIO, SYSTEMS, System

PEERS = (KEEPSEAT, SOCKETIO, LIMIT)
OTHERS = (RECOVERY,)
SIZES = (100, 1000, 5000, 15_000)
IN_FLIGHT = 256
WARM_SECONDS = 0.3
SETTLE_SECONDS = 1.5
LEAST = 1000
"""Below, the memory of a connection drowns in what the first ones of a server take."""


def sizes(result: Result) -> list[int]:
    """How many there were, from few to many."""
    figures = next(iter(result["systems"].values()))
    return sorted(int(name.removeprefix("one ")) for name in figures if name.startswith("one "))


def measured(result: Result, figure: str) -> dict[str, dict[str, list[float]]]:
    """The systems that a figure says something of: the loop in C joins nobody, and keeps nothing."""
    return {name: of for name, of in result["systems"].items() if figure == "one" or name != LIMIT.name}


def one(system: System, given: argparse.Namespace) -> dict[str, float]:
    """A round of one system."""
    steps = [max(1, int(size * given.scale)) for size in SIZES]
    figures: dict[str, float] = {"wrong": 0}
    with loaded(system, steps[-1]) as setup:
        load, pid = setup.load, setup.server.pid
        load.open_publishers()
        here = 0
        resident = resident_kb(pid)
        for size in steps:
            new = size - here
            cpu = cpu_seconds(pid)
            load.open(IN_FLIGHT, size)
            figures[f"join {size}"] = (cpu_seconds(pid) - cpu) / new * 1e6
            load.ask("idle", SETTLE_SECONDS)
            before, resident, here = resident, resident_kb(pid), size
            figures[f"kb {size}"] = (resident - before) / new
            load.ask("fan", 1, WARM_SECONDS)
            outcome = load.ask("fan", 1, given.seconds)
            figures[f"one {size}"] = outcome.came / outcome.seconds
            figures["wrong"] += outcome.wrong
    return figures


def tables(result: Result) -> str:
    """A column for each size."""
    steps = sizes(result)
    what = (("one", "deliveries/s"), ("join", "server CPU a join, us"), ("kb", "KB a connection"))
    rows = [
        [
            f"{SYSTEMS[system].title}: {title}",
            *(
                spread(figures[f"{name} {n}"], int(name == "kb")) if name != "kb" or n >= LEAST else ""
                for n in steps
            ),
        ]
        for name, title in what
        for system, figures in measured(result, name).items()
    ]
    return table(("connections in the room", *(f"{size:,}" for size in steps)), rows)


if __name__ == "__main__":
    sys.exit(scenario(options(__doc__, PEERS, OTHERS, seconds=1.0, rounds=3, scale=1.0), one, tables))
