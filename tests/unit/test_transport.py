"""Bytes to one client, down to the socket."""

import asyncio
import gc
import socket
from typing import Any

from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler, _WebSocketParams

from handlers.framing import Framing
from handlers.transport import SocketTransport
from session.config import parse
from session.connection import Connection
from session.hub import Room
from session.metrics import Metrics
from session.protocol import Close


async def test_nobody_waits_for_who_has_gone() -> None:
    """A client has gone while its command runs, so that nobody knows: it is no slow reader, to which a room
    would come back again and again at once, for as long as the command takes."""
    ours, theirs = socket.socketpair()
    transport = SocketTransport(WebSocketHandler.__new__(WebSocketHandler), IOStream(ours))
    transport.connection = connection = Connection(
        transport, auth_timeout=99, ping_interval=99, ping_timeout=99, max_backlog=1000
    )
    room = Room("event:1", parse([], {}), Metrics())
    room.enter(connection, 0)
    theirs.close()
    for _ in range(3):
        room.append(b"frame", b"")
        room.pump()
    at_rest = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(at_rest.set_result, None)
    await at_rest

    assert [connection] == list(room.current)
    assert not room.lagging
    assert connection.is_idle
    room.opened.cancel()


async def test_a_mistake_of_who_has_gone_is_no_mistake_of_ours() -> None:
    """A broken frame, and a reset behind it: there is nobody to wait for, and no task fails of it."""
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
    ours, theirs = socket.socketpair()
    framing = Framing(WebSocketHandler.__new__(WebSocketHandler), False, _WebSocketParams())
    framing.stream = IOStream(ours)
    theirs.close()
    # what closes it is our own last word, which finds nobody
    framing._fail(Close.PROTOCOL_ERROR, "not masked")
    assert framing.stream.closed()
    await asyncio.sleep(0)
    framing._abort()
    del framing
    gc.collect()

    assert [] == failed
