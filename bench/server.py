"""A server's parts in this process, on a store of its own; its clients are real sockets that a sink reads.

What the kernel takes for a frame is a part of what a frame costs, and so is a process that reads it; what
the edge does with a frame that comes in is left out.
"""

import asyncio
import contextlib
import cProfile
import json
import multiprocessing
import pstats
import resource
import selectors
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.process import store_seconds
from session.config import parse
from session.connection import Connection
from session.protocol import decode
from session.services import Services, build
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.tokens import SECRET, token
from tests.support.waiting import eventually

BACKLOG = 1024


class Outlet:
    """A transport: bytes go to the kernel at once, and are counted."""

    closed = False

    def __init__(self, sink: "Sink") -> None:
        self._sink = sink
        self._socket = socket.create_connection(sink.address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(self, frames: bytes) -> None:
        """Send it; the sink reads faster than anything here writes."""
        began = time.thread_time()
        self._socket.send(frames)
        self._sink.seconds += time.thread_time() - began
        self._sink.last = frames
        self._sink.frames += 1
        self._sink.bytes += len(frames)

    def deliver(self, frames: bytes) -> bool:
        self.write(frames)
        return True

    def send(self, frames: bytes) -> int:
        self.write(frames)
        return len(frames)

    def backlog(self) -> int:
        return 0

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"closed with {code} {reason}")

    abort = close


class Sink:
    """All clients' ends: a process that reads and forgets; here is counted what it was sent."""

    def __init__(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.address = listening.getsockname()
        self.frames = self.bytes = 0
        self.last = b""
        self.seconds = 0.0
        """CPU time that the kernel took to send it."""
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_drain, args=(listening,), daemon=True)
        self._process.start()
        listening.close()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def _drain(listening: socket.socket) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is listening:
                    ready.register(listening.accept()[0], selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    key.fileobj.recv(65536)


class Calls(dict[str, tuple[int, float]]):
    """Command -> how often it was called, and its microseconds in all."""

    def each(self, command: str) -> float:
        """Microseconds a call."""
        count, micros = self[command]
        return micros / count

    def busiest(self, times: float) -> str:
        """Where most of the time went, for each of so many times that something was done."""
        most = sorted(self.items(), key=lambda call: -call[1][1])[:5]
        return ", ".join(f"{name} {n / times:.1f} x {us / n:.1f} us" for name, (n, us) in most)


class Bench:
    """A running server without its edge, and its store."""

    def __init__(self, services: Services, store: StoreProcess, sink: Sink) -> None:
        self.services = services
        self.sink = sink
        self._store = store

    async def connect(self, user: str) -> Connection:
        """Sign a user in, as the socket handler does."""
        connection = Connection(
            Outlet(self.sink), auth_timeout=60, ping_interval=600, ping_timeout=600, max_backlog=2**20
        )
        await self.services.entrance.sign_in(connection, token(user))
        return connection

    async def do(self, connection: Connection, type: str, **fields: Any) -> None:
        """Run a client's command."""
        await self.services.commands.run(connection, decode(json.dumps({"type": type, **fields})))

    # --- the store ---

    def redis_seconds(self) -> float:
        """CPU time that the store has used so far."""
        return store_seconds(self._store)

    @contextlib.contextmanager
    def counting(self) -> Iterator[Calls]:
        """Fills in what was asked of the store meanwhile, also by scripts."""
        calls = Calls()
        self._store.client.config_resetstat()
        yield calls
        for name, stats in self._store.info("commandstats").items():
            calls[name.removeprefix("cmdstat_")] = (stats["calls"], float(stats["usec"]))

    def weigh(self, *keys: str) -> int:
        """Bytes of these keys in the store, every element counted."""
        return sum(self._store.client.memory_usage(key, samples=0) or 0 for key in keys)


class Steps:
    """A coroutine, and the CPU time that it takes: not what it waits, nor what others of the machine take.

    ``longest`` is how long it keeps everyone else on the loop waiting.
    """

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self.total = self.longest = 0.0

    def __await__(self) -> Generator[Any, Any, None]:
        while True:
            began = time.thread_time()
            try:
                waits_for = self._work.send(None)
            except StopIteration:
                return
            finally:
                took = time.thread_time() - began
                self.total += took
                self.longest = max(self.longest, took)
            yield waits_for


@contextlib.contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    """Print where the time of this process goes."""
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile).sort_stats("tottime").print_stats(18)


def verdict(value: float, limit: float) -> str:
    """Whether a target is met."""
    return "ok" if value <= limit else f"MISSED, {value / limit:.1f} times the target"


def run(bench: Callable[[Bench], Coroutine[Any, Any, bool]], *options: str) -> bool:
    """Run a benchmark on an embedded Valkey, on the loop that the server uses."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sink = Sink()
    with tempfile.TemporaryDirectory() as folder:
        store = StoreProcess(valkey_binary(), Path(folder))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_run(bench, store, sink, options))
        finally:
            store.stop()
            sink.stop()


async def _run(
    bench: Callable[[Bench], Coroutine[Any, Any, bool]],
    store: StoreProcess,
    sink: Sink,
    options: tuple[str, ...],
) -> bool:
    async with _running(store.url, options) as services:
        return await bench(Bench(services, store, sink))


@contextlib.asynccontextmanager
async def _running(url: str, options: tuple[str, ...]) -> AsyncIterator[Services]:
    """The parts that `server.py` starts."""
    services = build(
        parse([f"--jwt-secret={SECRET}", *options], {}), redis_url=url, secret=SECRET, api_key=""
    )
    parts = (
        services.store, services.leases, services.listener, services.watch, services.presence,
        services.janitor, services.ticker, services.lobby, services.boards, services.hub,
    )  # fmt: skip
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        await eventually(lambda: services.listener.bell.canary_age() < 2, "the canary is heard")
        await eventually(lambda: services.leases.is_valid, "the lease is held")
        yield services
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
