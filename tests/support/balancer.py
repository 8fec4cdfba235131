"""HAProxy with the project's own configuration, in front of servers of a test."""

import csv
import io
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.support.client import Client
from tests.support.ports import free_port
from tests.support.servers import ROOT, ServerProcess
from tests.support.waiting import wait_until

NAMES = ("one", "two", "three")
NOBODY = "127.0.0.1:1"


def haproxy_binary() -> str | None:
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Balancer:
    """A balancer in front of up to three servers. It keeps its port when it is started again.

    ``idle`` is how long nothing may come or go on a WebSocket; a server is out after ``fall`` failed checks,
    by default so many that a slow machine does not look like a sick server.
    """

    def __init__(
        self, binary: str, servers: list[ServerProcess], *, idle: str = "60s", fall: int = 30
    ) -> None:
        self.port = free_port()
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self._names = {id(server): name for name, server in zip(NAMES, servers, strict=False)}
        addresses = [f"127.0.0.1:{server.port}" for server in servers] + [NOBODY] * 3
        self._environment = {
            "BALANCER_ADDRESS": f"127.0.0.1:{self.port}",
            "BALANCER_IDLE": idle,
            "BALANCER_CHECK": "100ms",
            "BALANCER_FALL": str(fall),
            **{f"SERVER_{name.upper()}": at for name, at in zip(NAMES, addresses, strict=False)},
        }
        # a socket's path is at most 107 bytes long, and pytest's folders are deep
        self._folder = Path(tempfile.mkdtemp(prefix="balancer-"))
        self._socket = self._folder / "admin"
        admin = self._folder / "admin.cfg"
        admin.write_text(f"global\n    stats socket {self._socket} level admin\n")
        self._command = [binary, "-db", "-f", str(ROOT / "deploy/haproxy.cfg"), "-f", str(admin)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again after `kill`; wait until it has seen that all servers are well."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, **self._environment}, stdout=log, stderr=log
            )
        wait_until(self._knows_all, "the balancer has checked all servers", 30)

    def _knows_all(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            for name in NAMES[len(self._names) :]:
                self._ask(f"set server servers/{name} state maint")
            checks = self._table("check_status")
        except OSError:
            return False
        return all(checks[name] == "L7OK" for name in self._names.values())

    def kill(self) -> None:
        """End it at once: every line through it is reset."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> None:
        """End it for good."""
        self.kill()
        shutil.rmtree(self._folder)

    def deregister(self, server: ServerProcess) -> None:
        """Send nobody there any more, and end what goes there: the end of a deregistration."""
        name = self._names[id(server)]
        self._ask(f"set server servers/{name} state maint")
        self._ask(f"shutdown sessions server servers/{name}")

    def wait_down(self, server: ServerProcess) -> None:
        """Wait until its check has failed often enough."""
        name = self._names[id(server)]
        wait_until(lambda: self._table("status")[name].startswith("DOWN"), f"{name} is out", 30)

    def lines_to(self, server: ServerProcess) -> int:
        """How many lead there now."""
        return int(self._table("scur")[self._names[id(server)]])

    def _table(self, column: str) -> dict[str, str]:
        rows = csv.DictReader(io.StringIO(self._ask("show stat").removeprefix("# ")))
        return {row["svname"]: row[column] for row in rows if row["pxname"] == "servers"}

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self._socket))
            line.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()


def cookie_of(client: Client) -> dict[str, str]:
    """The header by which a client that has been balanced comes to the same server again."""
    assert client.socket.response is not None
    return {"Cookie": client.socket.response.headers["Set-Cookie"].partition(";")[0]}
