"""`make rehearsal`: on a deployment that it makes, and on one that is there, where a promise is broken."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers
from tests.support.api import Api
from tests.support.balancer import haproxy_binary
from tests.support.servers import ROOT, clean_environment
from tests.support.tokens import API_KEY, SECRET
from tests.support.waiting import wait_until

KEYS = {"KEEPSEAT_API_KEY": API_KEY, "KEEPSEAT_JWT_SECRET": SECRET}
LONGEST_SECONDS = 270
"""On a machine that is very slow; usually half a minute."""


class Rehearsal:
    """The process of one, with its report in a folder; ``environment`` is what it finds there besides."""

    def __init__(self, folder: Path, options: Sequence[str], environment: dict[str, str]) -> None:
        self._report = folder / "report.html"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.rehearsal", f"--output={self._report}", *options],
            cwd=ROOT,
            env=clean_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, timeout: float = LONGEST_SECONDS) -> tuple[int, str]:
        """Its exit status, and all that it has said."""
        output = self._process.communicate(timeout=timeout)[0]
        return self._process.returncode, output

    @property
    def report(self) -> str:
        return self._report.read_text()

    def interrupt(self) -> None:
        """As Ctrl-C does: it ends what it has started."""
        self._process.send_signal(signal.SIGINT)


Rehearse = Callable[..., Rehearsal]


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Rehearse]:
    """Begins one: ``rehearse("--clients=30", KEEPSEAT_API_KEY="...")``."""
    made: list[Rehearsal] = []

    def begin(*options: str, **environment: str) -> Rehearsal:
        made.append(Rehearsal(tmp_path, options, environment))
        return made[-1]

    yield begin
    for one in made:
        one.interrupt()
        one.end(60)


@pytest.mark.timeout(300)
def test_a_sale_is_rehearsed_with_cuts_and_a_deploy(rehearse: Rehearse) -> None:
    """Thirty buyers, three servers that are replaced in the middle of it: every promise is checked and kept,
    and the report says so."""
    if haproxy_binary() is None:
        pytest.skip("needs Debian's haproxy")
    one = rehearse("--clients=30", "--seconds=8")
    status, output = one.end()
    report = one.report

    assert 0 == status, output
    assert "every promise was kept" in output
    assert "unchecked |" not in output
    assert "Nothing was lost." in report
    assert all(mark in report for mark in ("the sale opens", "6 lines are cut", "three is replaced"))


@pytest.mark.timeout(300)
def test_a_broken_promise_is_the_status_of_a_rehearsal(servers: Servers, rehearse: Rehearse) -> None:
    """On a deployment that is there, on which an operator throws somebody out: status 1, and who it was; what
    was made for it is gone again."""
    (server,) = servers(1)
    api = Api(server)
    one = rehearse("--clients=8", "--seconds=6", f"--url={server.url}", **KEYS)

    def events() -> list[str]:
        listed: list[dict[str, Any]] = api.request("GET", "/api/events").json["events"]
        return [event["id"] for event in listed]

    def throw_out() -> str:
        users = [f"/api/events/{event}/queue/{event}-{n}" for event in events() for n in range(8)]
        gone = (user for user in users if api.request("POST", user, {"action": "remove"}).status == 200)
        return next(gone, "")

    thrown = wait_until(throw_out, "somebody is thrown out", 60)
    status, output = one.end()

    assert 1 == status, output
    assert "   broken | Nobody loses a place in line" in output
    assert thrown.rpartition("/")[2] in output
    assert "promises were broken" in one.report
    assert [] == events()


def test_what_cannot_be_rehearsed(rehearse: Rehearse) -> None:
    """Status 2 and one line, before anything is begun."""
    status, output = rehearse("--url=http://127.0.0.1:1", KEEPSEAT_JWT_SECRET=SECRET).end()

    assert 2 == status
    assert "rehearsal: the key of your servers' API: set KEEPSEAT_API_KEY\n" == output
