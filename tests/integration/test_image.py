"""What ``deploy/Dockerfile`` makes, without Docker: the same files, variables and commands."""

import http.client
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support import dockerfile
from tests.support.ports import free_port
from tests.support.servers import ROOT, clean_environment
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET
from tests.support.waiting import wait_until

ENTRYPOINT: list[str] = json.loads(dockerfile.instruction("ENTRYPOINT"))
START_SECONDS = 60
STOP_SECONDS = 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The working directory of the image, with what is copied there and nothing else."""
    root = tmp_path / "image"
    root.mkdir()
    for source, target in dockerfile.copied():
        assert dockerfile.is_sent(source), f"Dockerfile.dockerignore keeps {source} back"
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, root / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, root / target)
    return root


def start(root: Path, command: list[str], **variables: str) -> "subprocess.Popen[str]":
    """Run a command of the image; this Python stands for its own."""
    assert "python" == command[0]
    own = {name: value for name, value in dockerfile.environment().items() if name != "PATH"}
    return subprocess.Popen(
        [sys.executable, *command[1:]],
        cwd=root,
        env=clean_environment(**own) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def answers(port: str, path: str) -> bool:
    """Whether it says 200."""
    line = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        line.request("GET", path)
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def is_healthy(root: Path, port: str) -> bool:
    """What Docker asks."""
    check = json.loads(dockerfile.instruction("HEALTHCHECK").partition("CMD ")[2])
    asked = start(root, check, KEEPSEAT_PORT=port)
    asked.communicate(timeout=START_SECONDS)
    return asked.returncode == 0


def test_the_image_serves_is_healthy_writes_nothing_and_leaves(root: Path, valkey: StoreProcess) -> None:
    """Its files are all that is needed; what Docker asks for its health answers; SIGTERM ends it well."""
    before = set(root.rglob("*"))
    port = str(free_port())
    given = {
        "KEEPSEAT_PORT": port,
        "KEEPSEAT_REDIS_URL": valkey.url,
        "KEEPSEAT_JWT_SECRET": SECRET,
        "KEEPSEAT_DRAIN_SECONDS": "0",
    }

    healthy_before = is_healthy(root, port)
    server = start(root, ENTRYPOINT, **given)
    try:
        for path in ("/readyz", "/"):
            wait_until(partial(answers, port, path), f"the image answers {path}", START_SECONDS)
        wait_until(partial(is_healthy, root, port), "the image is healthy", START_SECONDS)
        server.terminate()
        status = server.wait(STOP_SECONDS)
    finally:
        server.kill()
        log = server.communicate()[0]

    assert not healthy_before
    assert 0 == status, log
    assert before == set(root.rglob("*"))


def test_without_a_key_the_image_does_not_start(root: Path, valkey: StoreProcess) -> None:
    """On all addresses it would be a demo for everyone."""
    server = start(
        root,
        json.loads(dockerfile.instruction("ENTRYPOINT")),
        KEEPSEAT_REDIS_URL=valkey.url,
        KEEPSEAT_PORT="0",
    )
    out, _ = server.communicate(timeout=START_SECONDS)

    assert 2 == server.returncode
    assert out.startswith("keepseat: --demo=false needs a key")
