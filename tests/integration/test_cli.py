"""The server as a command: what it says of wrong options, how it starts without any, and how it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from session.config import ConfigError, parse
from tests.conftest import Servers
from tests.support.servers import ROOT, ServerProcess, clean_environment, is_alive
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET
from tests.support.waiting import wait_until


def run(*argv: str, timeout: float = 20, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a server that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "server.py", *argv],
        cwd=ROOT, env=clean_environment(**environ), capture_output=True, text=True, timeout=timeout,
        check=False,
    )  # fmt: skip


# --- wrong options ---

KEYED = (f"--jwt-secret={SECRET}", "--redis-url=redis://127.0.0.1:1/0", "--port=0")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--no-such-option=1"], "--no-such-option"),
        (["--port=eighty"], "--port: expected a number"),
        (["--jwt-secret=short"], "--jwt-secret: must have at least 32 bytes"),
        (["--redis-url=localhost"], "--redis-url: must start with redis://"),
        (["--demo=false"], "--demo=false needs a key"),
        (["--jwt-public-key=/no/such/file"], "--jwt-public-key: "),
        (["--jwt-public-key=" + __file__], "--jwt-public-key: holds no public key"),
        (["--jwt-jwks-url=keys.example/jwks"], "--jwt-jwks-url: must be an http"),
        ([*KEYED, "--jwt-algorithms=none"], "--jwt-algorithms: 'none' is none of"),
        ([*KEYED, "--jwt-algorithms=RS256"], "--jwt-algorithms: none of them fits the key"),
        ([*KEYED, "--address=256.0.0.1"], "cannot listen on 256.0.0.1"),
        ([*KEYED, "--address=192.0.2.1"], "cannot listen on 192.0.2.1"),
        (["--data-dir=" + __file__, "--port=0"], "--data-dir: "),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(argv: list[str], says: str) -> None:
    """On stderr, before anything is bound or started; no traceback."""
    ended = run(*argv)

    assert 2 == ended.returncode, ended.stderr
    assert "" == ended.stdout
    assert ended.stderr.startswith("keepseat: ")
    assert says in ended.stderr
    assert 1 == len(ended.stderr.splitlines())


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:port/0",
        "redis://127.0.0.1:70000/0",
        "redis://127.0.0.1:6379/0?socket_timeout=5",
        "redis://127.0.0.1:6379/0?nonsense=1",
        "redis://127.0.0.1:6379/first",
        "redis://10.0.0.1:6379,10.0.0.2:6379/0",
        "redis://user:sec/ret@10.0.0.1:6379/0",
        "redis://10.0.0.1:6379/0?ssl_ca_certs=/no/such/file",
        "rediss://10.0.0.1:6379/0?ssl_ca_certs=/no/such/file",
    ],
)
def test_a_store_url_that_cannot_work_is_a_wrong_option(url: str) -> None:
    """It is told at the start, not as a store that never answers."""
    ended = run(f"--jwt-secret={SECRET}", "--port=0", f"--redis-url={url}")

    assert (2, 1) == (ended.returncode, len(ended.stderr.splitlines())), ended.stderr
    assert "--redis-url" in ended.stderr
    assert "ret@" not in ended.stderr


@pytest.mark.parametrize(
    "option",
    ["--trusted-proxies=10.0.0.0/99", "--trusted-proxies=balancer", "--allowed-origins=shop.example"],
)
def test_a_list_with_a_wrong_item_is_a_wrong_option(option: str) -> None:
    """It is told at the start, not with the first connection, or never."""
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        parse([*KEYED, option], {})


def test_a_wrong_variable_is_told_as_its_option() -> None:
    """What comes from the environment is no different."""
    ended = run(KEEPSEAT_HISTORY_SIZE="many")

    assert (2, "") == (ended.returncode, ended.stdout)
    assert "keepseat: --history-size: expected a number, got 'many'\n" == ended.stderr


def test_a_secret_is_never_repeated() -> None:
    """Not even one that is refused."""
    ended = run("--jwt-secret=hunter2")

    assert 2 == ended.returncode
    assert "hunter2" not in ended.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_a_port_in_use_is_one_line_and_status_2(processes: int) -> None:
    """Before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = run(*KEYED[:2], f"--port={port}", f"--processes={processes}")

    assert 2 == ended.returncode
    assert f"keepseat: cannot listen on 127.0.0.1 port {port}: Address already in use\n" == ended.stderr


def test_help_is_help(tmp_path: Path) -> None:
    """On stdout, status 0; nothing is started, made or read."""
    ended = run("--help", KEEPSEAT_DATA_DIR=str(tmp_path / "var"), KEEPSEAT_PORT="nonsense")

    assert (0, "") == (ended.returncode, ended.stderr)
    assert ended.stdout.startswith("usage: server.py")
    assert "--jwt-secret" in ended.stdout
    assert not (tmp_path / "var").exists()


# --- without options ---


@pytest.fixture
def demo(servers: Servers, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with an embedded Valkey of its own, as `make run` starts it."""
    (server,) = servers(1, redis_url="", jwt_secret="", api_key="", data_dir=str(tmp_path / "var"))
    yield server
    if server.is_running:
        server.terminate()


def valkey_pid(folder: Path) -> int:
    """The process that the file names; 0 in the moment in which it names none."""
    return int((folder / "var" / "valkey.pid").read_text().partition(" ")[0] or 0)


def test_without_options_it_is_a_demo(demo: ServerProcess, tmp_path: Path) -> None:
    """With a Valkey, a secret and an API key of its own, on this machine only; it says so loudly."""
    key = (tmp_path / "var" / "api-key").read_text()
    status, _ = demo.get("/api/events", {"Authorization": f"Bearer {key}"})
    pid = valkey_pid(tmp_path)

    assert 200 == status
    assert is_alive(pid)
    assert "WARNING keepseat: DEMO MODE" in demo.output
    assert f"listens on http://127.0.0.1:{demo.port}" in demo.output
    assert f"the API key of this demo: {key}" in demo.output
    assert (tmp_path / "var" / "jwt-secret").read_text() not in demo.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_ends_with_all_that_it_started(demo: ServerProcess, tmp_path: Path, number: signal.Signals) -> None:
    """Status 0, the Valkey is gone, and started again it has the same keys."""
    pid = valkey_pid(tmp_path)
    key = (tmp_path / "var" / "api-key").read_text()
    demo.signal(number)
    status = demo.wait()
    ended = is_alive(pid)
    demo.start()
    demo.wait_ready()

    assert (0, False) == (status, ended)
    assert key == (tmp_path / "var" / "api-key").read_text()
    assert valkey_pid(tmp_path) != pid


def test_a_killed_server_finds_its_valkey_again(demo: ServerProcess, tmp_path: Path) -> None:
    """`kill -9`, then a start: the same Valkey, with all that it had."""
    pid = valkey_pid(tmp_path)
    demo.kill()
    demo.start()
    demo.wait_ready()

    assert pid == valkey_pid(tmp_path)
    assert 0 == demo.terminate()
    assert not is_alive(pid)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_embedded_valkey_that_was_killed_is_started_anew(
    servers: Servers, tmp_path: Path, processes: int
) -> None:
    """By whichever process notices it first: the server is ready again by itself, also at a long path, and
    ends with all that it started."""
    long = "long" * 30
    (server,) = servers(1, redis_url="", processes=processes, data_dir=str(tmp_path / long / "var"))
    first = valkey_pid(tmp_path / long)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: valkey_pid(tmp_path / long) not in {0, first}, "there is another", 30)
    second = valkey_pid(tmp_path / long)
    wait_until(lambda: server.ready_status() == 200, "it is ready again", 30)
    status = server.terminate()

    assert 0 == status
    assert 1 <= server.output.count("the embedded Valkey has died") <= processes
    assert not is_alive(second)
    assert "Traceback" not in server.output


# --- several processes ---


def test_a_port_of_its_own_choice_is_shared_by_all(tmp_path: Path, valkey: StoreProcess) -> None:
    """``--port=0`` with several processes: one free port, named by each."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "server.py", "--port=0", "--processes=3", f"--redis-url={valkey.url}",
             f"--jwt-secret={SECRET}"],
            cwd=ROOT, env=clean_environment(), stdout=output, stderr=output,
        )  # fmt: skip
    try:

        def ports() -> list[str]:
            return [line.rpartition(":")[2] for line in log.read_text().splitlines() if "listens on" in line]

        wait_until(lambda: len(ports()) == 3, "three processes listen", 60)
        process.terminate()
        status = process.wait(20)
    finally:
        process.kill()

    assert 0 == status
    assert 1 == len(set(ports()))


@pytest.fixture
def pair(servers: Servers, tmp_path: Path) -> Iterator[ServerProcess]:
    """Two processes with an embedded Valkey."""
    (server,) = servers(1, redis_url="", processes=2, data_dir=str(tmp_path / "var"))
    wait_until(lambda: server.output.count("listens on") == 2, "both listen", 60)
    family = server.children()
    yield server
    server.kill()
    for pid in {*family, valkey_pid(tmp_path)} - {0}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_all_processes_end_together(pair: ServerProcess, tmp_path: Path) -> None:
    """Those that serve, the one that watches, and the Valkey, which is stopped once."""
    children, valkey = pair.children(), valkey_pid(tmp_path)
    status = pair.terminate()

    assert 0 == status
    assert [] == [pid for pid in children if is_alive(pid)]
    assert not is_alive(valkey)
    assert "Traceback" not in pair.output


def test_a_child_that_dies_while_all_are_told_to_end(servers: Servers) -> None:
    """Nobody is started any more, and the parent ends."""
    (server,) = servers(1, processes=2)
    wait_until(lambda: server.output.count("listens on") == 2, "both listen", 60)
    os.kill(server.children()[0], signal.SIGKILL)
    wait_until(lambda: "starting another" in server.output, "the parent knows")
    server.terminate(timeout=60)

    assert 2 == server.output.count("listens on")


def test_the_death_of_the_embedded_valkey_is_not_the_parents(pair: ServerProcess, tmp_path: Path) -> None:
    """The parent of the servers must not take it for one of them."""
    valkey = valkey_pid(tmp_path)
    children = [pid for pid in pair.children() if pid != valkey]
    os.kill(valkey, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{valkey}").exists(), "the parent has taken note")
    os.kill(children[0], signal.SIGKILL)
    wait_until(lambda: pair.output.count("listens on") == 3, "the parent starts another", 5)

    assert pair.is_running
    assert is_alive(children[1])
    assert "Traceback" not in pair.output
