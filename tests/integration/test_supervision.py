"""Every background task is watched: where one ends, the process ends with status 1 and says which it was."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import server
from session import keys
from session.bell import Bell
from session.boards import Boards
from session.config import parse
from session.descriptors import provide
from session.hub import Hub
from session.janitor import Janitor
from session.leases import Leases
from session.line import Line
from session.listener import Listener
from session.lobby import Lobby
from session.presence import Presence
from session.store import Store
from session.ticker import Ticker
from session.tokens import Verifier
from session.watch import Watch
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET

TASKS: list[tuple[str, type, str]] = [
    ("store", Store, "run"),
    ("store", Line, "run"),
    ("leases", Leases, "run"),
    ("listener", Listener, "run"),
    ("listener", Bell, "run"),
    ("watch", Watch, "_heads"),
    ("watch", Watch, "_buckets"),
    ("presence", Presence, "run"),
    ("janitor", Janitor, "_detach"),
    ("janitor", Janitor, "_renew"),
    ("janitor", Janitor, "_reattach"),
    ("janitor", Janitor, "_sweep"),
    ("ticker", Ticker, "_tick"),
    ("ticker", Ticker, "_flush"),
    ("lobby", Lobby, "_count"),
    ("lobby", Lobby, "_work"),
    ("boards", Boards, "run"),
    ("hub", Hub, "run"),
    ("verifier", Verifier, "run"),
]
"""What the log calls it, and what runs: in groups one for all, and all for one."""


async def fails(*_: Any) -> None:
    raise RuntimeError("a mistake of ours")


async def returns(*_: Any) -> None:
    return


def serve(valkey: StoreProcess, folder: Path) -> int:
    """The life of a real process on this thread, up to its exit status."""
    config = parse([f"--jwt-secret={SECRET}", "--port=0", f"--data-dir={folder}"], {})
    life = server.Life(
        config=config, url=valkey.url, secret=SECRET, api_key="", valkey=None, descriptors=provide(100)
    )
    (sockets,) = server.bind(config)

    async def live() -> int:
        async with asyncio.timeout(30):
            return await server.serve(life, sockets, None)

    # not asyncio.run, which would forget the loop that pytest-tornado has left as the current one
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(live())
    finally:
        loop.close()
        for listening in sockets:
            listening.close()


@pytest.mark.parametrize(("name", "owner", "method"), TASKS, ids=[f"{o.__name__}.{m}" for _, o, m in TASKS])
def test_a_task_that_fails_ends_the_process(
    name: str, owner: type, method: str, valkey: StoreProcess, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """With status 1 and a traceback: a server that lacks a part must not look like one that has all."""
    monkeypatch.setattr(owner, method, fails)

    assert 1 == serve(valkey, tmp_path)
    assert f"the {name} ended, and so does this process" in caplog.text
    assert "a mistake of ours" in caplog.text


def test_a_task_that_only_returns_does_too(
    valkey: StoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """None of them is ever done."""
    monkeypatch.setattr(Presence, "run", returns)

    assert 1 == serve(valkey, tmp_path)
    assert "the presence ended, and so does this process" in caplog.text


async def test_a_real_listener_that_cannot_go_on_ends_its_process(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Somebody has written something else under the name of a history: its reader cannot know what is true.
    Its server ends, which the balancer sees at once; one that does not read it lives on."""
    a, b = servers(2)
    client = await connect(a)
    await client.do("join-event", eventId="1")
    await Api(b).publish("event:1", "hello")
    await client.expect("message")
    k = keys.room("event:1")
    with valkey.client.pipeline(transaction=True) as pipe:
        pipe.delete(k.stream)
        pipe.set(k.stream, "no stream")
        pipe.hincrby(k.meta, "h", 1)
        pipe.execute()

    assert 1 == a.wait(30)
    assert "the listener ended, and so does this process" in a.output
    assert "WRONGTYPE" in a.output
    assert 1006 == (await client.closed(30))[0]
    assert b.ready_status() == 200
