"""Delivery while lines break: many clients in one room, each one's TCP connection cut again and again.

The form of the public test: each client is cut about every 15 s for about 2 s, numbered messages are
published evenly over the run, and all clocks are in one process. Two server processes of each system on a
store of its own; a client comes back to either of them. Run: ``.venv/bin/python -m bench.jitter [--peer
keepseat --clients 1000 --seconds 30 --rounds 1]``, after ``make .venv/.peers``. Status 1 where a message of
ours is missing, came twice or out of order, or where the replay is too slow.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from bench import report
from bench.rounds import interleaved, options
from bench.systems import (
    HERE,
    INSTALLED,
    KEEPSEAT,
    NODE,
    RECOVERY,
    SOCKETIO,
    SYSTEMS,
    System,
    raise_file_limit,
    running,
)
from tests.support.tokens import API_KEY, SECRET

PEERS = (KEEPSEAT, SOCKETIO, RECOVERY)
MESSAGES = 120
CUT_EVERY_MS = 15_000
AWAY_MS = 2_000
"""On average; each time half to one and a half of it."""
REPLAY_LIMIT_MS = 1_000
GRACE_SECONDS = 120
"""For joining, and for coming to rest."""
HEAD = (
    "system", "delivered", "missing", "twice", "out of order", "cuts", "replays", "p50 / p95 / p99, ms",
)  # fmt: skip


def one(system: System, given: argparse.Namespace) -> dict[str, Any]:
    """Run one system once."""
    with running(system) as (servers, _):
        task = {
            "system": system.name,
            "urls": [server.url for server in servers],
            "clients": given.clients,
            "seconds": given.seconds,
            "messages": MESSAGES,
            "cutEveryMs": CUT_EVERY_MS,
            "awayMs": AWAY_MS,
            "seed": given.seed,
            "secret": SECRET,
            "apiKey": API_KEY,
        }
        done = subprocess.run(
            [NODE, HERE / "jitter.mjs"],
            cwd=INSTALLED,
            input=json.dumps(task),
            stdout=subprocess.PIPE,
            text=True,
            timeout=given.seconds + GRACE_SECONDS,
            check=True,
        )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def together(results: list[dict[str, Any]]) -> dict[str, Any]:
    """All rounds of a system as one: samples are merged, percentiles never averaged."""
    merged = {
        name: [x for r in results for x in r[name]] if name == "replays" else sum(r[name] for r in results)
        for name in results[0]
    }
    replays = merged.pop("replays")
    percentiles = {f"replayP{share}Ms": report.percentile(replays, share) for share in (50, 95, 99, 100)}
    return {**merged, "replays": len(replays), **percentiles}


def row(system: str, figures: dict[str, Any]) -> list[str]:
    """A system's line of the table."""
    missing = figures["expected"] - figures["delivered"]
    replay = " / ".join(f"{figures[f'replayP{share}Ms']:,.0f}" for share in (50, 95, 99))
    if not figures["replays"]:
        replay = "never"
    return [
        SYSTEMS[system].title,
        f"{figures['delivered'] / figures['expected']:.2%}",
        *(f"{n:,}" for n in (missing, figures["duplicates"], figures["outOfOrder"], figures["cuts"])),
        f"{figures['replays']:,}",
        replay,
    ]


def is_good(figures: dict[str, Any]) -> bool:
    """What we promise."""
    return bool(
        figures["delivered"] == figures["expected"]
        and not figures["duplicates"]
        and not figures["outOfOrder"]
        and figures["replayP99Ms"] < REPLAY_LIMIT_MS
    )


def tables(result: Mapping[str, Any]) -> str:
    """All in one."""
    return report.table(HEAD, [row(system, figures) for system, figures in result["systems"].items()])


def main() -> int:
    """Run all systems; returns 1 where we did not keep our promise."""
    given = options(__doc__, PEERS, clients=1000, seconds=30.0, rounds=1, seed=1)
    raise_file_limit()
    results = interleaved(given.systems, given.rounds, lambda system: one(system, given))
    figures = {name: together(of_rounds) for name, of_rounds in results.items()}
    result = {
        "given": {"clients": given.clients, "seconds": given.seconds, "messages": MESSAGES},
        "systems": figures,
    }
    print(tables(result) + "\n")
    report.write(given.json, result)
    good = all(is_good(figures[name]) for name in figures if name == KEEPSEAT.name)
    print("ours: " + ("ok" if good else "MISSED"))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
