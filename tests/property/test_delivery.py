"""Whatever happens between the store and a server: each reader of a room gets each message once, in order.

The parts of one server run here, on a real Valkey, with sockets of our own: hypothesis drops what pub/sub
brings, cuts the subscription, fails over with and without a lost tail, trims, blocks readers, and lets them
come and go at any position. In the end everyone who is told `room-reset` starts anew, everyone else has
missed nothing, and all have the surviving history.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from session.config import parse
from session.connection import Connection
from session.hub import State
from session.identity import Identity
from session.recovery import Position
from session.services import Services, build
from session.store import Unavailable
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET
from tests.support.waiting import eventually

READERS = 4
HISTORY = 12
FAR = time.time() + 86_400

names = count()

COMMON = ["publish", "come back", "leave"] * 4 + ["lose"] * 3
RARE = ["join", "look back", "deaf", "block", "unblock", "cut", "fail over", "forget", "breathe"]
steps = st.lists(
    st.tuples(st.sampled_from(COMMON + RARE), st.integers(0, READERS - 1), st.integers(1, 4)),
    min_size=10,
    max_size=40,
)
"""What happens, to which reader, how much; what is common in life is common here."""


BEGINNING = (
    ("publish", 0, 2),
    *(("join", n, 0) for n in range(READERS)),
    ("publish", 0, 4),
    ("breathe", 0, 0),
)
"""Everyone is there, and something was said: what follows has something to break."""


class Reader:
    """A client that keeps account, and the transport of its connection."""

    closed = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocked = False
        self._waiting = 0
        self.at: Position | None = None
        self.heard: list[Any] = []
        """The data of all messages since the client last started at a position it was told."""
        self.start = 0
        self.connect()

    def connect(self) -> None:
        """A new connection, after the one before was closed."""
        self.unblock_without_telling()
        self.connection = Connection(
            self, auth_timeout=1e6, ping_interval=1e6, ping_timeout=1e6, max_backlog=10**9
        )
        self.connection.sign_in(Identity(self.name, "user", int(FAR), None, ()))

    # --- the transport ---

    def write(self, frames: bytes) -> None:
        if self.blocked:
            self._waiting += len(frames)
            self.connection.fall_out()
        while frames:
            size, head = frames[1], 2
            if size == 126:
                size, head = int.from_bytes(frames[2:4]), 4
            self._receive(json.loads(frames[head : head + size]))
            frames = frames[head + size :]

    def deliver(self, frames: bytes) -> bool:
        if self._waiting:
            return False
        self.write(frames)
        return True

    def send(self, frames: bytes) -> int:
        assert not self._waiting, f"{self.name} is sent something before what waits for it"
        if self.blocked:
            raise BlockingIOError
        self.write(frames)
        return len(frames)

    def backlog(self) -> int:
        return self._waiting

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """Fallen out of the ring: the edge takes the connection out of its rooms."""
        assert (code, reason) == (1013, "slow_reader")
        asyncio.get_running_loop().call_soon(self._gone, self.connection)

    abort = close

    def _gone(self, connection: Connection) -> None:
        for room in list(connection.rooms.values()):
            room.leave(connection)
        connection.drained()

    def unblock_without_telling(self) -> None:
        self.blocked, self._waiting = False, 0

    def unblock(self) -> None:
        self.unblock_without_telling()
        self.connection.drained()

    # --- the client ---

    def _receive(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "room-reset":
            self.begin(Position(frame["epoch"], frame["offset"]))
            return
        assert self.at is not None, f"{self.name} got {frame} without having joined"
        assert self.at.offset + 1 == frame["offset"], f"{self.name} at {self.at} got {frame}"
        self.at = Position(frame.get("epoch", self.at.epoch), frame["offset"])
        self.heard.append(frame["data"])

    def before(self, much: int) -> Position | None:
        """A place that it has been at before."""
        return self.at and Position(self.at.epoch, max(self.start, self.at.offset - much))

    def begin(self, at: Position) -> None:
        self.at, self.heard, self.start = at, [], at.offset


class World:
    """One server's parts, a room, its readers, and what may befall them."""

    def __init__(self, services: Services, store: StoreProcess) -> None:
        self.s = services
        self.room = f"chat:{next(names)}"
        self.meta, self.stream = (f"{{r:{self.room}}}{kind}:{self.room}" for kind in "mh")
        self.redis = store.client
        self.readers = [Reader(f"r{n}") for n in range(READERS)]
        self.number = 0
        self.failed_over = False
        self.drops = 0
        on_message = services.listener.on_message

        def hear(channel: bytes, payload: bytes) -> None:
            if self.drops and b" p " in payload[:8]:
                self.drops -= 1
            else:
                on_message(channel, payload)

        services.listener.on_message = hear  # type: ignore[method-assign]
        self.restore: Callable[[], None] = lambda: setattr(services.listener, "on_message", on_message)

    async def do(self, what: str, n: int, much: int) -> None:
        """Let one thing happen."""
        one = self.readers[n]
        happenings: dict[str, Callable[[], Awaitable[None]]] = {
            "publish": lambda: self.publish(much),
            "join": lambda: self.join(one, None),
            "come back": lambda: self.join(one, one.at),
            "look back": lambda: self.join(one, one.before(much)),
            "lose": lambda: self.lose(much),
            "breathe": lambda: asyncio.sleep(0.01),
            "forget": self.forget,
        }
        if what in happenings:
            await happenings[what]()
        elif what == "leave":
            self.leave(one)
        elif what == "block":
            one.blocked = True
        elif what == "unblock":
            one.unblock()
        elif what == "deaf":
            self.drops += much
        elif what == "cut":
            self.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        elif what == "fail over":
            # another primary takes over and has lost nothing
            self.failed_over = True

    async def publish(self, times: int) -> None:
        for _ in range(times):
            self.number += 1
            await self.s.rooms.publish(
                self.room, str(self.number).encode(), request_id=f"n{self.number}", seen=self._turning()
            )

    def _turning(self) -> Position | None:
        """Another primary's first publication turns the epoch. There is one primary here, so it is told
        that more has been seen than it has, which makes it turn in the same way."""
        turns, self.failed_over = self.failed_over, False
        epoch, head = self.redis.hmget(self.meta, "e", "h")
        return Position(epoch, int(head) + 1) if turns and epoch else None

    async def join(self, one: Reader, since: Position | None) -> None:
        if not one.connection.is_open:
            one.connect()
        admission = await self.s.listener.admit(self.room, since)
        entered = self.s.listener.enter(one.connection, admission)
        if entered.recovered:
            assert since is not None
            one.heard = one.heard[: since.offset - one.start]
            one.at = since
        else:
            one.begin(Position(entered.epoch, entered.offset))

    def leave(self, one: Reader) -> None:
        room = one.connection.rooms.get(self.room)
        if room is not None:
            room.leave(one.connection)

    async def lose(self, lost: int) -> None:
        """Another primary takes over without the last writes: everything is as it was before them."""
        epoch, head, chain = self.redis.hmget(self.meta, "e", "h", "c")
        if epoch is None or int(head) <= lost:
            return
        kept = int(head) - lost
        links = [
            (epoch, int(head)),
            *((e, int(end)) for e, end in (link.split(":") for link in chain.split())),
        ]
        # the epoch that was current then: the oldest that reaches so far
        current = max(n for n, (_, end) in enumerate(links) if end >= kept)
        before = " ".join(f"{e}:{end}" for e, end in links[current + 1 :])
        entries = self.redis.xrange(self.stream)
        self.redis.delete(self.stream)
        for ident, fields in entries:
            if int(ident.split("-")[0]) <= kept:
                self.redis.xadd(self.stream, fields, id=ident)
        self.redis.hset(self.meta, mapping={"e": links[current][0], "h": kept, "c": before})
        self.failed_over = True

    async def forget(self) -> None:
        """The store loses the room."""
        self.redis.delete(self.meta, self.stream)

    async def end(self) -> None:
        """Let everything come to rest, and look."""
        self.drops = 0
        self.restore()
        for one in self.readers:
            one.unblock()
        room = self.s.hub.rooms.get(self.room)
        if room is None:
            return
        await self.publish(1)
        epoch, head = self.redis.hmget(self.meta, "e", "h")
        await eventually(
            lambda: room.state is State.LIVE and room.log.position == (epoch, int(head)) and not room.behind,
            "the room is live, and at the truth",
        )
        await eventually(
            lambda: all(self.readers[n].at.offset == int(head) for n in self._members()),  # type: ignore[union-attr]
            f"all are at {head}: {[r.at for r in self.readers]}",
        )
        history = [json.loads(fields["f"]) for _, fields in self.redis.xrange(self.stream)]
        surviving = {frame["offset"]: frame["data"] for frame in history}
        for n in self._members():
            one = self.readers[n]
            expected = [surviving[o] for o in range(one.start + 1, int(head) + 1) if o in surviving]
            assert expected == one.heard[len(one.heard) - len(expected) :]
            assert int(head) - one.start == len(one.heard)

    def _members(self) -> list[int]:
        return [
            n
            for n, one in enumerate(self.readers)
            if one.connection.is_open and self.room in one.connection.rooms
        ]


@pytest.mark.timeout(600)
def test_every_reader_gets_every_message_once(io_loop: IOLoop, valkey: StoreProcess) -> None:
    """Losses, cuts, failovers, trims, slow readers: +1 or a reset, and the surviving history in the end."""
    config = parse([f"--history-size={HISTORY}", f"--jwt-secret={SECRET}"], {})
    tasks: list[asyncio.Task[Any]] = []

    async def start() -> Services:
        services = build(config, redis_url=valkey.url, secret=SECRET, api_key="")
        parts = (services.store, services.leases, services.listener, services.watch, services.janitor)
        tasks.extend(asyncio.create_task(part.run()) for part in parts)
        await eventually(lambda: services.listener.bell.canary_age() < 2, "the canary is heard")
        return services

    services = io_loop.run_sync(start, timeout=20)

    @settings(
        max_examples=250,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(steps)
    def run(happenings: list[tuple[str, int, int]]) -> None:
        async def example() -> None:
            world = World(services, valkey)
            try:
                for step in (*BEGINNING, *happenings):
                    await world.do(*step)
                await world.end()
            finally:
                world.restore()
                for one in world.readers:
                    world.leave(one)
            assert not any(task.done() for task in tasks), [t for t in tasks if t.done()]

        io_loop.run_sync(example, timeout=40)

    try:
        run()
    except Unavailable as error:
        raise AssertionError("the store was never away") from error
