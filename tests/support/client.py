"""A raw client on another library than the server's, which checks what it is told.

Each frame of a room must be the next one; a client that saw otherwise says so in `assert_contiguous`.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterable
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support import spoken
from tests.support.servers import ServerProcess
from tests.support.tokens import token as make_token

Frame = dict[str, Any]

JOINED = {"event-joined", "room-joined", "queue-joined", "seats-joined"}
LEFT = {"event-left": "event", "queue-left": "queue", "seats-left": "seats"}
POSITIONS = {"published", "room-info"}
"""Frames with a room that are no message of it."""


class At(NamedTuple):
    """A position in a room."""

    epoch: str
    offset: int


class Client:
    """One connection. Make it with `connect`; close it with `close`, or `drop` for a lost network."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        """All that came, in order."""
        self.connected: Frame = {}
        self.positions: dict[str, At] = {}
        """Where the client is in each room that it is in."""
        self.placed: list[tuple[str, At, Frame]] = []
        """The messages of rooms, each with its room and its position there."""
        self.boards: dict[str, dict[str, str]] = {}
        """Event -> seat -> state, as far as it is not available, folded from snapshots and deltas."""
        self.violations: list[str] = []
        self._unread: list[Frame] = []
        self._news = asyncio.Condition()
        self._ids = itertools.count(1)
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(
        cls,
        server: ServerProcess | str,
        *,
        user: str | int | None = "1",
        via: str = "frame",
        token: str | None = None,
        resume: dict[str, Any] | None = None,
        replaces: str | None = None,
        wait: bool = True,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        origin: str | None = None,
        max_queue: int | None = None,
        before: "Client | None" = None,
        local: str | None = None,
        **claims: Any,
    ) -> Self:
        """Connect and sign in by ``query``, ``header`` or first ``frame`` (``none``: not at all).

        ``before`` is the connection that this one resumes, with what it knew of seats; ``local`` the address
        that it comes from. With ``wait`` it returns when ``connected`` has come; without it, at once.
        """
        url = server if isinstance(server, str) else server.ws_url
        token = make_token(user, **claims) if token is None else token
        query, headers = dict(query or {}), dict(headers or {})
        if via == "query":
            query["token"] = token
        if via == "header":
            headers["Authorization"] = f"Bearer {token}"
        if via in {"query", "header"}:
            if resume is not None:
                query["resume"] = json.dumps(resume)
            if replaces is not None:
                query["replaces"] = replaces
        socket = await connect(
            f"{url}?{urlencode(query)}" if query else url,
            additional_headers=headers, origin=origin, max_size=None, max_queue=max_queue,  # type: ignore[arg-type]
            ping_interval=None, compression=None, close_timeout=1, proxy=None,
            local_addr=None if local is None else (local, 0),
        )  # fmt: skip
        client = cls(socket)
        if before is not None:
            resume = before.resume()
            client.boards = {event: dict(board) for event, board in before.boards.items()}
        try:
            if via == "frame":
                extra = {"resume": resume, "replaces": replaces}
                await client.send("auth", token=token, **{k: v for k, v in extra.items() if v is not None})
            if wait:
                client.connected = await client.expect("connected")
        except BaseException:
            # nobody else knows of it
            socket.transport.abort()
            raise
        return client

    # --- saying ---

    async def send(self, type: str, **fields: Any) -> None:
        """Send a command, without waiting for anything."""
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def call(self, type: str, timeout: float = 10.0, **fields: Any) -> Frame:
        """Send a command with an id and return its answer, be it an error."""
        number = next(self._ids)
        await self.send(type, id=number, **fields)
        answer = await self._take(lambda frame: frame.get("id") == number, f"the answer to {type}", timeout)
        spoken.asked({"type": type, "id": number, **fields}, answer)
        return answer

    async def do(self, type: str, **fields: Any) -> Frame:
        """As `call`, and the answer must be no error."""
        answer = await self.call(type, **fields)
        assert answer["type"] != "error", answer
        return answer

    # --- hearing ---

    async def expect(self, type: str, timeout: float = 10.0, **match: Any) -> Frame:
        """The next frame of this type, with these fields, that was not yet expected; others are left."""
        return await self._take(
            lambda frame: frame.get("type") == type and match.items() <= frame.items(),
            f"{type} {match or ''}",
            timeout,
        )

    async def next(self, timeout: float = 10.0) -> Frame:
        """The next frame that was not yet expected, whatever it is."""
        return await self._take(lambda frame: True, "anything", timeout)

    async def expect_messages(self, room: str, count: int, timeout: float = 10.0) -> list[Any]:
        """The data of the next ``count`` messages of a room."""
        return [(await self.expect("message", timeout, room=room))["data"] for _ in range(count)]

    def messages(self, room: str) -> list[Any]:
        """The data of all messages of a room that have come so far, in order."""
        return [f["data"] for f in self.frames if f["type"] == "message" and f["room"] == room]

    async def _take(self, wanted: Any, what: str, timeout: float) -> Frame:
        async with self._news:
            try:
                async with asyncio.timeout(timeout):
                    while True:
                        for at, frame in enumerate(self._unread):
                            if wanted(frame):
                                return self._unread.pop(at)
                        assert not self._reader.done(), (
                            f"closed {self._how()} before {what}; heard: {self._unread}"
                        )
                        await self._news.wait()
            except TimeoutError:
                raise AssertionError(
                    f"waited {timeout:g} s in vain for {what}; heard: {self._unread}"
                ) from None

    async def closed(self, timeout: float = 10.0) -> tuple[int, str]:
        """Wait until the other side closes: code and reason."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._reader)
        except TimeoutError:
            raise AssertionError(f"waited {timeout:g} s in vain for the end; heard: {self._unread}") from None
        return self._how()

    def _how(self) -> tuple[int, str]:
        return self.socket.close_code or 1006, self.socket.close_reason or ""

    @property
    def is_open(self) -> bool:
        return not self._reader.done()

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                frame = json.loads(text)
                spoken.heard(frame)
                self.frames.append(frame)
                self._unread.append(frame)
                self._follow(frame)
                async with self._news:
                    self._news.notify_all()
        except ConnectionClosed:
            pass
        finally:
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._news:
                self._news.notify_all()

        self._waking = asyncio.ensure_future(notify())

    # --- going ---

    async def close(self) -> None:
        """Say goodbye."""
        await self.socket.close()
        await self._reader

    async def drop(self) -> None:
        """Lose the network: no goodbye."""
        self.socket.transport.abort()
        await self._reader

    def pause(self) -> None:
        """Read no more: a slow, then a stuck reader, which answers no ping either."""
        self.socket.transport.pause_reading()

    def unpause(self) -> None:
        self.socket.transport.resume_reading()

    # --- keeping account ---

    def resume(self, *rooms: str) -> dict[str, dict[str, Any]]:
        """What a client sends to come back: its position in these, or in all its rooms."""
        return {room: self.positions[room]._asdict() for room in rooms or self.positions}

    def assert_contiguous(self) -> None:
        """The offsets of each room have risen by exactly one, but where the server said otherwise."""
        assert self.violations == []

    def _follow(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "connected":
            self._stand(frame["userRoom"])
        elif kind == "session-restored":
            self._stand_all(frame["rooms"])
        elif kind in JOINED or kind in {"room-reset", "seats-snapshot"}:
            self._stand(frame)
            if "snapshot" in frame:
                self._look(frame)
        elif kind in LEFT:
            self.positions.pop(f"{LEFT[kind]}:{frame['eventId']}", None)
        elif kind == "room-left":
            self.positions.pop(frame["room"], None)
        elif "room" in frame and "offset" in frame and kind not in POSITIONS:
            self._advance(frame)
            if kind == "seats-updated":
                self._fold(frame)

    def _look(self, frame: Frame) -> None:
        """Take over a snapshot."""
        seats = {state: frame["snapshot"][state] for state in ("held", "sold")}
        self.boards[frame["eventId"]] = {seat: state for state, ids in seats.items() for seat in ids}

    def _fold(self, frame: Frame) -> None:
        """Apply what has changed since."""
        board = self.boards.setdefault(frame["eventId"], {})
        for seat, state in frame["seats"].items():
            if state == "available":
                board.pop(seat, None)
            else:
                board[seat] = state

    def _stand_all(self, rooms: Iterable[Frame]) -> None:
        for room in rooms:
            if "error" not in room:
                self._stand(room)

    def _stand(self, at: Frame) -> None:
        """A position that the server told; what was missed is still to come."""
        missed = at["missed"] if at.get("recovered") else 0
        self.positions[at["room"]] = At(at["epoch"], at["offset"] - missed)

    def _advance(self, frame: Frame) -> None:
        room, offset = frame["room"], frame["offset"]
        at = self.positions.get(room)
        if at is None:
            self.violations.append(f"{room}: {offset} came without having joined")
            return
        if offset != at.offset + 1:
            self.violations.append(f"{room}: {offset} came after {at.offset}")
        self.positions[room] = At(frame.get("epoch", at.epoch), offset)
        self.placed.append((room, self.positions[room], frame))


async def close_all(clients: Iterable[Client]) -> None:
    """End what a test left open."""
    for client in clients:
        with contextlib.suppress(ConnectionClosed, OSError):
            await client.drop()
