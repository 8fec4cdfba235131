"""The load generator: `load/wsload.c`, compiled when it is needed, on a core that is not the server's."""

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.systems import Server, System, on_cores, running
from tests.support.ports import free_port
from tests.support.tokens import token
from tests.support.waiting import wait_until

SOURCES = Path(__file__).parent / "load"
SERVER_CORES, OTHER_CORES = (0,), (1,)
PUBLISHERS = 16


class Outcome(NamedTuple):
    """What one command of the generator came to; ``p50`` and ``p99`` in milliseconds, ``failed`` are
    connections that were refused or closed, each time."""

    opened: int
    failed: int
    seconds: float
    came: int
    pings: int
    p50: float
    p99: float


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
        process.stdin.write(" ".join(map(str, words)) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"the generator has ended with {process.wait()}"
        return Outcome(**json.loads(answer))

    def open(self, in_flight: int) -> Outcome:
        """Open all readers; all of them must come in."""
        outcome = self.ask("open", in_flight)
        assert outcome.opened == self.readers, outcome
        return outcome

    def open_publishers(self) -> None:
        """Open them, behind all readers."""
        outcome = self.ask("publishers")
        assert outcome.opened == self.readers + PUBLISHERS, outcome


class Setup(NamedTuple):
    """A system that runs, and the generator beside it."""

    server: Server
    load: Load


class SendLoop:
    """`load/csend.c`: the machine's limit, where nothing is done but sending."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._binary = compiled("csend", folder)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = subprocess.Popen([self._binary, str(self.port)])

    def wait_ready(self, timeout: float = 10) -> None:
        # it has said nothing that a client could wait for before it listens
        wait_until(lambda: f":{self.port:04X} " in Path("/proc/net/tcp").read_text(), "it listens", timeout)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


LIMIT = System("limit", "a loop of send() in C")


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
def loaded(system: System, readers: int) -> Iterator[Setup]:
    """A system with one server on a core of its own, and a generator that has opened nobody yet."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        if system is LIMIT:
            server: Server = SendLoop(folder)
            with on_cores(SERVER_CORES):
                server.start()
            stack.callback(server.kill)
            server.wait_ready()
            servers = [server, server]
        else:
            servers = stack.enter_context(running(system, SERVER_CORES, OTHER_CORES))
        yield Setup(servers[0], stack.enter_context(_generator(system, servers, readers, folder)))


@contextlib.contextmanager
def _generator(system: System, servers: list[Server], readers: int, folder: Path) -> Iterator[Load]:
    tokens = folder / "tokens"
    users = [token(f"reader-{n}") for n in range(readers)]
    users += [token(f"publisher-{n}", publish=["event:bench"]) for n in range(PUBLISHERS)]
    tokens.write_text("\n".join(users) + "\n")
    kind = "raw" if system is LIMIT else "socketio" if system.adapter else "keepseat"
    kind += "-session" if system.keeps_sessions else ""
    words = [kind, servers[0].port, readers, servers[1].port, PUBLISHERS, tokens]
    with on_cores(OTHER_CORES):
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
