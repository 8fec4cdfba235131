"""The sale by hand of ``README.md``, typed as it stands there."""

import asyncio
import json
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

from tests.conftest import Servers
from tests.support.api import Answer, Api
from tests.support.servers import ServerProcess
from tests.support.tokens import API_KEY

README = Path(__file__).parents[2] / "README.md"
BASE = "127.0.0.1:8000"


def blocks() -> list[tuple[str, str]]:
    """Language and code of each block of the section, in order."""
    section = README.read_text().split("## A sale by hand")[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


async def type_in(server: ServerProcess, line: str) -> Answer:
    """Make the call that a ``curl`` line makes."""
    words = shlex.split(line.replace("\\\n", " ").replace("$API_KEY", API_KEY))
    options = dict(pairwise(words))
    headers = dict(words[i + 1].split(": ") for i, word in enumerate(words) if word == "-H")
    path = next(word for word in words if word.startswith(f"http://{BASE}")).partition(BASE)[2]
    body = json.loads(options["-d"]) if "-d" in options else None
    headers = {name.replace("-", "_"): value for name, value in headers.items()}
    return await Api(server)(options.get("-X", "GET"), path, body, **headers)


async def run(server: ServerProcess, code: str) -> list[dict[str, object]]:
    """Run a client as a program of its own; the frames that it printed."""
    code = code.replace(BASE, f"127.0.0.1:{server.port}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]


async def test_the_sale_by_hand_goes_as_told(servers: Servers, tmp_path: Path) -> None:
    """One is let in, holds the best seats and buys them; the other waits, and can hold nothing."""
    (a,) = servers(jwt_secret="", data_dir=str(tmp_path / "var"))
    (_, put), (_, client), (_, calls) = blocks()
    book, stats = calls.strip().split("\ncurl http")

    created = await type_in(a, put)
    mina = await run(a, client)
    jisu = await run(a, client.replace("mina", "jisu"))
    booked = await type_in(a, book)
    figures = await type_in(a, "curl http" + stats)

    assert 201 == created.status
    assert ["connected", "queue-joined", "seats-held"] == [frame["type"] for frame in mina]
    assert ("admitted", ["A-1-3", "A-1-4"]) == (mina[1]["status"], mina[2]["held"])
    assert ("waiting", 1, "not_admitted") == (jisu[1]["status"], jisu[1]["position"], jisu[2]["code"])
    assert (201, ["A-1-3", "A-1-4"]) == (booked.status, booked.json["seats"])
    assert (2, 10) == (figures.json["sold"], figures.json["available"])
