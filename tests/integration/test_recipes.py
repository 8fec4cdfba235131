"""The recipes of ``docs/client.md`` that are no web pages: a client in Python, and the wire by hand."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.conftest import Servers
from tests.support.api import Api
from tests.support.proxy import Proxy
from tests.support.tokens import token
from tests.support.waiting import eventually

DOCS = Path(__file__).parents[2] / "docs"
PATIENCE = 30.0


@asynccontextmanager
async def program(*args: str, **env: str) -> AsyncIterator[Process]:
    """A Python program of its own, killed in the end."""
    env = {"PYTHONUNBUFFERED": "1", "PATH": "", **env}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *args, env=env, stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def frames(process: Process) -> AsyncIterator[dict[str, Any]]:
    """The frames that a program prints, whatever it prints around them."""
    assert process.stdout is not None
    while line := await asyncio.wait_for(process.stdout.readline(), PATIENCE):
        if found := re.search(rb'\{"type".*\}', line):
            yield json.loads(found[0])


async def test_the_python_client_misses_nothing(servers: Servers) -> None:
    """Cut off while messages come, it has each once and in order; removed, it does not come back."""
    (a,) = servers()
    api = Api(a)
    with Proxy(a.port) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/ws"
        async with program(str(DOCS / "recipes" / "client.py"), url, "1", TOKEN=token("mina")) as client:
            told = frames(client)
            seen = [await anext(told)]
            while seen[-1]["type"] != "event-joined":
                seen.append(await anext(told))
            await api.publish("event:1", 1)
            while seen[-1].get("data") != 1:
                seen.append(await anext(told))
            proxy.cut()
            await eventually(lambda: a.metric("keepseat_connections") == 0, "the line is gone")
            for number in (2, 3):
                await api.publish("event:1", number)
            await api.publish("user:mina", "for you")
            proxy.mend()
            while {3, "for you"} - {frame.get("data") for frame in seen}:
                seen.append(await anext(told))
            await api.publish("event:1", 4)
            while seen[-1].get("data") != 4:
                seen.append(await anext(told))
            await api.post("/api/users/mina/disconnect")
            assert client.stdout is not None
            last_words = await asyncio.wait_for(client.stdout.read(), PATIENCE)

    messages = [frame for frame in seen if frame["type"] == "message"]
    assert [1, 2, 3, 4] == [m["data"] for m in messages if m["room"] == "event:1"]
    assert ["for you"] == [m["data"] for m in messages if m["room"] == "user:mina"]
    assert 1 == [frame["type"] for frame in seen].count("session-restored")
    assert b"ConnectionError: 3003 " in last_words


async def converse(url: str, script: str) -> list[dict[str, Any]]:
    """Type what the docs say, and wait for what they say comes; the frames that came."""
    came: list[dict[str, Any]] = []
    async with program("-m", "websockets", url) as terminal:
        assert terminal.stdin is not None
        told = frames(terminal)
        for group in re.split(r"^> ", script, flags=re.MULTILINE)[1:]:
            typed, *answers = group.splitlines()
            terminal.stdin.write(typed.encode() + b"\n")
            frames_now = [await anext(told) for _ in answers]
            expected = sorted(re.findall(r'^< \{"type":"([\w-]+)"', "\n".join(answers), re.MULTILINE))
            assert expected == sorted(frame["type"] for frame in frames_now)
            came += frames_now
    return came


async def test_the_protocol_by_hand_goes_as_told(servers: Servers) -> None:
    """Typed as it stands there, on two servers: what comes is what is told, and one key is published once."""
    a, b = servers(2)
    first, second = re.findall(r"```text\n(.*?)```", (DOCS / "client.md").read_text(), re.DOTALL)
    jwt = token("mina", rooms=["chat:*"], publish=["chat:*"])

    before = await converse(a.ws_url, first.replace("TOKEN", jwt))
    joined = next(frame for frame in before if frame["type"] == "room-joined")
    after = await converse(b.ws_url, second.replace("TOKEN", jwt).replace("EPOCH", joined["epoch"]))

    published = [frame for frame in before + after if frame["type"] == "published"]
    restored = next(frame for frame in after if frame["type"] == "session-restored")
    assert [(2, 1), (3, 1)] == [(frame["id"], frame["offset"]) for frame in published]
    assert [1] == [room["missed"] for room in restored["rooms"] if room["room"] == "chat:lobby"]
