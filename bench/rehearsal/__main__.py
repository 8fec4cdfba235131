"""Rehearses a sale, and writes a page about it: ``make rehearsal ARGS="--clients 2000"``.

Without ``--url`` it makes a deployment for itself: a store, three servers, and the balancer of ``deploy/``;
and it replaces the servers in the middle of the sale. With it, it goes to yours, with the key of your API
(``KEEPSEAT_API_KEY``), and tokens that it signs (``KEEPSEAT_JWT_SECRET``) or is given (``--tokens``); its
event has a name of its own and is deleted in the end.
"""

import argparse
import asyncio
import os
import resource
import secrets
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.rehearsal.cluster import running
from bench.rehearsal.course import Plan, Rehearsal
from bench.rehearsal.house import House
from bench.rehearsal.line import Target
from bench.rehearsal.page import page
from bench.rehearsal.shop import Down
from bench.rehearsal.verdict import verdict
from tests.support.tokens import API_KEY, SECRET, token

TOKEN_SECONDS = 7200
DRAIN_SHARE = 12
"""A server that is replaced sends its users away within this part of the sale."""
BAD_OPTIONS, INTERRUPTED = 2, 130


class Unusable(Exception):  # noqa: N818 - an outcome
    """It cannot be rehearsed with these options."""


def tokens_of(given: argparse.Namespace, event: str) -> dict[str, str]:
    """User, by any name, -> token."""
    names = [f"{event}-{n}" for n in range(given.clients)]
    if given.tokens:
        lines = Path(given.tokens).read_text().split()
        if len(lines) < given.clients:
            raise Unusable(f"{given.tokens} has {len(lines)} tokens for {given.clients} clients")
        return dict(zip(names, lines, strict=False))
    secret = os.environ.get("KEEPSEAT_JWT_SECRET", "") if given.url else SECRET
    if not secret:
        raise Unusable("tokens for your servers: set KEEPSEAT_JWT_SECRET, or give --tokens")
    return {name: token(name, secret=secret, lifetime=TOKEN_SECONDS) for name in names}


async def rehearse(given: argparse.Namespace) -> bool:
    """Whether every promise was kept; what asks this process to end cancels it."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    event = f"rehearsal-{secrets.token_hex(3)}"
    plan = Plan(tokens_of(given, event), given.seconds, House.of(event, given.clients, given.seconds))
    if given.url:
        key = os.environ.get("KEEPSEAT_API_KEY", "")
        if not key:
            raise Unusable("the key of your servers' API: set KEEPSEAT_API_KEY")
        rehearsal = Rehearsal(plan, given.url, key, None)
        await rehearsal.run()
    else:
        with tempfile.TemporaryDirectory() as folder:
            async with running(Path(folder), given.seconds / DRAIN_SHARE) as cluster:
                rehearsal = Rehearsal(plan, cluster.url, API_KEY, cluster)
                await rehearsal.run()
    found = verdict(rehearsal.findings, rehearsal.record)
    print("\n".join(found.lines()))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(page(plan, rehearsal.record, found, url=given.url))
    print(f"the report: {given.output}")
    return found.is_good


def main() -> int:
    """Rehearse; returns 1 where a promise was broken, 2 where that could not be found out."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--clients", type=int, default=500)
    options.add_argument("--seconds", type=float, default=60, help="of the sale, from its opening (60)")
    options.add_argument("--url", default="", help="of your own deployment, such as https://rt.example")
    options.add_argument("--tokens", default="", help="a file with a token a line, each another user's")
    options.add_argument("--output", type=Path, default=Path("var/rehearsal.html"))
    given = options.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        if given.url:
            Target.of(given.url)
        return 0 if uvloop.run(rehearse(given)) else 1
    except (Unusable, Down, FileNotFoundError, ValueError) as problem:
        print(f"rehearsal: {problem}", file=sys.stderr)
        return BAD_OPTIONS
    except asyncio.CancelledError:
        print("rehearsal: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
