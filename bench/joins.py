"""How fast one server lets users in who come all at once, from the TCP connection to the restored session.

Each is a user who was here before: the token is verified, the session read and kept, the room joined. Of
Socket.IO, which keeps no sessions that outlive a server, there are two: one that verifies the token, and one
that also reads and writes a session in the store. What the store has to do for it is counted too. Run:
``.venv/bin/python -m bench.joins [--peer keepseat --readers 5000 --rounds 3]``, after ``make .venv/.peers``.
"""

import argparse
import sys
from itertools import islice

from bench.load import loaded
from bench.process import cpu_seconds, store_seconds
from bench.report import Result, compared, spread, table
from bench.rounds import options, scenario
from bench.systems import (
    KEEPSEAT,
    LIMIT,
    PYTHON_SOCKETIO,
    RECOVERY,
    SESSIONS,
    SOCKETIO,
    SYSTEMS,
    TORNADO,
    System,
)  # fmt: skip
from tests.support.stores import StoreProcess

PEERS = (LIMIT, KEEPSEAT, SESSIONS, SOCKETIO, RECOVERY, PYTHON_SOCKETIO, TORNADO)
IN_FLIGHT = 256
SETTLE_SECONDS = 2
MOST_COMMANDS = 10
BATCH = 1000
HEAD = (
    "joins", "a second", "to Socket.IO", "to Socket.IO with a session", "server CPU a join, us", "p50, ms",
    "p99, ms", "turned away",
)  # fmt: skip
STORE_HEAD = ("the store", "commands a join", "us executing them", "CPU, us", "keys", "bytes in all keys")


class Asked:
    """What a store was asked to do since this was made, for each of so many joins."""

    def __init__(self, store: StoreProcess) -> None:
        self._store = store
        store.client.config_resetstat()
        self._before = self._used()

    def _used(self) -> tuple[float, float]:
        return store_seconds(self._store) * 1e6, float(
            self._store.info("stats")["eventloop_duration_cmd_sum"]
        )

    def figures(self, joins: int) -> dict[str, float]:
        """Those of a join. A command that a script calls is one too; a script's time has theirs in it."""
        before, now = self._before, self._used()
        stats = self._store.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
        spent = {name.removeprefix("cmdstat_"): each["usec"] for name, each in stats.items()}
        each = {f"calls {name}": count / joins for name, count in calls.items()}
        each |= {f"us {name}": spent[name] / joins for name in calls}
        total = {
            "store commands": sum(calls.values()) / joins,
            "store us": (now[1] - before[1]) / joins if now[1] >= before[1] else now[1] / joins,
            "store cpu": (now[0] - before[0]) / joins,
        }
        return {**each, **total}


def weigh(store: StoreProcess) -> dict[str, float]:
    """How many keys there are, and their bytes, every element counted."""
    keys = store.client.scan_iter(count=BATCH)
    count = weight = 0
    while batch := list(islice(keys, BATCH)):
        with store.client.pipeline(transaction=False) as pipe:
            for key in batch:
                pipe.memory_usage(key, samples=0)
            weight += sum(size or 0 for size in pipe.execute())
        count += len(batch)
    return {"keys": count, "key bytes": weight}


def one(system: System, given: argparse.Namespace) -> dict[str, float]:
    """A round of one system: everybody comes, is cut off, and comes again."""
    readers = min(given.readers, system.most)
    with loaded(system, readers) as setup:
        setup.load.open(IN_FLIGHT)
        setup.load.ask("shrink", 0)
        setup.load.ask("idle", SETTLE_SECONDS)  # until the server has noticed
        asked = Asked(setup.store) if setup.store else None
        cpu = cpu_seconds(setup.server.pid)
        outcome = setup.load.open(IN_FLIGHT)
        cpu = cpu_seconds(setup.server.pid) - cpu
        figures = {
            "rate": readers / outcome.seconds, "cpu": cpu / readers * 1e6, "p50": outcome.p50,
            "p99": outcome.p99, "away": outcome.failed, "wrong": readers - outcome.opened,
        }  # fmt: skip
        if asked and setup.store:
            figures |= asked.figures(readers) | weigh(setup.store)
    return figures


def row(result: Result, system: str) -> list[str]:
    """A system's line of the first table."""
    figures = result["systems"][system]
    ratios = [compared(result, system, "rate", other.name) for other in (SOCKETIO, SESSIONS)]
    rest = (spread(figures[name]) for name in ("cpu", "p50", "p99", "away"))
    return [SYSTEMS[system].title, spread(figures["rate"]), *ratios, *rest]


def store_row(result: Result, system: str) -> list[str]:
    """A system's line of the second table."""
    figures = result["systems"][system]
    asked = [spread(figures[name], 1) for name in ("store commands", "store us", "store cpu")]
    return [SYSTEMS[system].title, *asked, *(spread(figures[name]) for name in ("keys", "key bytes"))]


def commands(result: Result) -> str:
    """What ours asks of the store most, a join."""
    figures = result["systems"][KEEPSEAT.name]
    spent = {name[3:]: sum(of) / len(of) for name, of in figures.items() if name.startswith("us ")}
    most = sorted(spent, key=lambda name: -spent[name])[:MOST_COMMANDS]
    rows = [[f"`{n}`", spread(figures[f"calls {n}"], 2), spread(figures[f"us {n}"], 1)] for n in most]
    return table(("Keepseat asks the store", "calls a join", "us a join"), rows)


def tables(result: Result) -> str:
    """How fast; what the store has to do; what it is asked."""
    systems = result["systems"]
    with_store = [system for system in systems if "store us" in systems[system]]
    all_tables = [table(HEAD, [row(result, system) for system in systems])]
    if with_store:
        all_tables.append(table(STORE_HEAD, [store_row(result, system) for system in with_store]))
    if KEEPSEAT.name in systems:
        all_tables.append(commands(result))
    return "\n\n".join(all_tables)


if __name__ == "__main__":
    sys.exit(scenario(options(__doc__, PEERS, readers=5000, rounds=3), one, tables))
