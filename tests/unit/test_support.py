"""The tests' own tools: a client that would not notice a gap proves nothing."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import At, Client
from tests.support.proxy import Proxy
from tests.support.waiting import eventually, wait_until

ROOT = Path(__file__).parents[2]
ROOM = "event:1"

# --- the client's account ---


def message(offset: int, **more: Any) -> dict[str, Any]:
    return {"type": "message", "room": ROOM, "offset": offset, "data": offset, **more}


JOINED = {"type": "event-joined", "eventId": "1", "room": ROOM, "epoch": "A", "offset": 5}
RESET = {"type": "room-reset", "room": ROOM, "epoch": "B", "offset": 9}
SNAPSHOT = {"type": "seats-snapshot", "room": ROOM, "epoch": "B", "offset": 9}
LEFT = {"type": "event-left", "eventId": "1"}


def restored(**room: Any) -> dict[str, Any]:
    return {"type": "session-restored", "rooms": [{"room": ROOM, "epoch": "A", "offset": 7, **room}]}


def account(*frames: dict[str, Any]) -> Client:
    """A client that has heard these frames, without a socket."""
    client = object.__new__(Client)
    client.positions, client.violations, client.placed = {}, [], []
    for frame in frames:
        client._follow(frame)
    return client


@pytest.mark.parametrize(
    ("frames", "at"),
    [
        ([JOINED, message(6), message(7)], At("A", 7)),
        ([JOINED, message(6, epoch="B"), message(7)], At("B", 7)),
        ([JOINED, RESET, message(10)], At("B", 10)),
        ([JOINED, RESET, SNAPSHOT, message(10)], At("B", 10)),
        ([{**JOINED, "recovered": True, "missed": 2}, message(4), message(5)], At("A", 5)),
        ([{**JOINED, "recovered": False, "missed": 0}, message(6)], At("A", 6)),
        ([restored(recovered=True, missed=3), message(5), message(6), message(7), message(8)], At("A", 8)),
        ([restored(recovered=False, missed=0), message(8)], At("A", 8)),
        ([JOINED, LEFT, JOINED, message(6)], At("A", 6)),
        ([JOINED, {"type": "published", "room": ROOM, "epoch": "A", "offset": 9}, message(6)], At("A", 6)),
    ],
)
def test_a_good_course_is_no_violation(frames: list[dict[str, Any]], at: At) -> None:
    """The position is where the last frame left it."""
    client = account(*frames)

    client.assert_contiguous()
    assert {ROOM: {"epoch": at.epoch, "offset": at.offset}} == client.resume()


@pytest.mark.parametrize(
    "frames",
    [
        [JOINED, message(7)],
        [JOINED, message(5)],
        [JOINED, message(6), message(6)],
        [JOINED, message(6), message(8)],
        [JOINED, message(7, epoch="B")],
        [JOINED, RESET, message(6)],
        [JOINED, LEFT, message(6)],
        [message(1)],
        [{**JOINED, "recovered": True, "missed": 2}, message(6)],
        [restored(recovered=True, missed=3), message(8)],
        [restored(error="forbidden"), message(8)],
    ],
)
def test_a_bad_course_is_a_violation(frames: list[dict[str, Any]]) -> None:
    """A gap, a duplicate, or a message of a room that one is not in."""
    with pytest.raises(AssertionError):
        account(*frames).assert_contiguous()


# --- the proxy ---


@pytest.fixture
def line() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """A proxy with one line through it: the proxy, the near end, the far end."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Proxy(listener.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5) as near,
        listener.accept()[0] as far,
    ):
        far.settimeout(5)
        yield proxy, near, far


def test_a_proxy_lets_through(line: tuple[Proxy, socket.socket, socket.socket]) -> None:
    """In both directions."""
    _, near, far = line
    near.sendall(b"there")
    far.sendall(b"back")

    assert (b"there", b"back") == (far.recv(16), near.recv(16))


@pytest.mark.parametrize("how", ["cut", "blink"])
def test_a_line_that_is_cut_is_reset(line: tuple[Proxy, socket.socket, socket.socket], how: str) -> None:
    """Both ends learn of it, without a goodbye."""
    proxy, near, far = line
    near.sendall(b"there")
    far.recv(16)
    getattr(proxy, how)()

    for end in (near, far):
        with pytest.raises(ConnectionResetError):
            end.recv(16)


def test_after_a_cut_nobody_gets_through_until_mended(
    line: tuple[Proxy, socket.socket, socket.socket],
) -> None:
    """New lines are reset; after `mend` they work, and after `blink` at once."""
    proxy, *_ = line
    proxy.cut()
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), 5) as refused,
    ):
        refused.recv(1)
    proxy.mend()
    before = proxy.accepted
    with socket.create_connection(("127.0.0.1", proxy.port), 5):
        wait_until(lambda: proxy.accepted == before + 1, "it is let through")


def test_a_stalled_line_swallows_and_gives_back(line: tuple[Proxy, socket.socket, socket.socket]) -> None:
    """Nothing comes, and nothing is lost."""
    proxy, near, far = line
    proxy.stall()
    near.sendall(b"there")
    far.settimeout(0.2)
    with pytest.raises(TimeoutError):
        far.recv(16)
    far.settimeout(5)
    proxy.mend()

    assert b"there" == far.recv(16)


def test_what_was_stranded_comes_after_what_was_said_later() -> None:
    """A new line flows at once; what was on its way over the old one arrives when that is mended."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
        lines = []
        for word in (b"first", b"second"):
            near = socket.create_connection(("127.0.0.1", proxy.port), 5)
            far, _ = listener.accept()
            far.settimeout(0.2)
            wait_until(lambda: proxy.accepted == len(lines) + 1, "it is let through")
            if not lines:
                proxy.strand()
            near.sendall(word)
            lines.append((near, far))
        (near, far), (_, later) = lines
        near.close()
        second = later.recv(16)
        with pytest.raises(TimeoutError):
            far.recv(16)
        far.settimeout(5)
        proxy.mend()

        assert (b"second", b"first", b"") == (second, far.recv(16), far.recv(16))
        for ends in lines:
            for end in ends:
                end.close()


# --- waiting ---


def test_waiting_in_vain_says_for_what() -> None:
    """And ends."""
    with pytest.raises(AssertionError, match=r"waited 0.05 s in vain until pigs fly"):
        wait_until(lambda: False, "pigs fly", 0.05)


async def test_waiting_takes_coroutines_too() -> None:
    """The value that was waited for comes back."""
    values = iter([0, 0, 3])

    async def next_value() -> int:
        return next(values)

    assert 3 == await eventually(next_value, "it is 3")
    with pytest.raises(AssertionError, match="in vain"):
        await eventually(lambda: False, "never", 0.05)


# --- how tests are run ---


def run_pytest(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder under our conftest, and nothing else of ours."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "-rA", str(folder)]
    clean = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=False
    )


def test_where_all_must_run_a_skipped_test_has_failed(tmp_path: Path) -> None:
    """With its reason; an expected failure is none. Elsewhere it is skipped by name."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_skipped(): pytest.skip('needs a horse')\n"
        "@pytest.mark.xfail\n"
        "def test_expected(): assert False\n"
    )

    here, there = run_pytest(tmp_path), run_pytest(tmp_path, CI="true")

    assert 0 == here.returncode
    assert 1 == there.returncode
    assert "1 skipped, 1 xfailed" in here.stdout
    assert "1 failed, 1 xfailed" in there.stdout
    assert "needs a horse" in there.stdout


def test_a_coroutine_is_run(tmp_path: Path) -> None:
    """One that is not awaited would always pass."""
    (tmp_path / "test_it.py").write_text("async def test_false(): assert False\n")

    assert "1 failed" in run_pytest(tmp_path).stdout


def test_what_goes_wrong_beside_a_test_is_told(tmp_path: Path) -> None:
    """A task that nobody awaits, and that failed, fails its test."""
    (tmp_path / "test_it.py").write_text(
        "import asyncio, gc\n"
        "async def fail(): raise RuntimeError('unheard')\n"
        "async def test_passes():\n"
        "    task = asyncio.create_task(fail())\n"
        "    await asyncio.sleep(0)\n"
        "    del task\n"
        "    gc.collect()\n"
    )

    result = run_pytest(tmp_path)

    assert "unheard" in result.stdout
    assert 1 == result.returncode


# --- what the tests need of the system ---


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A machine without our packages, on which we are not root."""
    for program in ("bash", "env"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    (tmp_path / "id").write_text("#!/bin/bash\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    return {"PATH": str(tmp_path)}


def debian(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "tests/support/debian.sh")
    return subprocess.run(["/bin/bash", script], env=environment, capture_output=True, text=True, check=False)


def test_what_is_missing_is_named(machine: dict[str, str]) -> None:
    """With the command to install it; it is no failure, but where all must run."""
    here, there = debian(machine), debian({**machine, "CI": "true"})

    assert (0, 1) == (here.returncode, there.returncode)
    assert "apt-get install --no-install-recommends redis-server chromium" in here.stderr
    assert here.stderr == there.stderr


def test_where_all_is_there_nothing_is_said(machine: dict[str, str], tmp_path: Path) -> None:
    """Nor done."""
    for program in ("redis-server", "chromium", "haproxy", "prometheus"):
        (tmp_path / program).write_text("#!/bin/bash\n")
        (tmp_path / program).chmod(0o755)

    result = debian({**machine, "CI": "true"})

    assert (0, "", "") == (result.returncode, result.stdout, result.stderr)
