"""Whatever users, the back end and time do to the seats: one holder each, and everyone sees the truth.

Three servers' parts run here on one real Valkey. Hypothesis lets users hold, release and extend, on several
tabs and several servers at once, come and go in the middle of it, while the back end books, refunds and
changes the event, and holds run out. What must hold at every moment is looked up after every step; what must
be true at rest, at the end.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from session import keys
from session.events import EventDraft
from session.protocol import Code, Refused
from session.sale import Who
from tests.property.conftest import Clusters
from tests.support.client import Frame
from tests.support.parts import Cluster, Server, Tab
from tests.support.waiting import eventually

USERS, TABS = 4, 2
ROWS = [*(f"A-{n}" for n in range(1, 7)), *(f"B-{n}" for n in range(1, 5))]
LISTS = (ROWS, [*ROWS, "C-1", "C-2"], [seat for seat in ROWS if seat not in {"A-5", "B-3"}])
"""What the event may have for seats."""
TIMES = ((0.25, 0.5), (0.4, 1.2), (60.0, 60.005))
"""How long a hold may last, once and at all."""
MOST = (2, 3)
SOON_MS = 5000
LATE_MS = 2000
"""A hold that is over is told of within so long (section 4 of the protocol)."""

REFUSALS = {Code.SEAT_UNAVAILABLE, Code.UNKNOWN_SEAT, Code.NOT_FOUND, Code.HOLD_LIMIT}
"""What the back end may be told that asks for what cannot be."""

# --- what a server is known to get wrong; set to False, the test demands it ---

OLD_ANSWERS = False
"""Where two things happen to one user at once, an answer may come after what is newer."""
LATE_EXPIRY = False
"""`seats-expired` may name seats that the user has held anew since."""

ALL_SEATS = LISTS[1]
picks = st.lists(st.sampled_from(ALL_SEATS), min_size=1, max_size=3, unique=True)

Step = tuple[str, int, int, int, list[str]]
names = count()

COMMON = ["hold", "hold best", "release", "extend", "book", "come back"] * 3
RARE = [
    "release all", "watch", "leave", "drop", "refund", "back end extends", "back end releases", "seats",
    "settings", "breathe",
]  # fmt: skip
steps = st.tuples(
    st.sampled_from(COMMON + RARE),
    st.integers(0, USERS - 1),
    st.integers(0, TABS - 1),
    st.integers(0, 5),
    picks,
)
rounds = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=3, max_size=14)
"""What happens: by which user, on which of its tabs, a number, seats. The steps of a round happen at once."""


class World:
    """An event, its users, and what may befall them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.redis = cluster.redis
        self.event = f"e{next(names)}"
        self.room = f"seats:{self.event}"
        self.keys = keys.sale(self.event)
        self.tabs: dict[tuple[int, int], Tab] = {}
        self.problems: list[str] = []
        self.seen: dict[int, dict[str, str]] = {}
        """What somebody saw at an offset: everyone else must see the same there."""
        self.told: dict[Tab, list[str]] = {}
        """What each tab was last told that its user holds."""
        self.settings: dict[str, Any] = {}
        self.unsure: set[str] = set()
        """Users who may have been told what is not so; see `OLD_ANSWERS`, `LATE_EXPIRY`."""
        self.times: list[list[float]] = []
        """From when to when a hold might last at most so many ms."""
        self.putting = asyncio.Lock()
        self.most = 0

    def server(self, n: int) -> Server:
        return self.cluster.server(n)

    # --- what may happen ---

    async def begin(self) -> None:
        """Everyone is there and holds a seat, and half of them watch."""
        await self.put(TIMES[2], 3, LISTS[0])
        for n in range(USERS):
            await self.come(n, 0, n)
            await self.tabs[n, 0].call("hold-best", eventId=self.event, count=1)
            if n % 2:
                await self.tabs[n, 0].call("join-seats", eventId=self.event)

    async def put(self, times: tuple[float, float], most: int, seats: list[str] | None, n: int = 0) -> None:
        async with self.putting:
            self.settings |= {"hold_seconds": times[0], "max_hold_seconds": times[1], "max_seats": most}
            self.most = max(self.most, most)
            self.times.append([self.cluster.now_ms(), float("inf"), times[1] * 1000])
            draft = EventDraft(title="A show", seats=seats, **self.settings)
            try:
                await self.server(n).services.events.put(self.event, draft)
            finally:
                for before in self.times[:-1]:
                    before[1] = min(before[1], self.cluster.now_ms())

    def longest_ms(self, since: int) -> float:
        """How long a hold might last at most that began then."""
        return max(longest for _, end, longest in self.times if end >= since)

    async def come(self, n: int, tab: int, where: int, *, replaces: bool = False) -> None:
        """A tab of a user connects, somewhere; by resume where it was connected before."""
        before = self.tabs.get((n, tab))
        self.tabs[n, tab] = new = Tab(self.server(where), f"{self.event}-{n}")
        new.problems, new.on_frame, new.on_board = self.problems, self.hear, self.look
        if before is not None and not replaces:
            await before.drop()
        await new.sign_in(before, replaces=replaces)
        if before is not None and replaces:
            await before.drop()

    async def round(self, steps: list[Step]) -> None:
        """Let several things happen at once."""
        users = [n for _, n, *_ in steps]
        if OLD_ANSWERS:
            self.unsure |= {f"{self.event}-{n}" for n in users if users.count(n) > 1}
        await asyncio.gather(*(self.do(*step) for step in steps))

    async def do(self, what: str, n: int, tab: int, number: int, seats: list[str]) -> None:
        """Let one thing happen."""
        one, server, user_id = self.tabs.get((n, tab)), self.server(number).services, f"{self.event}-{n}"
        back_end: dict[str, Callable[[], Awaitable[Any]]] = {
            "book": lambda: self.book(one, number, seats),
            "refund": lambda: server.seats.refund(self.event, seats),
            "back end extends": lambda: server.seats.extend(self.event, Who(user_id)),
            "back end releases": lambda: server.seats.release(self.event, Who(user_id)),
            "seats": lambda: self.put(
                (self.settings["hold_seconds"], self.settings["max_hold_seconds"]),
                self.settings["max_seats"], LISTS[number % 3], number,
            ),
            "settings": lambda: self.put(TIMES[number % 3], MOST[number % 2], None, number),
        }  # fmt: skip
        if what in back_end:
            try:
                await back_end[what]()
            except Refused as refused:
                if refused.code not in REFUSALS:
                    raise
        elif what == "breathe":
            await asyncio.sleep(0.02 * (number + 1))
        elif what == "come back" or one is None or not one.is_open:
            await self.come(n, tab, number, replaces=number > 3)
        elif what == "drop":
            await one.drop()
        else:
            await self.command(one, what, number, seats)
        self.check()

    async def command(self, one: Tab, what: str, number: int, seats: list[str]) -> None:
        commands: dict[str, tuple[str, dict[str, Any]]] = {
            "hold": ("hold-seats", {"seats": seats}),
            "hold best": ("hold-best", {"count": 1 + number % 3}),
            "release": ("release-seats", {"seats": seats}),
            "release all": ("release-seats", {}),
            "extend": ("extend-hold", {}),
            "watch": ("join-seats", {}),
            "leave": ("leave-seats", {}),
        }
        type_, fields = commands[what]
        answer = await one.call(type_, eventId=self.event, **fields)
        if what == "hold" and answer is not None and answer["type"] == "seats-held":
            assert set(seats) <= set(answer["held"]), f"{answer} to {seats}"

    async def book(self, one: Tab | None, number: int, seats: list[str]) -> None:
        """Buy what is held, or try with what may not be."""
        held = self.told.get(one) if one is not None and number % 3 else None
        user_id = one.user_id if one is not None else "nobody"
        await self.server(number).services.seats.book(
            self.event, user_id, held or seats, f"k{number}" if number < 2 else ""
        )

    # --- what clients are told ---

    def hear(self, tab: Tab, frame: Frame) -> None:
        if frame["type"] in {"seats-held", "seats-released", "seats-joined"}:
            self.told[tab] = frame["held"]
        elif frame["type"] == "session-restored":
            self.told[tab] = frame["seats"]["held"] if frame["seats"] else []
        elif frame["type"] == "seats-expired":
            self.told[tab] = [seat for seat in self.told[tab] if seat not in frame["seats"]]
            if LATE_EXPIRY and not set(frame["seats"]).isdisjoint(self.held(tab.user_id)):
                self.unsure.add(tab.user_id)

    def look(self, room: str, offset: int, board: dict[str, str]) -> None:
        """Snapshot and changes come to the same for everyone, whenever they began to watch."""
        before = self.seen.setdefault(offset, dict(board))
        if before != board:
            self.problems.append(f"at {offset} one saw {before} and another {board}")

    # --- what must be true ---

    def check(self) -> None:
        """At every moment, by what the store says at one of them."""
        assert self.problems == []
        k = self.keys
        pipe = self.redis.pipeline()
        pipe.time()
        pipe.mget(k.map, k.shown)
        for key in (k.holds, k.pending, k.state):
            pipe.hgetall(key)
        pipe.zrange(k.due, 0, -1, withscores=True)
        (seconds, micros), (map_, shown), holds, pending, state, due = pipe.execute()
        now = seconds * 1000 + micros // 1000
        taken: dict[int, str] = {}
        ends = {}
        for user_id, line in holds.items():
            first, until, *seats = line.split(" ")
            assert 0 < len(seats) <= self.most, f"{user_id} holds {seats}"
            assert int(first) < int(until) <= int(first) + self.longest_ms(int(first)), f"{user_id}: {line}"
            assert int(until) > now - LATE_MS, f"{user_id} still holds at {now}: {line}"
            ends[user_id] = int(until)
            for seat in seats:
                index = int(seat.split("=")[0])
                assert index not in taken, f"{seat} is held by {user_id} and {taken[index]}"
                taken[index] = user_id
        assert {user_id: int(until) for user_id, until in due} == ends
        assert {i for i, c in enumerate(map_) if c == "h"} == taken.keys(), f"{map_} {holds}"
        assert (map_.count("h"), map_.count("s")) == (int(state.get("h", 0)), int(state.get("s", 0)))
        differs = {str(i) for i, (a, b) in enumerate(zip(map_, shown, strict=True)) if a != b}
        assert differs <= pending.keys(), f"{map_} was published as {shown}, {pending} waits"

    async def end(self) -> None:
        """Once all that ends soon has ended."""
        await eventually(self.is_quiet, "no hold is about to end")
        await self.rest()
        self.check()

    def is_quiet(self) -> bool:
        soon = self.cluster.now_ms() + SOON_MS
        return all(int(line.split(" ")[1]) > soon for line in self.holds().values())

    async def rest(self) -> None:
        """Wait until nothing more is to be told, and see that everyone knows the truth."""
        await eventually(lambda: not self.redis.exists(self.keys.pending), "all has been published")
        map_, shown = self.redis.mget(self.keys.map, self.keys.shown)
        assert map_ == shown
        for tab in self.watchers():
            await eventually(
                lambda tab=tab: tab.positions[self.room].offset == self.head(),  # type: ignore[misc]
                f"{tab} has heard all",
            )
            assert tab.boards[self.room] == self.board(), f"{tab} sees what is not"
        figures = await self.server(0).services.waiting_rooms.figures(self.event)
        map_ = self.redis.get(self.keys.map)
        assert (figures.held, figures.sold, figures.available) == tuple(map(map_.count, "hsa"))
        await eventually(self.all_know, f"{self.told} is what {self.holds()} is")

    def watchers(self) -> list[Tab]:
        return [tab for tab in self.tabs.values() if tab.is_open and self.room in tab.positions]

    def head(self) -> int:
        return int(self.redis.hget(self.keys.seats_meta, "h") or 0)

    def holds(self) -> dict[str, str]:
        return self.redis.hgetall(self.keys.holds)  # type: ignore[return-value]

    def board(self) -> dict[str, str]:
        """The map as a reader sees it."""
        words = {"h": "held", "s": "sold"}
        listed = json_list(self.redis.hget(self.keys.event, "seats"))
        return {
            seat: words[c]
            for seat, c in zip(listed, self.redis.get(self.keys.map), strict=True)
            if c in words
        }

    def all_know(self) -> bool:
        """Whether every tab was last told what its user holds."""
        return all(
            sorted(told) == self.held(tab.user_id)
            for tab, told in self.told.items()
            if tab.is_open and tab.user_id not in self.unsure
        )

    def held(self, user_id: str) -> list[str]:
        line = self.redis.hget(self.keys.holds, user_id) or ""
        return sorted(seat.split("=")[1] for seat in line.split(" ")[2:])

    async def close(self) -> None:
        for tab in self.tabs.values():
            await tab.drop()
        self.redis.delete(*self.keys)
        self.redis.zrem(keys.ACTIVE, self.event)


def json_list(text: str | None) -> list[str]:
    return json.loads(text or "[]")  # type: ignore[no-any-return]


@pytest.mark.timeout(600)
def test_a_seat_has_one_holder_and_everyone_sees_the_truth(io_loop: IOLoop, clusters: Clusters) -> None:
    """Holds, releases, bookings, refunds, expiry, changes of the event, coming and going, all at once."""
    cluster = clusters()

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(rounds)
    def run(happenings: list[list[Step]]) -> None:
        async def example() -> None:
            world = World(cluster)
            try:
                await world.begin()
                for step in happenings:
                    await world.round(step)
                await world.end()
            finally:
                await world.close()
            for server in cluster.servers:
                server.check()

        io_loop.run_sync(example, timeout=60)

    run()
