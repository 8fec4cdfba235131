"""How fast seats are held while many want them: from a client's request to its answer, on one server.

200 clients watch a house of 50,000 seats; each holds four of its own one by one, gives them back, and again.
First as fast as the answers come, which gives the rate, then so many a second, which gives the latency. Run:
``.venv/bin/python -m bench.holds [--readers 200 --seconds 3 --rounds 2 --rate 1000]``. Status 1 where a hold
was refused.
"""

import argparse
import http.client
import json
import sys

from bench.load import loaded
from bench.process import cpu_seconds, store_seconds
from bench.report import Result, spread, table
from bench.rounds import options, scenario
from bench.systems import KEEPSEAT, System
from tests.support.tokens import API_KEY

PEERS = (KEEPSEAT,)
IN_FLIGHT = 64
WARM_SECONDS = 1
EVENT = {
    "title": "A benchmark",
    "sections": [{"name": f"S{n}", "rows": 100, "seatsPerRow": 100, "price": 1000} for n in range(5)],
}


def sell(port: int) -> None:
    """The event is there."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("PUT", "/api/events/bench", json.dumps(EVENT), {"Authorization": f"Bearer {API_KEY}"})
    answer = line.getresponse()
    assert answer.status in (200, 201), answer.read()
    line.close()


def one(system: System, given: argparse.Namespace) -> dict[str, float]:
    """A round."""
    with loaded(system, given.readers) as setup:
        sell(setup.server.port)
        load, pid, store = setup.load, setup.server.pid, setup.store
        assert store is not None
        load.open(IN_FLIGHT)
        watching = load.ask("watch")
        load.ask("hold", 0, WARM_SECONDS)
        cpu, asked = cpu_seconds(pid), store_seconds(store)
        flat_out = load.ask("hold", 0, given.seconds)
        cpu, asked = cpu_seconds(pid) - cpu, store_seconds(store) - asked
        paced = load.ask("hold", given.rate * 5 / 4, given.seconds)  # of five requests one gives back
    return {
        "rate": flat_out.came / flat_out.seconds, "full p50": flat_out.p50, "full p99": flat_out.p99,
        "cpu": cpu / flat_out.came * 1e6, "store": asked / flat_out.came * 1e6, "busy": flat_out.busy,
        "paced": paced.came / paced.seconds, "p50": paced.p50, "p99": paced.p99,
        "wrong": watching.wrong + flat_out.wrong + paced.wrong,
    }  # fmt: skip


def tables(result: Result) -> str:
    """A line for each way to ask."""
    figures = result["systems"][KEEPSEAT.name]
    clients = result["given"]["readers"]

    def cells(rate: str, *latencies: str) -> list[str]:
        return [spread(figures[rate]), *(spread(figures[name], 1) for name in latencies)]

    cost = [spread(figures[name]) for name in ("cpu", "store")]
    rows = [
        ["as fast as answers come", *cells("rate", "full p50", "full p99"), *cost],
        [f"{result['given']['rate']:,} a second", *cells("paced", "p50", "p99"), "", ""],
    ]
    head = (
        f"{clients} clients hold seats", "holds a second", "p50, ms", "p99, ms", "server CPU a hold, us",
        "store CPU a hold, us",
    )  # fmt: skip
    return table(head, rows)


if __name__ == "__main__":
    sys.exit(scenario(options(__doc__, PEERS, readers=200, seconds=3.0, rounds=2, rate=1000), one, tables))
