"""A sale in full swing on several servers, to break something under: users who talk, hold and release seats
and stand in line, and who keep account of all they are told.

    async with Traffic(connect, [a, b], store.client) as traffic:
        await traffic.flows()              # everybody has got something done since now
        store.freeze()
        ...
        store.thaw()
        await traffic.flows()
        await traffic.stop()
        await traffic.assert_sound()       # what must hold whatever happened
        traffic.assert_nothing_lost()      # what must hold where the store has kept everything

A visitor whose line ends comes back on another server, by resume, as the bundled client does. A command that
is `unavailable` is given again until it gets another answer, so that each knows in the end what it holds.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import redis
from websockets.exceptions import WebSocketException

from session import keys
from tests.conftest import Connect
from tests.support.api import Api
from tests.support.client import At, Client, Frame
from tests.support.sale import assert_agreement, holds
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually

ROOM = "chat:news"
SALE, LINE = "sale", "line"
"""Two events: one with seats and without a waiting room, one where few may be in at a time."""
SEATS = [f"{row}-{n}" for row in "ABC" for n in range(1, 9)]
CAPACITY = 2
CLAIMS = {"rooms": [ROOM], "publish": [ROOM]}
PAUSE_SECONDS = (0.05, 0.15)
RETRY_SECONDS = 0.1
ANSWER_SECONDS = 25.0
"""A command without an answer for so long is one that was lost."""
REST_SECONDS = 30.0


class Trouble(NamedTuple):
    """A command that was `unavailable`."""

    command: str
    outcome: str
    seconds: float
    retryable: bool


class Standing:
    """What a user believes of its seats in `SALE` and its place in `LINE`, by all that it was told."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.place = "none"
        self.position = 0
        self.worse: list[str] = []
        """Positions that got worse while the place was kept."""
        self.taken: list[Frame] = []
        """What was taken from the user without its asking."""

    def fold(self, frame: Frame) -> None:
        """Take over what a frame says."""
        kind, event = frame["type"], frame.get("eventId")
        if kind == "session-restored":
            self._restored(frame)
        elif event == SALE and "held" in frame:
            self.held = set(frame["held"])
        elif event == SALE and kind == "seats-expired":
            self.held -= set(frame["seats"])
            self.taken.append(frame)
        elif event == LINE and kind in {"queue-joined", "queue-updated", "queue-entry-allowed", "queue-left"}:
            self._stand(kind, frame)

    def _restored(self, frame: Frame) -> None:
        seats, queue = frame["seats"], frame["queue"]
        self.held = set(seats["held"]) if seats else set()
        if queue:
            self._stand("queue-joined", queue)
        else:
            self.place = "none"

    def _stand(self, kind: str, frame: Frame) -> None:
        before, was = self.place, self.position
        told = {"queue-updated": "waiting", "queue-entry-allowed": "admitted", "queue-left": "none"}
        self.place = told.get(kind) or frame["status"]
        self.position = frame["position"] if self.place == "waiting" else 0
        if before == self.place == "waiting" and self.position > was:
            self.worse.append(f"{was} became {self.position}")
        if kind == "queue-left" and "id" not in frame:
            self.taken.append(frame)


class Visitor:
    """A user with one connection at a time; what it does again and again is `act`."""

    def __init__(self, traffic: "Traffic", name: str) -> None:
        self.traffic = traffic
        self.name = name
        self.dice = random.Random(name)
        self.clients: list[Client] = []
        """Its connections, the one that it has now last."""
        self.troubles: list[Trouble] = []
        self.problems: list[str] = []
        self.done = 0
        """How often it got something done."""
        self._standing = Standing()
        self._folded = (0, 0)

    @property
    def client(self) -> Client:
        return self.clients[-1]

    @property
    def standing(self) -> Standing:
        """What it believes now."""
        at, count = self._folded
        while at < len(self.clients):
            frames = self.clients[at].frames
            for frame in frames[count:]:
                self._standing.fold(frame)
            self._folded = at, len(frames)
            at, count = at + 1, 0
        return self._standing

    def placed(self, room: str) -> list[tuple[At, Frame]]:
        """The messages of a room, over all its connections."""
        return [(at, frame) for client in self.clients for name, at, frame in client.placed if name == room]

    def heard_since_reset(self) -> dict[int, str]:
        """Offset -> message in `ROOM`, since the connection that it has now began there, or was reset."""
        heard: dict[int, str] = {}
        for frame in self.client.frames:
            if frame["type"] == "room-reset" and frame["room"] == ROOM:
                heard.clear()
            elif frame["type"] == "message" and frame["room"] == ROOM:
                heard[frame["offset"]] = frame["data"]
        return heard

    async def come(self, server: ServerProcess | str) -> None:
        """Connect for the first time, and join what there is."""
        while not self.clients:
            # a server that has just turned somebody away, since its store was away, goes on for a second
            with contextlib.suppress(AssertionError, WebSocketException, OSError):
                self.clients.append(await self.traffic.connect(server, user=self.name, **CLAIMS))
        await self.call("join-room", room=ROOM)
        await self.call("join-seats", eventId=SALE)

    async def run(self) -> None:
        """Act until the traffic stops."""
        while not self.traffic.stopping.is_set():
            await self.act()
            self.done += 1
            await asyncio.sleep(self.dice.uniform(*PAUSE_SECONDS))

    async def act(self) -> None:
        """Do what this visitor does."""

    async def call(self, command: str, **fields: Any) -> Frame:
        """The answer to a command, which is given until it is neither `unavailable` nor lost."""
        while True:
            began = time.monotonic()
            answer = await self._try(command, fields)
            if answer is None:
                await self._come_back()
            elif answer.get("code") in {"unavailable", "rate_limited"}:
                if answer["code"] == "unavailable":
                    seconds = time.monotonic() - began
                    outcome, retryable = answer["details"]["outcome"], answer["retryable"]
                    self.troubles.append(Trouble(command, outcome, seconds, retryable))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return answer

    async def _try(self, command: str, fields: dict[str, Any]) -> Frame | None:
        """An answer; None where the connection ended before."""
        client = self.client
        try:
            return await client.call(command, timeout=ANSWER_SECONDS, **fields)
        except (WebSocketException, OSError):
            return None
        except AssertionError:
            if client.is_open:
                raise
            return None

    async def _come_back(self) -> None:
        """Connect to any server, until one lets us in and has restored us."""
        before = self.client
        for server in itertools.cycle(self.dice.sample(self.traffic.servers, len(self.traffic.servers))):
            try:
                client = await self.traffic.connect(server, user=self.name, before=before, **CLAIMS)
                restored = await client.expect("session-restored")
            except (AssertionError, WebSocketException, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._check_return(before, restored)
            self.clients.append(client)
            return

    def _check_return(self, before: Client, restored: Frame) -> None:
        """Who is told that nothing is missing goes on from just where it was."""
        for room in restored["rooms"]:
            was = before.positions.get(room["room"])
            if was and room.get("recovered") and room["offset"] - room["missed"] != was.offset:
                self.problems.append(f"{self.name} was at {was}, and restored as {room}")


class Talker(Visitor):
    """Publishes numbered messages, each under a key of its own."""

    def __init__(self, traffic: "Traffic", name: str) -> None:
        super().__init__(traffic, name)
        self.published: dict[str, At] = {}
        """Message -> where it was said to be."""

    async def act(self) -> None:
        words = f"{self.name}:{len(self.published)}"
        answer = await self.call("publish", room=ROOM, data=words, key=words)
        self.published[words] = At(answer["epoch"], answer["offset"])


class Buyer(Visitor):
    """Holds seats, and gives them back."""

    async def act(self) -> None:
        if self.dice.random() < 0.7:
            await self.call(
                "hold-seats", eventId=SALE, seats=self.dice.sample(SEATS, self.dice.randint(1, 2))
            )
        else:
            await self.call("release-seats", eventId=SALE)


class Queuer(Visitor):
    """Stands in line, goes in, and makes room for the next."""

    async def act(self) -> None:
        await self.call("join-queue", eventId=LINE)
        while self.standing.place == "waiting" and not self.traffic.stopping.is_set():
            await asyncio.sleep(RETRY_SECONDS / 2)
            if not self.client.is_open:
                await self.call("ping")
        if self.standing.place == "admitted" and not self.traffic.stopping.is_set():
            tried = len(self.troubles), len(self.clients)
            answer = await self.call("leave-queue", eventId=LINE)
            if answer.get("code") == "not_joined" and tried != (len(self.troubles), len(self.clients)):
                # it has left with an earlier try, whose answer was lost
                self.standing.place = "none"


PER_SERVER: tuple[type[Visitor], ...] = (Talker, Buyer, Buyer, Queuer, Queuer)


class Traffic:
    """Visitors of each kind on each server, who act from the beginning to `stop`."""

    def __init__(
        self, connect: Connect, servers: Sequence[ServerProcess | str], store: "redis.Redis"
    ) -> None:
        self.connect = connect
        self.servers = list(servers)
        self.store = store
        """Where the truth is; to be set anew after a failover."""
        self.stopping = asyncio.Event()
        self.visitors: list[Visitor] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.open_sale()
        for n, server in enumerate(self.servers):
            self.visitors += [kind(self, f"{kind.__name__}-{n}-{m}") for m, kind in enumerate(PER_SERVER)]
            await asyncio.gather(*(visitor.come(server) for visitor in self.visitors[-len(PER_SERVER) :]))
        self._tasks = [asyncio.create_task(visitor.run()) for visitor in self.visitors]
        return self

    async def open_sale(self) -> None:
        """What the shop does: make the two events, again where the store has lost them."""
        api = Api(self.servers[0])

        async def is_made(event: str, settings: dict[str, Any]) -> bool:
            answer = await api.put(f"/api/events/{event}", {"title": "A concert", **settings})
            return answer.status in {200, 201}

        await eventually(lambda: is_made(SALE, {"seats": SEATS}), "there is a sale", REST_SECONDS)
        await eventually(lambda: is_made(LINE, {"capacity": CAPACITY}), "there is a line", REST_SECONDS)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def talkers(self) -> list[Talker]:
        """Those who publish, and remember what."""
        return [visitor for visitor in self.visitors if isinstance(visitor, Talker)]

    @property
    def troubles(self) -> list[Trouble]:
        """Every command so far that was `unavailable`."""
        return [trouble for visitor in self.visitors for trouble in visitor.troubles]

    @property
    def clients(self) -> list[Client]:
        """All connections that there were."""
        return [client for visitor in self.visitors for client in visitor.clients]

    async def flows(self, timeout: float = REST_SECONDS) -> None:
        """Wait until every visitor has got something done, and heard something of every talker, since now."""
        done = {visitor: visitor.done for visitor in self.visitors}
        said = {talker: len(talker.published) for talker in self.talkers}

        def moved(visitor: Visitor) -> bool:
            return visitor.done > done[visitor]

        def heard(visitor: Visitor) -> bool:
            words = {frame["data"] for _, frame in visitor.placed(ROOM)[-200:]}
            return all(
                words & {f"{talker.name}:{n}" for n in range(since, len(talker.published))}
                for talker, since in said.items()
            )

        for visitor in self.visitors:
            self._raise_failures()
            # whoever is behind many in line may wait for its turn for long
            if not isinstance(visitor, Queuer):
                await eventually(lambda v=visitor: moved(v), f"{visitor.name} gets something done", timeout)
            await eventually(lambda v=visitor: heard(v), f"{visitor.name} hears of everybody", timeout)
        line = [visitor for visitor in self.visitors if isinstance(visitor, Queuer)]
        await eventually(lambda: any(map(moved, line)), "the line moves", timeout)

    async def is_refused(self, timeout: float = REST_SECONDS) -> None:
        """Wait until on each server somebody was told `unavailable`, since now."""
        before = {visitor: len(visitor.troubles) for visitor in self.visitors}
        for n in range(0, len(self.visitors), len(PER_SERVER)):
            group = self.visitors[n : n + len(PER_SERVER)]
            await eventually(
                lambda g=group: any(len(v.troubles) > before[v] for v in g), "a command is refused", timeout
            )

    def _raise_failures(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Let everyone finish what it is doing."""
        self.stopping.set()
        await asyncio.gather(*self._tasks)

    # --- what must hold ---

    async def assert_sound(self) -> None:
        """After `stop`, whatever happened before: at rest everyone knows the truth, and nothing that was told
        contradicts it."""
        for visitor in self.visitors:
            # one whose line ended while it had nothing to say
            await visitor.call("ping")
        await eventually(self._are_at_the_head, "everybody has heard everything", REST_SECONDS)
        await self._agreed(self._seats_that_differ)
        await self._agreed(self._places_that_differ)
        for client in self.clients:
            client.assert_contiguous()
        assert [] == [problem for visitor in self.visitors for problem in visitor.problems]
        self._assert_one_message_a_position()
        self._assert_history()
        self._assert_capacity()
        watchers = [visitor.client for visitor in self.visitors]
        await assert_agreement(self.store, self.connect, self.servers[0], SALE, *watchers)

    def assert_nothing_lost(self) -> None:
        """Where the store has lost nothing: nobody was reset, nobody's seats or place were taken, no position
        got worse, and everyone has had each message that was confirmed, once."""
        resets = [f for client in self.clients for f in client.frames if f["type"] == "room-reset"]
        assert [] == resets
        assert [] == [(v.name, v.standing.taken) for v in self.visitors if v.standing.taken]
        assert [] == [(v.name, v.standing.worse) for v in self.visitors if v.standing.worse]
        published = {words: at.offset for t in self.talkers for words, at in t.published.items()}
        for visitor in self.visitors:
            heard = [(frame["data"], at.offset) for at, frame in visitor.placed(ROOM)]
            assert len({words for words, _ in heard}) == len(heard), f"{visitor.name} heard something twice"
            # a publication whose answer never came may have been made
            missing = published.items() - set(heard)
            assert not missing, f"{visitor.name} has missed {missing}"

    def assert_nobody_left(self) -> None:
        """Every connection is still the first one of its visitor, and open."""
        ended = [visitor.name for visitor in self.visitors if len(visitor.clients) > 1]
        assert [] == ended
        assert all(client.is_open for client in self.clients)

    def _are_at_the_head(self) -> bool:
        for room in (ROOM, f"seats:{SALE}"):
            head = int(self.store.hget(keys.room(room).meta, "h") or 0)
            if any(visitor.client.positions[room].offset != head for visitor in self.visitors):
                return False
        return True

    async def _agreed(self, differences: Callable[[], list[str]]) -> None:
        """Wait until there are none; say which there are if they stay."""
        try:
            await eventually(lambda: not differences(), "everybody knows the truth", REST_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {differences()}") from None

    def _seats_that_differ(self) -> list[str]:
        truth = {user: set(seats.values()) for user, seats in holds(self.store, SALE).items()}
        return [
            f"{v.name} believes {v.standing.held}, it is {truth.get(v.name)}"
            for v in self.visitors
            if v.standing.held != truth.get(v.name, set())
        ]

    def _places_that_differ(self) -> list[str]:
        k = keys.sale(LINE)
        admitted = set(self.store.zrange(k.admitted, 0, -1))
        places = [p for key in (k.present, k.absent) for p in self.store.zrange(key, 0, -1, withscores=True)]
        line = [user for user, _ in sorted(places, key=lambda place: place[1])]
        truth = dict.fromkeys(admitted, ("admitted", 0))
        truth |= {user: ("waiting", n) for n, user in enumerate(line, 1)}
        return [
            f"{v.name} believes {v.standing.place} {v.standing.position}, it is {truth.get(v.name)}"
            for v in self.visitors
            if (v.standing.place, v.standing.position) != truth.get(v.name, ("none", 0))
        ]

    def _assert_one_message_a_position(self) -> None:
        """No two messages at one epoch and offset, over everybody and all connections."""
        said: dict[tuple[str, At], Any] = {}
        for client in self.clients:
            for room, at, frame in client.placed:
                content = frame.get("data", frame.get("seats"))
                assert content == said.setdefault((room, at), content), f"two messages at {at} of {room}"

    def _assert_history(self) -> None:
        """What everyone has heard since it last began anew is what the store has there."""
        entries = self.store.xrange(keys.room(ROOM).stream)
        kept = {int(entry.split("-")[0]): fields["f"] for entry, fields in entries}
        for visitor in self.visitors:
            for offset, data in visitor.heard_since_reset().items():
                assert f'"data":"{data}"' in kept.get(offset, '"data":"'), (
                    f"{visitor.name}: {data} at {offset}"
                )

    def _assert_capacity(self) -> None:
        """Never were more let in than there is room for, as far as the ledger reaches back."""
        inside: set[str] = set()
        entries = self.store.xrange(keys.sale(LINE).ledger_stream)
        if not entries or entries[0][0] != "1-0":
            return
        for _, fields in entries:
            for line in fields["p"].split("\n"):
                kind, first, *rest = line.split(" ")
                if kind == "A":
                    inside.add(rest[1])
                elif kind == "E":
                    inside.discard(first)
            assert len(inside) <= CAPACITY, f"{inside} are in"
