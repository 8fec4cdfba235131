"""Whatever users, the back end, servers and time do to a line: its order, its limits, what each is told.

Three servers' parts run here on one real Valkey. Hypothesis lets users join and leave, on several tabs and
several servers, lose their connections and come back elsewhere, lets servers crash, while the back end
pauses, lets in, removes, and makes room. The ledger, which tells servers of every change, tells this test
too; the sets in the store are read after every script that changes them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from session import keys
from session.events import EventDraft
from session.protocol import Code
from session.sale import Who
from session.waiting_room import Place
from tests.property.conftest import SERVERS, Clusters
from tests.support.client import Frame
from tests.support.parts import Cluster, Server, Tab
from tests.support.waiting import eventually

USERS, TABS = 6, 2
CHANGING = {"join", "leave", "depart", "queue_set", "tick", "put_back"}
MOVING = {"join", "depart", "queue_set", "put_back"}
"""Scripts that change who is there; with `leave` and `tick` all that changes a line."""

LONG, SHORT = (3_600_000, 120_000), (300, 200)
"""Graces in ms: of a place, of an admission."""

# --- what a server is known to get wrong; set to False, the test demands it ---

OLD_ANSWERS = False
"""An answer may come after what is newer: `queue-joined` after the admission, or the end, of that place."""
LEAVES_ALONE = False
"""The end of one tab's `leave-queue` takes away what another tab of the user has joined meanwhile."""
DEAF_BESIDE = False
"""What one connection joins or comes back to, others of the user on the same server are not told."""
FALSE_EXPIRY = False
"""A place that is given up may be said to have expired, before it is said that it was left."""
FORGETFUL = False
"""Where the store's answer to `leave-queue` is lost, and it is asked again, the client is told that it had
not joined."""
HALF_JOINED = False
"""A connection that is lost in the middle of `join-queue` leaves a place of which the user's other
connections do not know: the user is taken for absent."""

COMES_BACK_WHILE_IT_LEAVES = [
    [("breathe", 0, 0, 0)],
    [("join", 3, 1, 0)],
    [("join", 3, 0, 0), ("leave", 3, 1, 0)],
]
"""One tab of a user joins again while the answer to another one's `leave-queue` is on its way."""

names = count()
Step = tuple[str, int, int, int]


@dataclass(frozen=True)
class Rules:
    """How a line is set up."""

    capacity: int
    rate: float | None
    admission: float | None


rules = st.builds(
    Rules,
    capacity=st.integers(1, 3),
    rate=st.sampled_from([None, 0.4, 2.0]),
    admission=st.sampled_from([None, None, 0.3]),
)
COMMON = ["join", "leave", "come back", "drop", "done", "breathe"] * 3
RARE = ["pause", "resume", "resume", "room", "admit", "remove"]
steps = st.tuples(
    st.sampled_from(COMMON + RARE),
    st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5]),
    st.integers(0, TABS - 1),
    st.integers(0, 5),
)
rounds = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=3, max_size=14)
"""What happens: to which user, on which of its tabs, a number. The steps of a round happen at once."""
crashes = st.tuples(st.just("crash"), st.just(0), st.just(0), st.integers(0, SERVERS - 1))
with_crashes = st.lists(
    st.one_of(rounds, st.tuples(rounds, crashes).map(lambda r: [*r[0][:4], [r[1], *r[0][-1]]])),
    min_size=2, max_size=3,
).map(lambda parts: [step for part in parts for step in part])  # fmt: skip


@dataclass
class Moment:
    """A line, at one moment."""

    now: int
    present: dict[str, int]
    absent: dict[str, int]
    admitted: dict[str, int]
    ledger: list[tuple[int, int, list[str]]]
    """Entries: offset, time, lines."""

    @property
    def inside(self) -> list[str]:
        return [user_id for user_id, until in self.admitted.items() if until > self.now]

    @property
    def waiting(self) -> dict[str, int]:
        return self.present | self.absent

    def position(self, user_id: str) -> int:
        seq = self.waiting[user_id]
        return 1 + sum(other < seq for other in self.waiting.values())


@dataclass
class Standing:
    """What a connection knows of its user's place."""

    knows: bool = False
    position: int | None = None
    ends: int = 0
    """How often it was told of an end."""
    unsure: bool = False
    """Whether what it was told last may be older than what it was told before."""
    has_news: bool = False
    """Whether it was told something while it waited for an answer."""
    beside: bool = False
    """Whether its user has had another connection to the same server."""
    since: int = 0
    """Where the ledger was before it was let in."""


@dataclass
class Life:
    """When a user was connected, by the store's clock."""

    tabs: set[Tab] = field(default_factory=set)
    away: list[list[float]] = field(default_factory=lambda: [[0, float("inf")]])
    """Times without a connection."""


class World:
    """An event with a line, its users, and what may befall them."""

    def __init__(self, cluster: Cluster, rule: Rules, graces: tuple[int, int]) -> None:
        self.cluster = cluster
        self.redis = cluster.redis
        self.rule = rule
        self.grace_ms, self.entry_ms = graces
        self.capacity = rule.capacity
        self.event = f"q{next(names)}"
        self.keys = keys.sale(self.event)
        self.tabs: dict[tuple[int, int], Tab] = {}
        self.lives: dict[str, Life] = {}
        self.standings: dict[Tab, Standing] = {}
        self.problems: list[str] = []
        self.best: dict[tuple[str, int], int] = {}
        """(user, number) -> the best position that it was ever told."""
        self.joined: dict[str, int] = {}
        """Where the ledger was when a user was last told that it has a place."""
        self.before: Moment | None = None
        self.moving: list[set[str]] = []
        self.moved: set[str] = set()
        """Users who may have come or gone since the last look."""
        self.orders: list[tuple[str, int, int]] = []
        """Admissions by the back end: user, and between when and when."""
        self.half: set[str] = set()
        """Users who have lost a connection in the middle of a command."""
        self.dead: list[str] = []
        self._restore: list[Callable[[], Any]] = []

    def server(self, n: int) -> Server:
        return self.cluster.server(n)

    def user(self, n: int) -> str:
        return f"{self.event}-{n}"

    # --- looking on ---

    def attend(self, server: Server) -> None:
        """Look at the store after each script of a server that changes the line, and hear where it places
        users."""
        s = server.services
        ask = s.store.script

        async def script(name: str, own_keys: Any, args: Any = (), **more: Any) -> Any:
            if name not in CHANGING or args[1] != self.event:
                return await ask(name, own_keys, args, **more)
            touched = {str(arg) for arg in args} if name in MOVING else set()
            self.moving.append(touched)
            try:
                return await ask(name, own_keys, args, **more)
            finally:
                self.moving.remove(touched)
                self.moved |= touched
                self.check()

        s.store.script = script  # type: ignore[method-assign]
        self._restore.append(lambda: vars(s.store).pop("script"))
        for name in ("join", "arrive"):
            self._hear_place(s.lobby, name)

    def _hear_place(self, of: Any, name: str) -> None:
        ask = getattr(of, name)

        async def heard(connection: Any, event_id: str, *more: Any) -> Place | None:
            place: Place | None = await ask(connection, event_id, *more)
            if event_id == self.event and place is not None:
                self.is_told(connection.user_id, place)
            return place

        setattr(of, name, heard)
        self._restore.append(lambda: vars(of).pop(name))

    def is_told(self, user_id: str, place: Place) -> None:
        """An answer places a user."""
        if place.status == "waiting":
            best = self.best.get((user_id, place.seq), place.position)
            if place.position > best:
                self.problems.append(f"{user_id} fell back from {best} to {place}")
            self.best[user_id, place.seq] = min(best, place.position)
        self.joined[user_id] = max(place.ledger.offset, self.joined.get(user_id, 0))

    def look(self) -> Moment:
        """The line as the store has it."""
        k = self.keys
        pipe = self.redis.pipeline()
        pipe.time()
        for key in (k.present, k.absent, k.admitted):
            pipe.zrange(key, 0, -1, withscores=True)
        pipe.xrange(k.ledger_stream)
        (seconds, micros), *sets, entries = pipe.execute()
        ledger = [
            (int(ident.split("-")[0]), int(fields["t"]), fields["p"].split("\n")) for ident, fields in entries
        ]
        return Moment(
            seconds * 1000 + micros // 1000, *({u: int(s) for u, s in pairs} for pairs in sets), ledger
        )

    def check(self) -> None:
        """At every moment."""
        now = self.look()
        if len(now.inside) > self.capacity:
            self.problems.append(f"{now.inside} are inside, there is room for {self.capacity}")
        double = (now.present.keys() & now.absent.keys()) | (now.waiting.keys() & now.admitted.keys())
        if double:
            self.problems.append(f"{double} stand in two places: {now}")
        if self.before is not None:
            self._check_order(self.before, now)
        self.before = now
        self.moved = set().union(*self.moving)

    def _check_order(self, before: Moment, now: Moment) -> None:
        """Whom the line let in stood before all who were there and still are."""
        head = before.ledger[-1][0] if before.ledger else 0
        busy = self.moved.union(*self.moving)
        stayed = {
            user_id: seq
            for user_id, seq in now.present.items()
            if before.present.get(user_id) == seq and user_id not in busy
        }
        for user_id, seq, _ in self.admissions(now, after=head):
            passed = [other for other, s in stayed.items() if s < seq]
            if passed:
                self.problems.append(f"{user_id} was let in before {passed}")

    def admissions(self, moment: Moment, after: int = 0) -> list[tuple[str, int, int]]:
        """User, number and time of each admission that the line made by itself."""
        found = []
        for offset, at, lines in moment.ledger:
            for kind, *rest in (line.split(" ") for line in lines if offset > after):
                if kind == "A" and not self._ordered(rest[2], at):
                    found.append((rest[2], int(rest[1]), at))
        return found

    def _ordered(self, user_id: str, at: int) -> bool:
        return any(user_id == u and start <= at <= end for u, start, end in self.orders)

    # --- what may happen ---

    async def begin(self) -> None:
        """Everyone has joined: some are in, the others wait."""
        for server in self.cluster.servers:
            self.attend(server)
        await self.put()
        for n in range(USERS):
            await self.come(n, 0, n)
            await self.do("join", n, 0, 0)

    async def put(self, number: int = 0) -> None:
        draft = EventDraft(
            title="A show", capacity=self.capacity, admit_per_second=self.rule.rate,
            admission_seconds=self.rule.admission,
        )  # fmt: skip
        await self.server(number).services.events.put(self.event, draft)

    async def round(self, some: list[Step]) -> None:
        """Let several things happen at once."""
        users: dict[int, list[Step]] = {}
        for step in some:
            users.setdefault(step[1], []).append(step)
        await asyncio.gather(*map(self.of_one_user, users.values()))

    async def of_one_user(self, some: list[Step]) -> None:
        if LEAVES_ALONE and any(what == "leave" for what, *_ in some):
            for step in some:
                await self.do(*step)
        else:
            await asyncio.gather(*(self.do(*step) for step in some))

    async def do(self, what: str, n: int, tab: int, number: int) -> None:
        """Let one thing happen."""
        one, rooms, user_id = (
            self.tabs.get((n, tab)),
            self.server(number).services.waiting_rooms,
            self.user(n),
        )
        back_end: dict[str, Callable[[], Awaitable[Any]]] = {
            "pause": lambda: rooms.pause(self.event, True),
            "resume": lambda: rooms.pause(self.event, False),
            "done": lambda: self.finish(number),
            "remove": lambda: rooms.leave(self.event, Who(user_id), "removed"),
            "admit": lambda: self.admit(number, user_id),
            "room": lambda: self.make_room(number),
            "crash": lambda: self.crash(number),
            "breathe": lambda: asyncio.sleep(0.04 * (number + 1)),
        }
        if what in back_end and not self.server(number).is_up:
            return
        if what in back_end:
            await self.server(number).do(back_end[what]()) if what != "crash" else await back_end[what]()
        elif what == "come back" or one is None or not one.is_open:
            await self.come(n, tab, number, replaces=number > 3)
        elif what == "drop":
            await self.drop(one)
        else:
            await self.command(one, f"{what}-queue")
        assert self.problems == []

    async def command(self, one: Tab, command: str) -> None:
        standing = self.standings[one]
        standing.has_news = False
        answer = await one.call(command, eventId=self.event)
        if answer is None and HALF_JOINED:
            self.half.add(one.user_id)
        if answer is not None and answer.get("code") == Code.NOT_JOINED and FORGETFUL:
            standing.knows, standing.position = False, None

    async def finish(self, number: int) -> None:
        """Somebody inside has bought, and makes room."""
        inside = sorted(self.look().inside)
        if inside:
            user_id = inside[number % len(inside)]
            await self.server(number).services.waiting_rooms.leave(self.event, Who(user_id), "removed")

    async def make_room(self, number: int) -> None:
        self.capacity += 1
        await self.put(number)

    async def admit(self, number: int, user_id: str) -> None:
        start = self.cluster.now_ms()
        order = (user_id, start, 10**15)
        self.orders.append(order)
        verdict = await self.server(number).services.waiting_rooms.admit(self.event, user_id)
        self.orders.remove(order)
        if verdict == "ok":
            self.orders.append((user_id, start, self.cluster.now_ms()))

    async def come(self, n: int, tab: int, where: int, *, replaces: bool = False) -> None:
        """A tab of a user connects, somewhere; by resume where it was connected before."""
        server = self.server(where)
        if not server.is_up:
            return
        before = self.tabs.get((n, tab))
        self.tabs[n, tab] = new = Tab(server, self.user(n))
        new.problems, new.on_frame = self.problems, self.hear
        if before is not None and not replaces:
            await self.drop(before)
        standing = self.standings[new] = Standing(since=self.head())
        for other in server.tabs - {new}:
            if other.user_id == new.user_id:
                self.standings[other].beside = standing.beside = True
        await new.sign_in(before, replaces=replaces)
        if new.is_open:
            self.is_there(new)
        if before is not None:
            await self.drop(before)

    async def drop(self, tab: Tab) -> None:
        await tab.drop()
        self.is_away(tab)

    def is_there(self, tab: Tab) -> None:
        life = self.lives.setdefault(tab.user_id, Life())
        if not life.tabs:
            life.away[-1][1] = self.cluster.now_ms()
        life.tabs.add(tab)

    def is_away(self, tab: Tab) -> None:
        life = self.lives.get(tab.user_id)
        if life is not None and tab in life.tabs:
            life.tabs.discard(tab)
            if not life.tabs:
                life.away.append([self.cluster.now_ms(), float("inf")])

    async def crash(self, n: int) -> None:
        """A server dies, and another takes its place."""
        n %= SERVERS
        if not all(server.is_up for server in self.cluster.servers):
            return
        tabs = list(self.server(n).tabs)
        crash = asyncio.ensure_future(self.cluster.crash(n))
        await asyncio.sleep(0)
        for tab in tabs:
            self.is_away(tab)
        self.dead.append(await crash)
        self.attend(self.server(n))

    def head(self) -> int:
        return int(self.redis.hget(self.keys.ledger_meta, "h") or 0)

    # --- what clients are told ---

    def hear(self, tab: Tab, frame: Frame) -> None:
        standing = self.standings[tab]
        kind = frame["type"]
        told = frame["queue"] if kind == "session-restored" else frame
        is_answer = kind in {"session-restored", "queue-joined"}
        if kind.startswith("queue-") or is_answer:
            standing.unsure = is_answer and standing.has_news and OLD_ANSWERS
        standing.has_news = not is_answer and kind.startswith("queue-")
        if kind == "queue-left":
            if not (frame.get("reason") == "expired" and FALSE_EXPIRY):
                standing.ends += 1
            standing.knows, standing.position = False, None
        elif kind in {"queue-joined", "queue-updated", "session-restored", "queue-entry-allowed"} and told:
            standing.knows = True
            position = told.get("position")
            worst = standing.position
            if position is not None and worst is not None and position > worst and not standing.unsure:
                self.problems.append(f"{tab} fell back from {worst} to {frame}")
            standing.position = position

    # --- what must be true ---

    async def end(self) -> None:
        """At rest: the numbers are right, everyone knows where it stands, and nobody was lost."""
        await self.server(0).services.waiting_rooms.pause(self.event, True)
        paused = self.look().ledger
        for instance in self.dead:
            await eventually(lambda i=instance: self.cluster.is_buried(i), f"{instance} is buried")  # type: ignore[misc]
        await eventually(self.is_settled, "the store knows who is here")
        try:
            await eventually(lambda: not self.unknown(), "everyone knows where it stands", 20)
        except AssertionError as error:
            error.add_note("\n".join(self.unknown()))
            raise
        self.check()
        assert self.problems == []
        now = self.look()
        admitted = self.admissions(now, after=paused[-1][0] if paused else 0)
        assert admitted == [], "nobody is let in while the line is paused"
        self.check_rate([at for _, _, at in self.admissions(now)])
        self.check_ends(now)
        self.check_told(now)

    def is_settled(self) -> bool:
        """Whether the store's sets say what is so: who is here, who is away."""
        now = self.look()
        here = {tab.user_id for tab in self.tabs.values() if tab.is_open} - self.half
        return (
            now.present.keys() <= here | self.half
            and not now.absent.keys() & here
            and not any(until <= now.now for until in now.admitted.values())
        )

    def unknown(self) -> list[str]:
        """What somebody does not know that it should."""
        now = self.look()
        wrong = []
        for server in self.cluster.servers:
            crowd = server.services.lobby._crowds.get(self.event)
            for user_id, waiter in (crowd.users if crowd else {}).items():
                if user_id in now.waiting and waiter.position != now.position(user_id):
                    wrong.append(f"a server has {user_id} at {waiter.position}")
        for tab, standing in self.standings.items():
            if not tab.is_open or tab.user_id in self.half:
                continue
            expected = now.position(tab.user_id) if tab.user_id in now.waiting else None
            knows = tab.user_id in now.waiting or tab.user_id in now.inside
            if standing.unsure or (standing.beside and DEAF_BESIDE):
                continue
            if (standing.knows, standing.position) != (knows, expected):
                wrong.append(f"{tab} knows {standing}, it is {knows, expected}: {tab.heard}")
        return wrong

    def check_rate(self, times: list[int]) -> None:
        """Any 10 s hold at most ten times the rate, and what was saved up is a second's, or one's."""
        rate = self.rule.rate
        if rate is None:
            return
        times.sort()
        saved = max(1, 1 / rate)
        for i, start in enumerate(times):
            for j, end in enumerate(times[i:], 1):
                span = (end - start) / 1000
                assert j <= rate * (span + saved) + 0.01 * j, f"{j} in {span} s at {rate} a second"
                assert span > 10 or j <= 10 * rate

    def check_ends(self, now: Moment) -> None:
        """Nobody is lost: a place ends by leaving, by removal, or by its time."""
        last: dict[str, int] = {}
        for offset, at, lines in now.ledger:
            for kind, *rest in (line.split(" ") for line in lines):
                if kind == "A":
                    continue
                *seq, user_id, _, why = rest
                last[user_id] = offset
                if why == "expired":
                    self.check_expiry(user_id, at, bool(seq))
                else:
                    assert why in {"left", "removed"}
        for user_id, offset in self.joined.items():
            assert user_id in now.waiting or user_id in now.admitted or last.get(user_id, 0) > offset, (
                f"{user_id} is lost, its last place was of {offset}"
            )

    def check_expiry(self, user_id: str, at: int, waited: bool) -> None:
        """Who was here all the time keeps its place, and its admission too while that lasts."""
        if user_id in self.half or (not waited and self.rule.admission is not None):
            return
        grace = self.grace_ms if waited else self.entry_ms
        life = self.lives[user_id]
        assert any(start <= at - grace and end >= at for start, end in life.away), (
            f"the time of {user_id} was over at {at}, it was away {life.away}"
        )

    def check_told(self, now: Moment) -> None:
        """Each end is told once to each connection that knew of the place."""
        for tab, standing in self.standings.items():
            if not tab.is_open:
                continue
            ends = [
                offset
                for offset, _, lines in now.ledger
                for line in lines
                if line[0] != "A" and line.split(" ")[-3] == tab.user_id
            ]
            told = sum(offset > standing.since for offset in ends)
            assert standing.ends <= told, f"{tab} was told too often: {tab.heard}"

    async def close(self) -> None:
        for restore in self._restore:
            restore()
        for tab in self.tabs.values():
            await tab.drop()
        self.redis.delete(*self.keys)
        self.redis.zrem(keys.ACTIVE, self.event)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("graces", [LONG, SHORT], ids=["long", "short"])
def test_the_line_keeps_its_order_and_loses_nobody(
    io_loop: IOLoop, clusters: Clusters, graces: tuple[int, int]
) -> None:
    """Joins, leaves, lost connections and the back end, at once, whether graces are long or end meanwhile."""
    run_examples(io_loop, clusters, rounds, 45, graces)


@pytest.mark.timeout(600)
def test_a_crash_loses_nobody(io_loop: IOLoop, clusters: Clusters) -> None:
    """The same while servers die, with graces that end meanwhile."""
    run_examples(io_loop, clusters, with_crashes, 15, SHORT)


def run_examples(
    io_loop: IOLoop, clusters: Clusters, happenings: Any, examples: int, graces: tuple[int, int]
) -> None:
    cluster = clusters(f"--queue-grace={graces[0] / 1000}", f"--entry-grace={graces[1] / 1000}")

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(rules, happenings)
    @example(Rules(1, None, None), COMES_BACK_WHILE_IT_LEAVES)
    def run(rule: Rules, happenings: list[list[Step]]) -> None:
        async def live() -> None:
            world = World(cluster, rule, graces)
            try:
                await world.begin()
                for some in happenings:
                    await world.round(some)
                await world.end()
            except AssertionError as error:
                error.add_note(f"in the end: {world.look()}")
                raise
            finally:
                await world.close()
            for server in cluster.servers:
                server.check()

        io_loop.run_sync(live, timeout=60)

    run()
