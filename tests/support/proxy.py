"""A TCP proxy on loopback whose lines can be cut, stalled, slowed and mended: the network, at its worst.

It runs in a thread with a loop of its own, so a test may block while bytes flow.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from tests.support.ports import free_port

CHUNK = 65536
Passage = Callable[[bytes], Awaitable[bytes]]
"""What becomes of a piece that goes through."""


class Proxy:
    """Forwards ``127.0.0.1:port`` to a target port."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._lines: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._near: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribers: set[asyncio.StreamWriter] = set()
        """Near ends of lines over which somebody has subscribed."""
        self._accepts = True
        self._delay = 0.0
        self._deafens = False
        self.accepted = 0
        """Lines that were ever let through."""
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        """Of lines that are made now, and of those made since `strand`."""
        self._flows.set()
        self._stranded: list[asyncio.Event] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", self.port))

    def cut(self) -> None:
        """Reset every line, and every new one, until `mend`."""
        self._soon(self._cut, False)

    def blink(self) -> None:
        """Reset every line; new ones work."""
        self._soon(self._cut, True)

    def stall(self) -> None:
        """Let nothing through in either direction, and say nothing of it, until `mend`."""
        self._soon(self._flows.clear)

    def strand(self) -> None:
        """Let nothing more through the lines that stand, and new ones flow, until `mend`: what was on its way
        arrives after what is said over another line."""

        def _strand() -> None:
            self._flows.clear()
            self._stranded.append(self._flows)
            self._flows = asyncio.Event()
            self._flows.set()

        self._soon(_strand)

    def slow(self, seconds: float) -> None:
        """Hold every answer back for so long, until `mend`."""
        self._delay = seconds

    def deafen(self) -> None:
        """Swallow all that a store says to subscribers, until `mend`; every other line works."""
        self._deafens = True

    def point(self, target_port: int) -> None:
        """Lead new lines to another target; those that stand stay where they are."""
        self._target_port = target_port

    def mend(self) -> None:
        """Accept again, and let through what was held back."""

        def _mend() -> None:
            self._accepts, self._delay, self._deafens = True, 0.0, False
            for flows in (self._flows, *self._stranded):
                flows.set()
            self._stranded.clear()

        self._soon(_mend)

    def stop(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        self._cut(False)
        # a line that was just being accepted shows up only after a turn of the loop
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1)
        for near in self._near:
            near.transport.abort()
        # aborted transports let go of their sockets in the next turn
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    def _soon(self, what: Callable[..., Any], *args: Any) -> None:
        done = threading.Event()

        def _run() -> None:
            try:
                what(*args)
            finally:
                done.set()

        self._loop.call_soon_threadsafe(_run)
        assert done.wait(5)

    def _cut(self, accepts: bool) -> None:
        self._accepts = accepts
        for line in self._lines:
            for end in line:
                _reset(end)
        self._lines.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # no coroutine: one that is cancelled before its first line would never close what it was given
        self._near.add(writer)
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._forward(reader, writer)
        finally:
            writer.close()
            self._near.discard(writer)
            self._subscribers.discard(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._accepts:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            _reset(writer)
            return
        line, flows = (writer, far_writer), self._flows
        self.accepted += 1
        self._lines.add(line)
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, flows, lambda data: self._asked(writer, data)),
                self._pump(far_reader, writer, flows, lambda data: self._answered(writer, data)),
            )
        finally:
            self._lines.discard(line)
            far_writer.close()

    async def _asked(self, near: asyncio.StreamWriter, data: bytes) -> bytes:
        if b"SUBSCRIBE" in data:
            self._subscribers.add(near)
        return data

    async def _answered(self, near: asyncio.StreamWriter, data: bytes) -> bytes:
        await asyncio.sleep(self._delay)
        return b"" if self._deafens and near in self._subscribers else data

    @staticmethod
    async def _pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event, through: Passage
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await flows.wait()
                writer.write(await through(data))
                await writer.drain()
            await flows.wait()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a line with RST instead of a goodbye."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
