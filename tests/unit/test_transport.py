"""Bytes to one client, down to the socket."""

import asyncio
import socket

from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler

from handlers.transport import SocketTransport
from session.config import parse
from session.connection import Connection
from session.hub import Room
from session.metrics import Metrics


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
