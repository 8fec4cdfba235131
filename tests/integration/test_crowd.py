"""The demo's crowd: what it does shows in the sale, and what it leaves behind is nothing but sold seats."""

import asyncio
import re
import signal
import sys

from tests.conftest import Servers
from tests.support.api import Api
from tests.support.servers import ROOT, ServerProcess, clean_environment
from tests.support.waiting import eventually

STATS = "/api/events/demo-musical/stats"
CROWD_SECONDS = 8
GONE = re.compile(r"gone: (\d+) orders of (\d+) seats, 0 troubles")


async def start(server: ServerProcess, *options: str) -> asyncio.subprocess.Process:
    """A crowd of ten, ten times as fast as people, as soon as there is something to buy."""

    async def is_open() -> bool:
        return (await Api(server).get(STATS)).status == 200

    await eventually(is_open, "the demo's events are there", 30)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.crowd", f"--url={server.url}", "--buyers=10", "--pace=0.1", *options,
        cwd=ROOT, env=clean_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def end(crowd: asyncio.subprocess.Process) -> str:
    """What it has said by its end, which was a good one."""
    async with asyncio.timeout(30):
        output = (await crowd.communicate())[0].decode()

    assert 0 == crowd.returncode, output
    return output


async def test_a_crowd_holds_and_buys(servers: Servers) -> None:
    """Ten buyers queue, hold and pay: the store has sold what they say, and nothing broke on either side."""
    (server,) = servers(1, demo="true")
    output = await end(await start(server, f"--seconds={CROWD_SECONDS}"))
    stats = (await Api(server).get(STATS)).json
    gone = GONE.search(output)

    assert gone is not None, output
    assert int(gone[1]) > 0
    assert stats["sold"] >= int(gone[2])  # the answer to the last payment may have come too late
    assert re.search(r"[1-9]\d* held", output), output
    assert not re.search("ERROR|Traceback", server.output)


async def test_an_interrupted_crowd_leaves_nothing_behind(servers: Servers) -> None:
    """Ctrl-C: no place in the line, no admission and no hold stays until a deadline."""
    (server,) = servers(1, demo="true")
    crowd = await start(server)
    api = Api(server)

    async def somebody_holds() -> bool:
        answer = await api.get(STATS)
        return answer.status == 200 and answer.json["held"] > 0

    await eventually(somebody_holds, "a seat is held", 20)
    crowd.send_signal(signal.SIGINT)
    await end(crowd)

    async def nothing_is_left() -> bool:
        stats = (await api.get(STATS)).json
        return [0, 0, 0] == [stats[name] for name in ("waiting", "admitted", "held")]

    await eventually(nothing_is_left, "nothing is left")
