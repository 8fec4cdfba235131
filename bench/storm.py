"""Thousands are cut at once and come back to another server, while others come for the first time.

Real servers, a real store, real WebSockets: the clients are a process of their own. One server is killed
with everyone on it; each comes back within ``--spread`` seconds, as the bundled client does, names where it
was, and waits for `session-restored`. At the same moment newcomers sign in.
Run: ``.venv/bin/python -m bench.storm [--clients 5000]``; ``--at-once 256`` measures what a server can do
instead: so many connect at a time, the next when one is done.
"""

import argparse
import asyncio
import http.client
import multiprocessing
import random
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import uvloop

from bench.raw import Frame, RawClient, Refused
from bench.server import verdict
from tests.support.api import Api
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.tokens import token

ROOM, LINE = "event:123", "storm"
MISSED = 5
COMING = 64
"""Who come at a time before the storm."""
PATIENCE_SECONDS = 120
ALL_BACK_SECONDS = 10.0
LAG_SECONDS = 0.25


class Visitor:
    """A user over all its connections."""

    def __init__(self, name: str, in_line: bool) -> None:
        self.token = token(name)
        self.took = 0.0
        """Seconds from the first try to come (back) until it was there."""
        self._in_line = in_line
        self._at: dict[str, Frame] = {}
        self._client: RawClient | None = None

    async def come(self, port: int) -> None:
        """Sign in for the first time, and join."""
        client = await RawClient.open(port, {"type": "auth", "token": self.token})
        self._stand((await client.expect("connected"))["userRoom"])
        client.send({"type": "join-event", "eventId": ROOM.partition(":")[2]})
        self._stand(await client.expect("event-joined"))
        if self._in_line:
            client.send({"type": "join-queue", "eventId": LINE})
            self._stand(await client.expect("queue-joined"))
        self._client = client

    def _stand(self, frame: Frame) -> None:
        self._at[frame["room"]] = {"epoch": frame["epoch"], "offset": frame["offset"]}

    async def cut(self) -> None:
        """Wait until the line has ended."""
        assert self._client is not None
        await self._client.lost

    async def come_back(self, port: int) -> None:
        """Be restored in all rooms, with what was missed promised."""
        first = {"type": "auth", "token": self.token, "resume": self._at}
        client = await RawClient.open(port, first, b"?returning=1")
        restored = await client.expect("session-restored")
        assert all(room["recovered"] for room in restored["rooms"]), restored["rooms"]
        assert not self._in_line or restored["queue"]["status"] == "waiting", restored["queue"]
        self._client = client

    async def sign_in(self, port: int) -> None:
        """Be greeted."""
        client = await RawClient.open(port, {"type": "auth", "token": self.token})
        await client.expect("connected")
        self._client = client


@dataclass
class Outcome:
    """What a crowd went through."""

    began: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)
    """When each was there, after the beginning of it all."""
    waited: list[float] = field(default_factory=list)
    """How long each waited, after its own first try."""
    refusals: Counter[str] = field(default_factory=Counter)

    async def persist(self, going: Callable[[], Awaitable[None]], delay: float) -> None:
        """Try until it is done, as the bundled client does: when told, else with backoff."""
        await asyncio.sleep(delay)
        first, failures = time.monotonic(), 0
        while True:
            try:
                await going()
                break
            except Refused as refused:
                told = refused.retry_ms
                self.refusals[f"{refused.code}, {'no delay' if told is None else 'a delay'}"] += 1
                pause = random.uniform(0, 2.0**failures) if told is None else told / 1000
            except OSError as error:
                self.refusals[type(error).__name__] += 1
                pause = random.uniform(0, 2.0**failures)
            failures = min(failures + 1, 5)
            await asyncio.sleep(pause)
        self.seconds.append(time.monotonic() - self.began)
        self.waited.append(time.monotonic() - first)


# --- the process of the clients ---


class Crowd:
    """All clients. Its parent tells it what to do over a pipe."""

    def __init__(self, count: int, newcomers: int, in_line: bool) -> None:
        self._old = [Visitor(f"user-{n}", in_line) for n in range(count)]
        self._new = [Visitor(f"new-{n}", False) for n in range(newcomers)]

    async def come(self, port: int) -> None:
        await _some_at_a_time(self._old, COMING, lambda visitor: visitor.come(port))

    async def storm(self, port: int, spread: float) -> tuple[Outcome, Outcome]:
        """Wait for the cut, then come back, with newcomers at the same time."""
        await asyncio.gather(*(visitor.cut() for visitor in self._old))
        old, new = Outcome(), Outcome()
        await asyncio.gather(
            *(old.persist(lambda v=v: v.come_back(port), random.uniform(0, spread)) for v in self._old),  # type: ignore[misc]
            *(new.persist(lambda v=v: v.sign_in(port), random.uniform(0, spread)) for v in self._new),  # type: ignore[misc]
        )
        return old, new

    async def relay(self, port: int, at_once: int) -> tuple[Outcome, Outcome]:
        """Wait for the cut, then come back, so many at a time."""
        await asyncio.gather(*(visitor.cut() for visitor in self._old))
        old = Outcome()
        await _some_at_a_time(self._old, at_once, lambda v: old.persist(lambda: v.come_back(port), 0))
        return old, Outcome()


async def _some_at_a_time(
    visitors: Iterable[Visitor], count: int, do: Callable[[Visitor], Awaitable[None]]
) -> None:
    waiting = iter(visitors)

    async def one_after_another() -> None:
        for visitor in waiting:
            await do(visitor)

    await asyncio.gather(*(one_after_another() for _ in range(count)))


def clients(pipe: Pipe, crowd: Crowd) -> None:
    """The main function of the process: (method, arguments) come, results go."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        while True:
            name, *args = await loop.run_in_executor(None, pipe.recv)
            pipe.send(await getattr(crowd, name)(*args))

    uvloop.run(serve())


# --- the storm ---


class Load:
    """What a server goes through: its loop's lag, its CPU time, and how long a health check waits."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        # opened before the storm, as Prometheus keeps one; a health check comes anew each time
        self._line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._scrape, self._check)]
        self._cpu = self._metric("process_cpu_seconds_total")
        self.lags: list[float] = []
        self.checks: list[float] = []

    def watch(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> float:
        """Stop watching; the CPU seconds that it took."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return self._metric("process_cpu_seconds_total") - self._cpu

    def _metric(self, name: str) -> float:
        self._line.request("GET", "/metrics")
        text = self._line.getresponse().read().decode()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def _scrape(self) -> None:
        while not self._over.wait(LAG_SECONDS):
            self.lags.append(self._metric("keepseat_loop_lag_seconds"))

    def _check(self) -> None:
        while not self._over.wait(LAG_SECONDS):
            began = time.monotonic()
            line = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE_SECONDS)
            line.request("GET", "/readyz")
            line.getresponse().read()
            line.close()
            self.checks.append(time.monotonic() - began)


def storm(folder: Path, given: argparse.Namespace) -> bool:
    """Run it and print the figures; whether the targets were met."""
    store = StoreProcess(valkey_binary(), folder)
    options: dict[str, Any] = {
        "redis_url": store.url,
        "ping_interval": 600,
        "max_unauthenticated_per_address": 0,
    }
    a, b = (ServerProcess(folder / f"{name}.log", **options) for name in "ab")
    here, there = multiprocessing.Pipe()
    crowd = Crowd(given.clients, given.newcomers, given.line)
    process = multiprocessing.get_context("fork").Process(target=clients, args=(there, crowd), daemon=True)
    try:
        for server in (a, b):
            server.start()
        for server in (a, b):
            server.wait_ready()
        if given.line:
            asyncio.run(
                Api(b).put(f"/api/events/{LINE}", {"title": "Storm", "capacity": 1, "startsAt": 2**42})
            )
        process.start()
        here.send(("come", a.port))
        assert here.poll(PATIENCE_SECONDS), "they do not come"
        here.recv()
        at_once = given.at_once
        here.send(("relay", b.port, at_once) if at_once else ("storm", b.port, given.spread))
        return _cut(a, b, here)
    finally:
        process.kill()
        a.kill()
        b.kill()
        store.stop()


def _cut(a: ServerProcess, b: ServerProcess, here: Pipe) -> bool:
    """Kill a server; tell what its clients and the other server go through."""
    load = Load(b)
    load.watch()
    a.kill()
    for n in range(MISSED):
        asyncio.run(Api(b).publish(ROOM, {"n": n, "text": "x" * 100}))
    assert here.poll(PATIENCE_SECONDS), "somebody waits for ever"
    old, new = here.recv()
    seconds = load.end()
    print(f"{len(old.seconds)} came back after a cut; seconds until 50 %, 95 %, all: {_parts(old.seconds)}")
    print(f"  each waited, from its own first try: {_parts(old.waited)}")
    if new.waited:
        print(f"{len(new.waited)} newcomers at the same time waited: {_parts(new.waited)}")
    print(f"refused, and tried again: {dict(old.refusals)} of the old, {dict(new.refusals)} of the new")
    print(f"the loop's lag, of {len(load.lags)} looks: {_parts(load.lags)} s")
    print(f"a health check waited, of {len(load.checks)}: {_parts(load.checks)} s")
    each = seconds / (len(old.waited) + len(new.waited))
    print(f"the server's CPU time for each: {1e6 * each:.0f} us, so {1 / each:.0f} a second and core")
    last = max(old.seconds)
    print(f"all back: {last:.1f} s, {verdict(last, ALL_BACK_SECONDS)}")
    return bool(last <= ALL_BACK_SECONDS)


def _parts(values: list[float]) -> str:
    ordered = sorted(values)
    parts = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95, 1))
    return ", ".join(f"{part:.2f}" for part in parts)


def main() -> int:
    """Run the benchmark; returns 1 where a target was missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, default=5000)
    options.add_argument("--newcomers", type=int, default=200)
    options.add_argument("--spread", type=float, default=1.0, help="seconds over which they come back")
    options.add_argument("--at-once", type=int, default=0, help="so many at a time, and no newcomers")
    options.add_argument("--line", action="store_true", help="everyone also stands in a line")
    given = options.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        return 0 if storm(Path(folder), given) else 1


if __name__ == "__main__":
    sys.exit(main())
