"""`make cluster`: three servers and a balancer on one machine, for a person to kill."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Connect
from tests.support.api import Api
from tests.support.balancer import haproxy_binary
from tests.support.ports import free_port
from tests.support.servers import ROOT, clean_environment
from tests.support.waiting import eventually, wait_until

START_SECONDS = 60


class ClusterProcess:
    """``deploy/cluster.py`` on four ports in a row, with a demo of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(4)
        self._valkey = folder / "data" / "valkey.pid"
        self._log = folder / "cluster.log"
        self._command = [
            sys.executable, "deploy/cluster.py", f"--port={self.port}", f"--data-dir={folder / 'data'}",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=clean_environment(), stdout=log, stderr=log
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def pids(self, name: str) -> list[int]:
        """The processes that a part has had so far."""
        return [int(pid) for pid in re.findall(rf"{name} \| runs as process (\d+)", self.output)]

    def all_pids(self) -> list[int]:
        """Those of all parts."""
        return [pid for name in ("one", "two", "three", "balancer") for pid in self.pids(name)]

    def name_of(self, instance: str) -> str:
        """The part that is this server."""
        hello = rf"(\w+) \| .*server {instance} listens"
        # it goes through a pipe before it is in the log
        found = wait_until(lambda: re.search(hello, self.output), f"{instance} says hello")
        assert found is not None
        return found[1]

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait; its exit status."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(60)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(60)

    def clean_up(self) -> None:
        """End what is left: a server that is ended while it begins leaves its Valkey to the next one."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        if self._valkey.exists() and (left := self._valkey.read_text()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(left.split()[0]), signal.SIGTERM)


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterProcess]:
    """A cluster, not yet started."""
    if haproxy_binary() is None:
        pytest.skip("needs Debian's haproxy")
    process = ClusterProcess(tmp_path)
    yield process
    process.clean_up()


async def is_ready(url: str) -> bool:
    try:
        return (await Api(url).get("/readyz")).status == 200
    except OSError:
        return False


async def leads_to(balancer: str, part: str) -> bool:
    """Whether the balancer, who goes by checks of its own, takes this server for well: to a cookie without a
    date it says by a new one who has answered."""
    answer = await Api(balancer).get("/healthz", Cookie=f"keepseat_lb={part}")
    return answer.status == 200 and answer.headers["set-cookie"].startswith(f"keepseat_lb={part}|")


async def test_one_dies_and_comes_back(cluster: ClusterProcess, connect: Connect) -> None:
    """A sign-in holds on all three; who stands on one that is killed goes on elsewhere; that one is started
    again, wherefore the demo's page may kill it; Ctrl-C ends everything."""
    cluster.start()
    balancer, *servers = (f"http://127.0.0.1:{cluster.port + n}" for n in range(4))
    for url in (balancer, *servers):
        await eventually(lambda url=url: is_ready(url), f"{url} is ready", START_SECONDS)  # type: ignore[misc]
    token = (await Api(balancer, key=None).post("/auth/login", {"name": "mina"})).json["token"]
    demo = await Api(balancer, key=None).get("/demo")
    direct = [await connect(f"ws{url[4:]}/ws", token=token) for url in servers]
    for part in ("one", "two", "three"):
        await eventually(
            lambda part=part: leads_to(balancer, part), f"the balancer knows {part}", START_SECONDS
        )  # type: ignore[misc]
    before = await connect(f"ws{balancer[4:]}/ws", token=token)
    await before.do("join-event", eventId="123")
    name = cluster.name_of(before.connected["instance"])
    os.kill(cluster.pids(name)[-1], signal.SIGKILL)
    await before.closed()
    after = await connect(f"ws{balancer[4:]}/ws", token=token, before=before)
    restored = await after.expect("session-restored")
    await eventually(lambda: len(cluster.pids(name)) == 2, f"{name} is started again", START_SECONDS)
    everyone = cluster.all_pids()
    status = cluster.end(signal.SIGINT)

    assert {"kill": True} == demo.json
    assert 3 == len({client.connected["instance"] for client in direct})
    assert name != cluster.name_of(after.connected["instance"])
    assert [True, True] == [room["recovered"] for room in restored["rooms"]]
    assert 0 == status
    assert [] == [pid for pid in everyone if is_running(pid)]


def test_a_port_in_use_ends_it(cluster: ClusterProcess) -> None:
    """One clear line, and not again and again."""
    with socket.create_server(("127.0.0.1", cluster.port + 2)):
        cluster.start()
        status = cluster.wait()

    assert 2 == status
    assert f"two | keepseat: cannot listen on 127.0.0.1 port {cluster.port + 2}" in cluster.output
    assert [] == [
        pid for part in ("one", "two", "three", "balancer") for pid in cluster.pids(part) if is_running(pid)
    ]
