"""Three servers with 500 users are replaced one after another while messages flow: spread as planned, and
nobody misses a message or hears one twice."""

import asyncio
import random
import signal
from bisect import bisect_left
from itertools import pairwise
from typing import Any

from session.leaving import GOODBYE_SECONDS
from tests.conftest import Servers
from tests.support.api import Api
from tests.support.light import Frame, LightClient
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually

EVENT = "42"
ROOM = f"event:{EVENT}"
USERS = 500
SPREAD_SECONDS = 2.0
PAUSE_SECONDS = 0.2
"""Between two messages."""
AT_ONCE = 50
SILENCE_SECONDS = SPREAD_SECONDS + 1
SLOW_MACHINE = 10
"""How much longer the longest silence may be where two loaded cores carry servers and users together."""


class Guest:
    """Listens, and goes elsewhere when it is told to."""

    def __init__(self, name: str, open_servers: list[ServerProcess]) -> None:
        self._name = name
        self._open = open_servers
        self._dice = random.Random(name)
        self._line: LightClient | None = None
        self._at: Frame = {}
        self.server: ServerProcess | None = None
        self.heard: list[Frame] = []
        self.delays: list[tuple[ServerProcess, int]] = []
        """What each server that sent it away had planned for it, in ms."""
        self.closes: list[int] = []
        self.restored: list[Frame] = []
        self.silences: list[int] = []
        """From the last message before a move to when it was taken in again, in ms of the store's time."""
        self.joined = asyncio.Event()

    @property
    def is_back(self) -> bool:
        """Restored after each time that it was sent away."""
        return len(self.restored) == len(self.closes) == len(self.delays)

    async def live(self) -> None:
        """Come, and come back, until cancelled."""
        try:
            while True:
                line = await self._connect()
                async for frame in line.frames():
                    self._take(line, frame)
                self.closes.append(line.close_code)
        finally:
            if self._line is not None:
                self._line.drop()

    async def _connect(self) -> LightClient:
        while True:
            self.server = self._dice.choice(self._open)
            resume = {ROOM: self._at} if self._at else None
            try:
                self._line = await LightClient.connect(self.server, self._name, resume)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            if not self._at:
                self._line.send("join-event", eventId=EVENT)
            return self._line

    def _take(self, line: LightClient, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "message":
            self.heard.append(frame)
            self._at = {"epoch": frame.get("epoch", self._at["epoch"]), "offset": frame["offset"]}
        elif kind == "event-joined":
            self._at = {"epoch": frame["epoch"], "offset": frame["offset"]}
            self.joined.set()
        elif kind == "reconnect" and self.server is not None:
            self.delays.append((self.server, frame["delayMs"]))
        elif kind == "connected" and self.heard:
            self.silences.append(frame["serverTime"] - self.heard[-1]["sentAt"])
        elif kind == "session-restored" and self._at:
            self.restored += [room for room in frame["rooms"] if room["room"] == ROOM]


class Announcer:
    """Publishes numbers, one after another."""

    def __init__(self, open_servers: list[ServerProcess]) -> None:
        self._open = open_servers
        self.said = 0

    async def run(self) -> None:
        while True:
            await Api(self._open[-1]).publish(ROOM, self.said)
            self.said += 1
            await asyncio.sleep(PAUSE_SECONDS)


def busiest_second(delays: list[int]) -> int:
    """The most that go in any second, by the plan."""
    times = sorted(delays)
    return max(bisect_left(times, at + 1000) - n for n, at in enumerate(times))


async def test_a_rollout_is_spread_and_loses_nothing(servers: Servers) -> None:
    """In no second more are sent away than the plan says; each hears every message once, in order, its line
    works until it goes, and nobody is without one for long."""
    fleet = servers(3, drain_seconds=SPREAD_SECONDS + GOODBYE_SECONDS, max_unauthenticated_per_address=0)
    open_servers = list(fleet)
    guests = [Guest(f"guest-{n}", open_servers) for n in range(USERS)]
    tasks: list[asyncio.Task[Any]] = []
    for at in range(0, USERS, AT_ONCE):
        some = guests[at : at + AT_ONCE]
        tasks += [asyncio.create_task(guest.live()) for guest in some]
        async with asyncio.timeout(60):
            await asyncio.gather(*(guest.joined.wait() for guest in some))
    announcer = Announcer(open_servers)
    announcing = asyncio.create_task(announcer.run())
    left: dict[ServerProcess, int] = {}
    for server in fleet:
        open_servers.remove(server)
        left[server] = int(server.metric("keepseat_connections"))
        server.signal(signal.SIGTERM)
        await eventually(lambda server=server: not server.is_running, "it has left", 60)  # type: ignore[misc]
        assert server.wait() == 0
        server.start()
        await eventually(lambda server=server: server.ready_status() == 200, "it is back", 60)  # type: ignore[misc]
        open_servers.append(server)
        # who is on the way would be sent away by the next one without having been counted there
        await eventually(lambda: all(guest.is_back for guest in guests), "everyone is back", 60)
    announcing.cancel()
    await asyncio.gather(announcing, return_exceptions=True)
    # one that was cancelled while its answer was on the way may have been said
    last = announcer.said
    await eventually(lambda: all(len(guest.heard) >= last for guest in guests), "everyone has heard all", 60)
    for task in tasks:
        task.cancel()
    problems = [p for p in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(p, Exception)]

    assert [] == problems
    for guest in guests:
        assert [frame["data"] for frame in guest.heard] == list(range(len(guest.heard)))
        assert all(later["offset"] == earlier["offset"] + 1 for earlier, later in pairwise(guest.heard))
        assert len(guest.heard) - last in {0, 1}
        assert set(guest.closes) <= {1012}
        assert len(guest.closes) == len(guest.delays) == len(guest.restored)
        assert all(room["recovered"] for room in guest.restored)
    for server, count in left.items():
        delays = [ms for guest in guests for sender, ms in guest.delays if sender is server]
        assert len(delays) == count > 0
        assert 0 <= min(delays) <= max(delays) <= SPREAD_SECONDS * 1000
        # two for the ends of the second, one for the rounding to milliseconds
        assert busiest_second(delays) <= count / SPREAD_SECONDS + 3
    longest = max(ms for guest in guests for ms in guest.silences) / 1000
    print(f"longest silence {longest:g} s")  # noqa: T201 - what was measured
    assert longest < SILENCE_SECONDS + SLOW_MACHINE
