"""The load generator: `load/wsload.c`, compiled when it is needed, on a core that is not the server's."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.process import cpu_seconds
from bench.systems import CEILING, Server, System, on_cores, running
from tests.support.ports import free_port
from tests.support.stores import StoreProcess
from tests.support.tokens import token
from tests.support.waiting import wait_until

SOURCES = Path(__file__).parent / "load"
PUBLISHERS = 16


class Cores(NamedTuple):
    """Those of the server that is measured, and those of all else."""

    server: Sequence[int]
    others: Sequence[int]


def cores(processes: int = 1) -> Cores:
    """A core for each process of the server, another for all else; it shares the last one of too few."""
    mine = sorted(os.sched_getaffinity(0))
    return Cores(mine[:processes], mine[processes : processes + 1] or mine[-1:])


class Outcome(NamedTuple):
    """What one command of the generator came to; ``p50`` and ``p99`` in milliseconds, ``failed`` are
    connections that were refused or closed, each time. ``lost`` and ``twice`` are deliveries. ``busy`` is the
    share of its core that the generator has used."""

    opened: int
    failed: int
    seconds: float
    came: int
    lost: int
    twice: int
    pings: int
    p50: float
    p99: float
    busy: float

    @property
    def wrong(self) -> int:
        """What must not be: a figure of which this is more than none is no figure."""
        return self.failed + self.lost + self.twice


class Load:
    """A running generator; it knows its readers, and its publishers, who talk to another server."""

    def __init__(self, process: "subprocess.Popen[str]", readers: int) -> None:
        self._process = process
        self.readers = readers

    def ask(self, *words: object) -> Outcome:
        """Let it do something; the commands are listed in its source."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        cpu = cpu_seconds(process.pid)
        process.stdin.write(" ".join(map(str, words)) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"the generator has ended with {process.wait()}"
        told = json.loads(answer)
        return Outcome(**told, busy=(cpu_seconds(process.pid) - cpu) / max(told["seconds"], 1e-9))

    def open(self, in_flight: int, count: int = 0) -> Outcome:
        """Open readers until there are so many, or all; all of them must come in."""
        count = count or self.readers
        outcome = self.ask("open", in_flight, count)
        assert outcome.opened in (count, count + PUBLISHERS), outcome
        return outcome

    def open_publishers(self) -> None:
        """Open them."""
        before = self.ask("idle", 0).opened
        outcome = self.ask("publishers")
        assert outcome.opened == before + PUBLISHERS, outcome


class Setup(NamedTuple):
    """A system that runs, its store, if it has one, and the generator beside it."""

    server: Server
    load: Load
    store: StoreProcess | None


class SendLoop:
    """`load/csend.c`: the machine's limit, where nothing is done but sending."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [compiled("csend", folder), str(self.port), *words]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def wait_ready(self, timeout: float = 10) -> None:
        # it has said nothing that a client could wait for before it listens
        wait_until(lambda: f":{self.port:04X} " in Path("/proc/net/tcp").read_text(), "it listens", timeout)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


def compiled(name: str, folder: Path) -> str:
    """A program of `load/`, in a folder.

    Raises:
        FileNotFoundError: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("these benchmarks want a C compiler named cc")
    subprocess.run([compiler, "-O2", "-o", folder / name, SOURCES / f"{name}.c"], check=True)
    return str(folder / name)


@contextlib.contextmanager
def loaded(system: System, readers: int, on: Cores | None = None) -> Iterator[Setup]:
    """A system with one server on cores of its own, and a generator that has opened nobody yet."""
    on = on or cores()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        store = None
        if system.kind == "raw":
            server: Server = SendLoop(folder, *(["joined"] if system is CEILING else []))
            with on_cores(on.server):
                server.start()
            stack.callback(server.kill)
            server.wait_ready()
            servers = [server, server]
        else:
            servers, store = stack.enter_context(running(system, on.server, on.others))
        load = stack.enter_context(_generator(system, servers, readers, folder, on.others))
        yield Setup(servers[0], load, store)


@contextlib.contextmanager
def _generator(
    system: System, servers: list[Server], readers: int, folder: Path, on: Sequence[int]
) -> Iterator[Load]:
    tokens = folder / "tokens"
    users = [token(f"reader-{n}") for n in range(readers)]
    users += [token(f"publisher-{n}", publish=["event:bench"]) for n in range(PUBLISHERS)]
    tokens.write_text("\n".join(users) + "\n")
    words = [system.kind, servers[0].port, readers, servers[1].port, PUBLISHERS, tokens]
    with on_cores(on):
        process = subprocess.Popen(
            [compiled("wsload", folder), *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        yield Load(process, readers)
    finally:
        process.kill()
        process.communicate()
