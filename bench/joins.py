"""How fast one server lets users in who come all at once, from the TCP connection to the restored session.

Each is a user who was here before: the token is verified, the session read and kept, the room joined. Of
Socket.IO, which keeps no sessions that outlive a server, there are two: one that verifies the token, and one
that also reads and writes a session in the store. Run: ``.venv/bin/python -m bench.joins [--readers 5000
--rounds 3]``, after ``make .venv/.peers``.
"""

import sys
from dataclasses import replace

from bench import report
from bench.load import LIMIT, loaded
from bench.process import cpu_seconds
from bench.rounds import Figures, by_name, interleaved, options
from bench.systems import KEEPSEAT, PUBSUB, STREAMS, System

WITH_SESSIONS = replace(
    PUBSUB, name="sessions", title="Socket.IO, redis adapter, and a session", keeps_sessions=True
)
SYSTEMS = (LIMIT, KEEPSEAT, WITH_SESSIONS, PUBSUB, STREAMS)
IN_FLIGHT = 256
SETTLE_SECONDS = 3
HEAD = ("joins", "a second", "ratio", "server CPU a join, us", "p50, ms", "p99, ms", "turned away")


def one(system: System, readers: int) -> dict[str, float]:
    """A round of one system: everybody comes, is cut off, and comes again."""
    with loaded(system, readers) as setup:
        setup.load.open(IN_FLIGHT)
        setup.load.ask("shrink", 0)
        setup.load.ask("idle", SETTLE_SECONDS)  # until the server has noticed
        cpu = cpu_seconds(setup.server.pid)
        outcome = setup.load.open(IN_FLIGHT)
        cpu = cpu_seconds(setup.server.pid) - cpu
    each = cpu / readers * 1e6
    return {
        "rate": readers / outcome.seconds, "cpu": each, "p50": outcome.p50, "p99": outcome.p99,
        "away": outcome.failed,
    }  # fmt: skip


def row(system: System, figures: Figures, theirs: Figures) -> list[str]:
    """A system's line of the table."""
    cells = [report.spread(figures["rate"]), f"{report.ratio(figures['rate'], theirs['rate']):.2f}"]
    return [system.title, *cells, *(report.spread(figures[name]) for name in ("cpu", "p50", "p99", "away"))]


def main() -> int:
    """Run all systems."""
    given = options(__doc__, readers=5000, rounds=3)
    figures = by_name(interleaved(SYSTEMS, given.rounds, lambda system: one(system, given.readers)))
    theirs = figures[WITH_SESSIONS.name]
    print(report.table(HEAD, [row(system, figures[system.name], theirs) for system in SYSTEMS]))
    report.write(given.json, {"readers": given.readers, "systems": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
