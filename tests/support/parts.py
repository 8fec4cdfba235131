"""The parts of several servers in one process, on one real store, and clients that keep account.

Much faster than processes: a property test runs thousands of steps. What the edge does (frames in, frames
out, the end of a socket) is done here in its place; everything else is the server's own.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from tornado.ioloop import IOLoop

from session import keys
from session.config import Config, parse
from session.connection import Connection
from session.protocol import Since, decode
from session.services import Services, build
from session.store import Unavailable
from tests.support.client import At, Frame
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET, token
from tests.support.waiting import eventually

LEFT = {"queue-left": "queue", "seats-left": "seats"}
JOINED = {"queue-joined", "seats-joined"}


class Server:
    """One server's parts, running."""

    def __init__(self, config: Config, url: str) -> None:
        self.services: Services = build(config, redis_url=url, secret=SECRET, api_key="")
        self.tabs: set[Tab] = set()
        self.is_up = True
        self._calls: set[asyncio.Task[Any]] = set()
        s = self.services
        parts = (
            s.store, s.leases, s.listener, s.watch, s.presence, s.janitor, s.ticker, s.lobby, s.boards, s.hub,
            s.recorder,
        )  # fmt: skip
        self._tasks = [asyncio.create_task(part.run()) for part in parts]

    @classmethod
    async def start(cls, config: Config, url: str) -> "Server":
        """Start one and wait until it may write."""
        server = cls(config, url)
        await eventually(lambda: server.services.leases.is_valid, "the lease is held")
        # as if it had run for a while: it may say who is dead
        server.services.leases._whole_since = float("-inf")
        return server

    async def do(self, work: Any) -> Any:
        """Do something on this server; None where it crashes meanwhile."""
        task = asyncio.ensure_future(work)
        self._calls.add(task)
        try:
            return await task
        except (asyncio.CancelledError, Unavailable):
            if self.is_up:
                raise
            return None
        finally:
            self._calls.discard(task)

    def crash(self) -> None:
        """Like ``kill -9``: no last words, to nobody."""
        self.is_up = False
        for tab in list(self.tabs):
            tab.lost()
        for task in (*self._calls, *self._tasks):
            task.cancel()

    async def stop(self) -> None:
        """Leave nothing running."""
        self.is_up = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """None of its parts has ended."""
        ended = [task for task in self._tasks if task.done()]
        assert not ended or not self.is_up, ended


class Cluster:
    """Several servers on one store."""

    def __init__(self, config: Config, url: str, client: redis.Redis) -> None:
        self._config = config
        self._url = url
        self.redis = client
        self.servers: list[Server] = []
        self._crashed: list[Server] = []

    async def start(self, count: int) -> None:
        self.servers += [await Server.start(self._config, self._url) for _ in range(count)]

    async def crash(self, n: int) -> str:
        """One server dies, another is started in its place, and the time of the lease goes by; its name."""
        dead = self.servers[n]
        instance = dead.services.leases.instance
        dead.crash()
        self._crashed.append(dead)
        self.servers[n] = await Server.start(self._config, self._url)
        self.redis.zadd(keys.LEASES, {instance: int(time.time() * 1000) - 60_000})
        for server in self.servers:
            await server.services.leases.renew()
        return instance

    def server(self, n: int) -> Server:
        """One of them, whatever the number."""
        return self.servers[n % len(self.servers)]

    def now_ms(self) -> int:
        """The store's time."""
        seconds, micros = self.redis.time()  # type: ignore[misc]
        return int(seconds) * 1000 + int(micros) // 1000

    def is_buried(self, instance: str) -> bool:
        """Whether the others have found a dead server and cleared up after it."""
        return self.redis.zscore(keys.LEASES, instance) is None

    async def stop(self) -> None:
        for server in (*self.servers, *self._crashed):
            await server.stop()


@contextmanager
def running(io_loop: IOLoop, store: StoreProcess, count: int) -> Iterator[Cluster]:
    """The parts of so many servers, with options as they are by default."""
    made = Cluster(parse([f"--jwt-secret={SECRET}"], {}), store.url, store.client)
    io_loop.run_sync(lambda: made.start(count), timeout=60)
    yield made
    io_loop.run_sync(made.stop, timeout=60)


class Tab:
    """One connection: the transport of the server's side, and a client that keeps account."""

    _ids = itertools.count(1)

    def __init__(self, server: Server, user_id: str) -> None:
        self.server = server
        self.user_id = user_id
        self.is_open = True
        self.positions: dict[str, At] = {}
        self.boards: dict[str, dict[str, str]] = {}
        """Seats that are not available, in each room of seats that it reads."""
        self.socket_id = ""
        self.heard: list[Frame] = []
        self.problems: list[str] = []
        """What it was told that it must not be told: raised here, it would be the server's trouble."""
        self.on_frame: Callable[[Tab, Frame], None] = lambda tab, frame: None
        self.on_board: Callable[[str, int, dict[str, str]], None] = lambda room, offset, board: None
        self._turn = asyncio.Lock()
        self._answers: dict[int, Frame] = {}
        self.connection = Connection(
            self, auth_timeout=1e6, ping_interval=1e6, ping_timeout=1e6, max_backlog=10**9
        )
        server.tabs.add(self)
        server.services.hub.take_in(self.connection)

    # --- what a client does ---

    async def sign_in(self, before: "Tab | None" = None, *, replaces: bool = False, **claims: Any) -> None:
        """Be let in, by a token with these claims; ``before`` is the connection that it goes on from."""
        resume = None
        if before is not None:
            resume = {room: Since(*at) for room, at in before.positions.items()}
            self.boards = {room: dict(board) for room, board in before.boards.items()}
        old = before.socket_id if before is not None and replaces else ""
        entrance = self.server.services.entrance
        async with self._turn:
            await self.server.do(
                entrance.sign_in(self.connection, token(self.user_id, **claims), resume, old)
            )

    async def call(self, type: str, **fields: Any) -> Frame | None:
        """Give a command and wait for its answer; None where the connection ends before."""
        number = next(self._ids)
        command = decode(json.dumps({"type": type, "id": number, **fields}))
        async with self._turn:
            if self.is_open:
                await self.server.do(self.server.services.commands.run(self.connection, command))
        answer = self._answers.pop(number, None)
        assert answer is not None or not self.is_open, f"{type} had no answer"
        return answer

    async def drop(self) -> None:
        """The network is lost, and the server sees it."""
        if self.server.is_up and self.is_open:
            self.lost()
            self._gone()

    def lost(self) -> None:
        """Nothing is heard any more."""
        self.is_open = False
        self.server.tabs.discard(self)

    # --- the transport ---

    @property
    def closed(self) -> bool:
        return not self.is_open

    def write(self, frames: bytes) -> None:
        while frames and self.is_open:
            size, head = frames[1], 2
            assert size != 127, "no frame here is so long"
            if size == 126:
                size, head = int.from_bytes(frames[2:4]), 4
            self._hear(json.loads(frames[head : head + size]))
            frames = frames[head + size :]

    def deliver(self, frames: bytes) -> bool:
        self.write(frames)
        return True

    def send(self, frames: bytes) -> int:
        self.write(frames)
        return len(frames)

    def backlog(self) -> int:
        return 0

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        if self.is_open:
            self.lost()
            asyncio.get_running_loop().call_soon(self._gone)

    abort = close

    def _gone(self) -> None:
        """What the edge does when a socket has closed."""
        services, connection = self.server.services, self.connection
        connection.close_code = connection.close_code or 1006
        services.hub.remove(connection)
        if connection.socket_id:
            services.janitor.detach_later(connection.user_id, connection.socket_id)
        connection.drained()

    # --- what a client keeps account of ---

    def _hear(self, frame: Frame) -> None:
        kind = frame["type"]
        self.heard.append(frame)
        if kind == "connected":
            self.socket_id = frame["socketId"]
            self._stand(frame["userRoom"])
        elif kind == "session-restored":
            self._restored(frame["rooms"])
        elif kind in JOINED or kind in {"room-reset", "seats-snapshot"}:
            self._stand(frame)
        elif kind in LEFT:
            self._left(f"{LEFT[kind]}:{frame['eventId']}")
        elif "room" in frame and "offset" in frame:
            self._advance(frame)
        if "snapshot" in frame:
            self._install(frame)
        self.on_frame(self, frame)
        if "id" in frame:
            self._answers[frame["id"]] = frame

    def _restored(self, rooms: Iterable[Frame]) -> None:
        named = set()
        for room in rooms:
            if "error" not in room:
                self._stand(room)
                named.add(room["room"])
        for room_name in self.boards.keys() - named:
            del self.boards[room_name]

    def _stand(self, at: Frame) -> None:
        missed = at["missed"] if at.get("recovered") else 0
        self.positions[at["room"]] = At(at["epoch"], at["offset"] - missed)

    def _left(self, room: str) -> None:
        self.positions.pop(room, None)
        self.boards.pop(room, None)

    def _advance(self, frame: Frame) -> None:
        room, offset = frame["room"], frame["offset"]
        at = self.positions.get(room)
        if at is None:
            self.problems.append(f"{self}: {frame} came without having joined")
            return
        if offset != at.offset + 1:
            self.problems.append(f"{self}: {frame} came at {at}")
        self.positions[room] = At(frame.get("epoch", at.epoch), offset)
        if frame["type"] == "seats-updated":
            board = self.boards[room]
            for seat, state in frame["seats"].items():
                if board.pop(seat, "available") == state:
                    self.problems.append(f"{self}: {frame} tells nothing new of {seat}")
                if state != "available":
                    board[seat] = state
            self.on_board(room, offset, board)

    def _install(self, frame: Frame) -> None:
        snapshot = frame["snapshot"]
        board = {seat: state for state in ("held", "sold") for seat in snapshot[state]}
        self.boards[frame["room"]] = board
        self.on_board(frame["room"], frame["offset"], board)

    def __repr__(self) -> str:
        return f"<{self.user_id} {self.socket_id[:5]}>"
