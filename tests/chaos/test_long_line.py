"""Two thousand wait on three servers, come and go, and a server dies: the line keeps its order.

The parts of the servers run in this process, on a real store.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest
from tornado.ioloop import IOLoop

from session import keys
from session.events import EventDraft
from session.sale import Who
from tests.support.client import Frame
from tests.support.parts import Cluster, Tab, running
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT = "long"
K = keys.sale(EVENT)
USERS, CAPACITY, RATE = 2_000, 100, 100
AT_ONCE = 50
RESTLESS = range(0, USERS, 5)
"""Every fifth leaves, or loses its connection; half of those come back elsewhere."""


@pytest.fixture
def cluster(io_loop: IOLoop, valkey: StoreProcess) -> Iterator[Cluster]:
    """The parts of three servers."""
    with running(io_loop, valkey, 3) as made:
        yield made


class Line:
    """Everyone in it, and what they were told."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.tabs: dict[int, Tab] = {}
        self.where: dict[int, int] = {}
        self.positions: dict[Tab, list[int]] = {}
        self.over = 0
        self.most_inside = 0

    async def come(self, n: int) -> None:
        """Connect; on another server than before, and going on from there."""
        before = self.tabs.get(n)
        self.where[n] = self.where.get(n, n - 1) + 1
        tab = self.tabs[n] = Tab(self.cluster.server(self.where[n]), f"user-{n:04}")
        # to the same user a place that is kept never gets worse, over all its connections
        self.positions[tab] = self.positions[before] if before is not None else []
        tab.on_frame = self.hear
        await tab.sign_in(before)

    async def join(self, n: int) -> None:
        await self.come(n)
        await self.tabs[n].call("join-queue", eventId=EVENT)

    def hear(self, tab: Tab, frame: Frame) -> None:
        told = frame.get("queue") if frame["type"] == "session-restored" else frame
        if told and "position" in told:
            self.positions[tab].append(told["position"])

    async def stir(self, dice: random.Random) -> None:
        """Let the restless leave and go; half of those who went come back."""
        for n in RESTLESS:
            tab = self.tabs[n]
            if tab.is_open and dice.random() < 0.5:
                await tab.call("leave-queue", eventId=EVENT)
            else:
                await tab.drop()
                if dice.random() < 0.5:
                    await self.come(n)

    async def serve(self, until: int) -> None:
        """Whoever is inside buys, and makes room, until so many have."""
        rooms = self.cluster.server(0).services.waiting_rooms
        while self.over < until:
            inside = self.cluster.redis.zrange(K.admitted, 0, -1)
            self.most_inside = max(self.most_inside, len(inside))
            for user_id in inside:
                await rooms.leave(EVENT, Who(user_id), "removed")
            self.over += len(inside)
            await asyncio.sleep(0.05)

    def wrong(self) -> list[str]:
        """Who waits here, and was last told another position than the store has."""
        waiting = self.cluster.redis.zrange(K.present, 0, -1, withscores=True)
        waiting += self.cluster.redis.zrange(K.absent, 0, -1, withscores=True)
        waiting.sort(key=lambda entry: entry[1])
        place = {user_id: n for n, (user_id, _) in enumerate(waiting, 1)}
        return [
            f"{tab.user_id}: {self.positions[tab][-1:]} is {place[tab.user_id]}"
            for tab in self.tabs.values()
            if tab.is_open and tab.user_id in place and self.positions[tab][-1:] != [place[tab.user_id]]
        ]

    def admitted(self) -> list[tuple[int, int, str]]:
        """Time, number and user of each admission, by the ledger that servers read."""
        return [
            (int(fields["t"]), int(line.split(" ")[2]), line.split(" ")[3])
            for _, fields in self.cluster.redis.xrange(K.ledger_stream)
            for line in fields["p"].split("\n")
            if line.startswith("A ")
        ]


async def in_groups(users: Sequence[int], what: Callable[[int], Awaitable[None]]) -> None:
    """Do it for all of them, some at a time."""
    for at in range(0, len(users), AT_ONCE):
        await asyncio.gather(*map(what, users[at : at + AT_ONCE]))


@pytest.mark.timeout(300)
@pytest.mark.gen_test(timeout=280)
async def test_two_thousand_on_three_servers(cluster: Cluster) -> None:
    """Admitted in order among those who are there, never more than there is room for or faster than is
    allowed; every position is the store's, and none ever gets worse."""
    rooms = cluster.server(0).services.waiting_rooms
    draft = EventDraft(title="A", capacity=CAPACITY, admit_per_second=RATE)
    await cluster.server(0).services.events.put(EVENT, draft)
    await rooms.pause(EVENT, True)
    line, dice = Line(cluster), random.Random(7)
    await in_groups(range(USERS), line.join)
    order = [user_id for user_id, _ in cluster.redis.zrange(K.present, 0, -1, withscores=True)]
    await rooms.pause(EVENT, False)

    lost = [n for n in range(USERS) if line.where[n] % 3 == 2 and n not in RESTLESS]

    async def lose_a_server() -> None:
        await cluster.crash(2)
        await in_groups(lost, line.come)

    await asyncio.gather(line.serve(USERS // 4), line.stir(dice), lose_a_server())
    await rooms.pause(EVENT, True)
    await eventually(lambda: not line.wrong(), "everyone knows its position", 60)

    steady = {f"user-{n:04}" for n in set(range(USERS)) - set(RESTLESS) - set(lost)}
    admissions = line.admitted()
    seqs = [seq for _, seq, user_id in admissions if user_id in steady]
    waiting = dict(cluster.redis.zrange(K.present, 0, -1, withscores=True))
    assert USERS == len(order)
    assert len(seqs) > USERS // 20
    assert sorted(seqs) == seqs
    assert max(seqs) < min(seq for user_id, seq in waiting.items() if user_id in steady)
    assert line.most_inside <= CAPACITY
    times = sorted(at for at, _, _ in admissions)
    for first, last in zip(times, times[10 * RATE :], strict=False):
        assert last - first > 10_000
    for told in line.positions.values():
        assert sorted(told, reverse=True) == told
