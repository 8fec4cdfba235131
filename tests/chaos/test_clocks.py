"""A server's wall clock jumps: places, holds, leases and pings go by other clocks."""

import re
import textwrap
import time
from pathlib import Path

import pytest

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Frame
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess

HOURS = 3600.0
EVENT = "42"
JUMPING = """
    import os, time

    def jumping(real=time.time, path=os.environ["TEST_CLOCK"]):
        with open(path) as file:
            return real() + float(file.read())

    time.time = jumping
    """


class WallClock:
    """What a server process believes that the time is."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(textwrap.dedent(JUMPING))
        self._file = folder / "offset"
        self.jump(0)
        self.environ = {"PYTHONPATH": str(folder), "TEST_CLOCK": str(self._file)}

    def jump(self, seconds: float) -> None:
        """Be so far from the truth from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)


def is_about_now(ms: int) -> bool:
    return abs(ms / 1000 - time.time()) < HOURS / 2


async def refusal(connect: Connect, server: ServerProcess) -> str | None:
    """Why a token of an hour, made now, does not open a connection."""
    client = await connect(server, user="late", via="query", wait=False)
    first: Frame = await client.next()
    return first.get("code")


@pytest.mark.parametrize("hours", [5, -5], ids=["forward", "back"])
async def test_a_wall_clock_that_jumps_decides_nothing(
    servers: Servers, connect: Connect, valkey: StoreProcess, tmp_path: Path, hours: int
) -> None:
    """Connections, places, admissions and holds stand, and end when the store says so; times on the wire are
    the store's. Only whether a new token is still good is judged by it."""
    clock = WallClock(tmp_path)
    (wrong,) = servers(environ=clock.environ, ping_interval=1)
    (right,) = servers()
    await Api(right).put(
        f"/api/events/{EVENT}", {"title": "A", "seats": ["A-1"], "capacity": 1, "holdSeconds": 3}
    )
    mina, noah, watcher = [await connect(wrong, user=user) for user in ("mina", "noah", "watcher")]
    for client in (mina, noah):
        await client.do("join-queue", eventId=EVENT)
    await watcher.do("join-event", eventId=EVENT)
    clock.jump(hours * HOURS)

    held = await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    pong = await mina.do("ping")
    await Api(wrong).publish(f"event:{EVENT}", "hello")
    message = await watcher.expect("message", room=f"event:{EVENT}")
    expired = await mina.expect("seats-expired", timeout=30)
    place = await noah.do("join-queue", eventId=EVENT)
    status = wrong.ready_status()

    assert all(is_about_now(ms) for ms in (held["holdExpiresAt"], pong["serverTime"], message["sentAt"]))
    assert ["A-1"] == expired["seats"]
    assert ("waiting", 1) == (place["status"], place["position"])
    assert 200 == status
    assert "admitted" == (await mina.do("join-queue", eventId=EVENT))["status"]
    await mina.do("leave-queue", eventId=EVENT)
    assert (await noah.expect("queue-entry-allowed"))["pass"]
    assert ("token_expired" if hours > 0 else "token_invalid") == await refusal(connect, wrong)
    assert await refusal(connect, right) is None
    assert all(client.is_open for client in (mina, noah, watcher))
    # a busy machine may keep it for a second or two, which it rightly tells
    stood_still = map(float, re.findall(r"stood still for ([\d.]+) s", wrong.output))
    assert all(seconds < 60 for seconds in stood_still)
