"""Prometheus itself (Debian), with the project's own files: it finds the servers, and its alerts work."""

import http.client
import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers
from tests.support.ports import free_port
from tests.support.servers import ROOT
from tests.support.waiting import wait_until

FOLDER = ROOT / "deploy" / "prometheus"
TARGETS = ("one:8000", "two:8000", "three:8000")
"""The servers of ``compose.yaml``."""
ENOUGH_SECONDS = 60


class Prometheus:
    """One that asks the servers given each second, instead of those of ``compose.yaml``."""

    def __init__(self, binary: str, folder: Path, targets: list[str]) -> None:
        self._port = free_port()
        text = (FOLDER / "prometheus.yaml").read_text().replace("interval: 5s", "interval: 1s")
        for name, target in zip(TARGETS, targets, strict=True):
            assert name in text
            text = text.replace(name, target)
        (folder / "prometheus.yaml").write_text(text)
        shutil.copy(FOLDER / "alerts.yaml", folder)
        command = [
            binary,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def get(self, path: str, **arguments: str) -> Any:
        """What its API answers; None as long as it does not."""
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            line.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(arguments)}")
            answer = line.getresponse()
            return json.load(answer)["data"] if answer.status == 200 else None
        except OSError:
            return None
        finally:
            line.close()

    def value(self, query: str) -> float | None:
        """The single figure that a query brings; None where there is none yet."""
        found = self.get("query", query=query)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts by name; none as long as they have not all been looked at."""
        groups = (self.get("rules") or {"groups": []})["groups"]
        rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
        return {} if any(rule["health"] == "unknown" for rule in rules.values()) else rules

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def binary() -> str:
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("needs Debian's prometheus")
    return found


@pytest.fixture
def watched(binary: str, tmp_path: Path, servers: Servers) -> Iterator[tuple[Prometheus, Any]]:
    """Three servers, and who watches them."""
    three = servers(3)
    folder = tmp_path / "prometheus"
    folder.mkdir()
    prometheus = Prometheus(binary, folder, [f"127.0.0.1:{server.port}" for server in three])
    yield prometheus, three
    prometheus.stop()


def test_prometheus_sees_the_servers_and_misses_one(watched: tuple[Prometheus, Any]) -> None:
    """It takes our files as they are, reads each server, and an alert is on its way when one is gone."""
    prometheus, three = watched
    wait_until(lambda: prometheus.value("sum(up)") == 3, "all are read", ENOUGH_SECONDS)
    wait_until(lambda: prometheus.value("sum(keepseat_connections)") == 0, "theirs is kept", ENOUGH_SECONDS)
    wait_until(lambda: bool(prometheus.alerts()), "alerts are looked at", ENOUGH_SECONDS)
    assert {"ok"} == {rule["health"] for rule in prometheus.alerts().values()}

    def state() -> str:
        return str(prometheus.alerts().get("KeepseatServerDown", {}).get("state"))

    # one that did not answer within a second is missed for a moment
    wait_until(lambda: state() == "inactive", "none is missed", ENOUGH_SECONDS)
    three[0].kill()
    wait_until(lambda: state() in {"pending", "firing"}, "the one is missed", ENOUGH_SECONDS)
