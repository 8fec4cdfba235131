"""Three servers are replaced one after another in the middle of a sale, and nobody loses anything."""

import asyncio
import signal
from typing import Any

from session import keys
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.sale import assert_agreement, holds
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT, HALL = "42", "hall"
ROOM = f"event:{EVENT}"
USERS, CAPACITY, DRAIN_SECONDS = 60, 10, 4


class Visitor:
    """Comes back as it is told to, and keeps account over all its connections."""

    def __init__(self, name: str, servers: list[ServerProcess]) -> None:
        self._name = name
        self._servers = servers
        self.lines: list[Client] = []
        self.restored: list[dict[str, Any]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def line(self) -> Client:
        return self.lines[-1]

    @property
    def heard(self) -> list[Any]:
        return [data for line in self.lines for data in line.messages(ROOM)]

    @property
    def positions(self) -> list[int]:
        """All that it was told of its place, in order."""
        found = []
        for frame in (frame for line in self.lines for frame in line.frames):
            place = frame["queue"] or {} if frame["type"] == "session-restored" else frame
            if "position" in place:
                found.append(place["position"])
        return found

    async def come(self) -> None:
        self.lines.append(await Client.connect(self._servers[0], user=self._name))
        self._task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        while True:
            code, _ = await self.line.closed(timeout=120)
            assert code == 1012, code
            await self._come_back()

    async def _come_back(self) -> None:
        """On whichever server takes it in: one that has just begun, or one that is still there."""
        for attempt in range(200):
            server = self._servers[(hash(self._name) + attempt) % len(self._servers)]
            try:
                line = await Client.connect(server, user=self._name, before=self.line)
                restored = await line.expect("session-restored")
            except Exception:  # a server that goes, or is not there yet
                await asyncio.sleep(0.05)
                continue
            self.lines.append(line)
            self.restored.append(restored)
            return
        raise AssertionError(f"{self._name} finds no server")

    async def go(self) -> None:
        assert self._task is not None
        self._task.cancel()
        (problem,) = await asyncio.gather(self._task, return_exceptions=True)
        assert isinstance(problem, asyncio.CancelledError), problem
        for line in self.lines:
            await line.drop()


async def test_a_deploy_loses_nothing(servers: Servers, connect: Connect, valkey: StoreProcess) -> None:
    """60 users in a room, in line and with seats: each hears each message once, keeps its place and seats,
    and never are more let in than there is room for."""
    fleet = servers(3, drain_seconds=DRAIN_SECONDS)
    api = Api(fleet[0])
    await api.put(f"/api/events/{EVENT}", {"title": "A", "capacity": CAPACITY})
    await api.put(f"/api/events/{HALL}", {"title": "B", "seats": [f"A-{n}" for n in range(USERS)]})
    visitors = [Visitor(f"user-{n}", [*fleet[n % 3 :], *fleet[: n % 3]]) for n in range(USERS)]
    for n, visitor in enumerate(visitors):
        await visitor.come()
        await visitor.line.do("join-event", eventId=EVENT)
        await visitor.line.do("join-queue", eventId=EVENT)
        await visitor.line.do("hold-seats", eventId=HALL, seats=[f"A-{n}"])
    watcher = Visitor("watcher", [*fleet[1:], fleet[0]])
    await watcher.come()
    await watcher.line.do("join-seats", eventId=HALL)
    before = valkey.client.zrange(keys.sale(EVENT).admitted, 0, -1)
    most: list[int] = []
    said = 0

    async def say(server: ServerProcess) -> None:
        nonlocal said
        await Api(server).publish(ROOM, said)
        most.append(valkey.client.zcard(keys.sale(EVENT).admitted))
        said += 1

    for n, server in enumerate(fleet):
        server.signal(signal.SIGTERM)
        while server.is_running:
            await say(fleet[(n + 1) % 3])
        assert server.wait() == 0
        server.start()
        await eventually(lambda server=server: server.ready_status() == 200, "it is back", 20)  # type: ignore[misc]
    await eventually(
        lambda: all(visitor.heard == list(range(said)) for visitor in visitors), "everyone has heard all", 30
    )

    assert said > 10
    assert max(most) <= CAPACITY
    assert set(before) == set(valkey.client.zrange(keys.sale(EVENT).admitted, 0, -1))
    for n, visitor in enumerate(visitors):
        assert [f"user-{n}"] == [user for user, seats in holds(valkey.client, HALL).items() if n in seats]
        assert visitor.positions == sorted(visitor.positions, reverse=True)
        assert visitor.restored
        for restored in visitor.restored:
            assert [f"A-{n}"] == restored["session"]["selectedSeats"]
            assert restored["queue"] is not None
            assert all(room["recovered"] or room["room"].startswith("user:") for room in restored["rooms"])
        for line in visitor.lines:
            line.assert_contiguous()
    await assert_agreement(valkey.client, connect, fleet[0], HALL, watcher.line)
    for visitor in (*visitors, watcher):
        await visitor.go()
