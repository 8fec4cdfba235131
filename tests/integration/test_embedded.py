"""The embedded Valkey: one for all processes of a machine, found again after a crash."""

import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from session import embedded
from session.config import ConfigError
from session.embedded import Embedded, demo_secret
from tests.support.servers import is_alive
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]

Start = Callable[[Path], Embedded]


def client(valkey: Embedded) -> redis.Redis:
    return redis.Redis.from_url(valkey.url, decode_responses=True)


def pid_of(valkey: Embedded) -> int:
    return int(client(valkey).info("server")["process_id"])


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts, and in the end stops whatever is left."""
    made: list[Embedded] = []

    def _start(folder: Path) -> Embedded:
        made.append(embedded.start(folder))
        return made[-1]

    yield _start
    for valkey in made:
        valkey.stop()


def crashing_server(folder: Path) -> subprocess.Popen[str]:
    """A process that has started the Valkey of a directory and waits to be killed."""
    script = """
        import sys, time
        from pathlib import Path
        from session import embedded
        valkey = embedded.start(Path(sys.argv[1]))
        print(valkey.url, flush=True)
        time.sleep(60)
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("unix://")
    return process


def test_is_a_store_of_the_promised_kind(start: Start, tmp_path: Path) -> None:
    """No TCP port, a private socket, an append-only file, and nothing is ever evicted."""
    valkey = start(tmp_path / "var")

    config = client(valkey).config_get("*")
    path = Path(valkey.url.removeprefix("unix://"))

    assert tmp_path / "var" == path.parent
    assert "0" == config["port"]
    assert ("yes", "everysec", "noeviction") == tuple(
        config[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")
    )
    assert 0o700 == stat.S_IMODE(path.stat().st_mode)
    assert 0o700 == stat.S_IMODE((tmp_path / "var").stat().st_mode)


def test_keeps_what_is_private_private(start: Start, tmp_path: Path) -> None:
    """Also in a directory that others may read."""
    (tmp_path / "var").mkdir(mode=0o755)

    start(tmp_path / "var")

    open_to_others = [p.name for p in (tmp_path / "var").iterdir() if p.stat().st_mode & 0o077]
    assert [] == open_to_others


def test_keeps_the_data_over_a_restart_of_everything(start: Start, tmp_path: Path) -> None:
    """Stopped by the last one, started by the next: what was written is there."""
    first = start(tmp_path)
    client(first).set("seat", "A-1")
    pid = pid_of(first)

    first.stop()
    gone = not is_alive(pid)
    second = start(tmp_path)

    assert gone
    assert "A-1" == client(second).get("seat")
    assert pid != pid_of(second)


def test_stopping_twice_is_stopping_once(start: Start, tmp_path: Path) -> None:
    """The second stop finds nothing to do, and ends nobody else's Valkey."""
    first = start(tmp_path)
    first.stop()
    second = start(tmp_path)

    first.stop()

    assert client(second).ping()


def test_is_shared_and_ends_with_the_last(start: Start, tmp_path: Path) -> None:
    """Two processes have one Valkey, in whatever order they go."""
    one, two = start(tmp_path), start(tmp_path)
    pid = pid_of(one)

    one.stop()
    survived = client(two).ping()
    same = pid_of(two)
    two.stop()

    assert survived
    assert pid == same
    assert not is_alive(pid)


def test_many_that_start_at_once_get_the_same(start: Start, tmp_path: Path) -> None:
    """Nobody starts a second one beside the first."""
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(start, [tmp_path] * 8))

    assert 1 == len({pid_of(valkey) for valkey in many})


def test_is_found_again_after_a_crash(start: Start, tmp_path: Path) -> None:
    """The server was killed; its Valkey went on, and the next start adopts it."""
    server = crashing_server(tmp_path)
    server.kill()
    server.communicate()
    pid = int((tmp_path / "valkey.pid").read_text().split()[0])

    adopted = start(tmp_path)
    same = pid_of(adopted)
    adopted.stop()

    assert pid == same
    wait_until(lambda: not is_alive(pid), "the adopted Valkey has ended")


def test_is_started_again_after_it_was_killed(start: Start, tmp_path: Path) -> None:
    """A socket and a pid file that lead nowhere stop nobody, and a second later all is on disk."""
    first = start(tmp_path)
    client(first).set("seat", "A-1")
    client(first).waitaof(1, 0, 5000)
    os.kill(pid_of(first), signal.SIGKILL)

    second = start(tmp_path)

    assert "A-1" == client(second).get("seat")


def test_can_be_brought_back_under_a_running_server(start: Start, tmp_path: Path) -> None:
    """`ensure` starts it anew where it has died, and does nothing where it has not."""
    valkey = start(tmp_path)
    first = pid_of(valkey)
    valkey.ensure()
    unchanged = pid_of(valkey)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not is_alive(first), "it is dead")

    valkey.ensure()

    assert first == unchanged
    assert client(valkey).ping()


def test_does_not_hear_ctrl_c(start: Start, tmp_path: Path) -> None:
    """It is in a session of its own: the server drains first."""
    valkey = start(tmp_path)

    assert os.getsid(0) != os.getsid(pid_of(valkey))


def test_a_forked_child_ends_nothing(start: Start, tmp_path: Path) -> None:
    """The share is the parent's."""
    valkey = start(tmp_path)

    child = multiprocessing.get_context("fork").Process(target=valkey.stop)
    child.start()
    child.join(10)

    assert 0 == child.exitcode
    assert client(valkey).ping()


def test_a_long_path_gets_a_socket_elsewhere(start: Start, tmp_path: Path) -> None:
    """Where a socket's path would be too long it lies in a private directory, found by all, and goes."""
    folder = tmp_path / ("long" * 30)

    one, two = start(folder), start(folder)
    path = Path(one.url.removeprefix("unix://"))
    answers = client(two).ping()
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    one.stop()
    two.stop()

    assert one.url == two.url
    assert answers
    assert len(str(path)) < 100
    assert 0o700 == mode
    assert not path.parent.exists()


def test_odd_paths_work(start: Start, tmp_path: Path) -> None:
    """A space, a percent sign and a letter beyond ASCII survive the URL."""
    valkey = start(tmp_path / "50 % für ?all#")

    assert client(valkey).ping()


def test_says_in_one_line_why_it_did_not_start(tmp_path: Path) -> None:
    """The Valkey's own last words, here about a file that it cannot read."""
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("this is no manifest\n")

    with pytest.raises(ConfigError, match=r"did not start.*anifest") as caught:
        embedded.start(tmp_path)

    assert "\n" not in str(caught.value)


def test_says_so_where_there_is_none_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names what to do instead."""
    monkeypatch.setattr("platform.machine", lambda: "pdp11")

    with pytest.raises(ConfigError, match="no embedded Valkey for this platform: set --redis-url"):
        embedded.start(tmp_path)


def test_says_so_where_the_directory_cannot_be(tmp_path: Path) -> None:
    """One line that names the path."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"--data-dir: .*/file/var: Not a directory"):
        embedded.start(tmp_path / "file" / "var")


def test_leaves_one_that_does_not_answer_alone(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's frozen Valkey is named, not killed: it holds data."""
    server = crashing_server(tmp_path)
    pid = int((tmp_path / "valkey.pid").read_text().split()[0])
    server.kill()
    server.communicate()
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(embedded, "START_SECONDS", 0.5)

    with pytest.raises(ConfigError, match=f"process {pid}.*does not answer"):
        embedded.start(tmp_path)

    os.kill(pid, signal.SIGCONT)
    assert pid == pid_of(start(tmp_path))


def test_a_stuck_one_is_killed_by_the_last(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops it waits until it is gone, asks, then tells, then kills."""
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.3)
    valkey = start(tmp_path)
    pid = pid_of(valkey)
    os.kill(pid, signal.SIGSTOP)

    valkey.stop()

    assert not is_alive(pid)


# --- generated secrets ---


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """The second time it is the same; another name has another; only the owner may read it."""
    first, again, other = (demo_secret(tmp_path, name) for name in ("jwt", "jwt", "api"))

    assert first == again
    assert first != other
    assert 43 == len(first)
    assert 0o600 == stat.S_IMODE((tmp_path / "jwt").stat().st_mode)


def test_two_that_start_at_once_agree_on_a_secret(tmp_path: Path) -> None:
    """Nobody signs with a secret that the next one overwrites."""
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: demo_secret(tmp_path, "jwt"), range(64)))

    assert 1 == len(secrets)


def test_the_socket_answers_by_itself(start: Start, tmp_path: Path) -> None:
    """What `start` returns is ready for commands."""
    valkey = start(tmp_path)

    with socket.socket(socket.AF_UNIX) as line:
        line.connect(valkey.url.removeprefix("unix://"))
        line.sendall(b"PING\r\n")
        answer = line.recv(16)

    assert b"+PONG\r\n" == answer
