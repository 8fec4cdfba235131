"""The real server as a process of its own."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.tokens import API_KEY, SECRET
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
READ_FROM_ENVIRONMENT = re.compile(r"KEEPSEAT_|REDIS_|JWT_SECRET$|PORT$")


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without what would be taken for an option."""
    return {k: v for k, v in os.environ.items() if not READ_FROM_ENVIRONMENT.match(k)} | extra


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class ServerProcess:
    """``server.py`` with the tests' secret and API key; ``options`` are command-line options.

    It keeps its port when it is started again. ``log`` is where its output goes. It may open at most
    ``files`` files, and its environment has ``environ`` besides.
    """

    def __init__(
        self, log: Path, *, files: int = 0, environ: dict[str, str] | None = None, **options: str | float
    ) -> None:
        self.port = int(options.pop("port", 0)) or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self._log = log
        options = {"jwt_secret": SECRET, "api_key": API_KEY, **options}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value != ""]
        self._command = ["prlimit", f"--nofile={files}:{files}"] if files else []
        self._command += [sys.executable, "server.py", f"--port={self.port}", *words]
        self._environ = clean_environment(**environ or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again after `kill` or `terminate`; does not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until it says that it is ready for traffic."""
        wait_until(self._is_ready, f"{self.url} is ready", timeout)

    def _is_ready(self) -> bool:
        assert self.is_running, f"the server ended:\n{self.output}"
        return self.ready_status() == 200

    def ready_status(self) -> int:
        """The status of ``/readyz``; 0 where nobody answers."""
        try:
            return self.get("/readyz")[0]
        except OSError:
            return 0

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and text of an HTTP GET."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", path, headers=headers or {})
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()

    def metrics(self) -> dict[str, float]:
        """All metrics: ``keepseat_connections``, ``keepseat_refusals_total{reason="token_expired"}`` …"""
        status, text = self.get("/metrics")
        assert status == 200, text
        pairs = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def metric(self, name: str) -> float:
        """One metric; 0 where it has not been counted yet."""
        return self.metrics().get(name, 0.0)

    def wait_metric(self, name: str, value: float, timeout: float = 10.0) -> None:
        """Wait until a metric has this value."""
        wait_until(lambda: self.metric(name) == value, f"{name} is {value:g}", timeout)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The processes that it has forked and that live (Linux)."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in listed]

    @property
    def output(self) -> str:
        """All that it wrote to stdout and stderr, over all its starts."""
        return self._log.read_text() if self._log.exists() else ""

    def kill(self) -> None:
        """``kill -9``: no goodbye to anybody. The server processes that it has forked go with it; an embedded
        Valkey, which is in a session of its own, stays."""
        if self._process is not None:
            family = self.children() if self.is_running else []
            ours = os.getsid(0)
            self._process.kill()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    if os.getsid(pid) == ours:
                        os.kill(pid, signal.SIGKILL)
            self._process.wait(10)

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM, as a deploy does; waits for the drain and returns the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout)

    def wait(self, timeout: float = 15.0) -> int:
        """Wait until it ends by itself; its exit status."""
        assert self._process is not None
        return self._process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop its time: sockets stay open, nothing is answered."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)


@contextlib.contextmanager
def server_with_store(folder: Path, **options: Any) -> Iterator[ServerProcess]:
    """A server, ready, on a store of its own: for the tests of one file."""
    store = StoreProcess(valkey_binary(), folder / "store")
    server = ServerProcess(folder / "server.log", redis_url=store.url, **options)
    server.start()
    server.wait_ready()
    yield server
    server.kill()
    store.kill()
