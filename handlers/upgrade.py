"""A WebSocket's request in the form that every browser and balancer gives it, answered at once.

Tornado reads a request in a dozen steps with as many objects, for any method, path and body: half of what a
sign-in costs. Here a head that is nothing but the request for a WebSocket, and is granted, is read by one
expression and answered by one write. Whatever is unusual in it, and whatever is to be refused, is Tornado's:
until the head is known to be granted it stays in the kernel, and so do the frames behind it.
"""

import asyncio
import re
import socket
import time
from typing import Any

from tornado.escape import parse_qs_bytes
from tornado.iostream import IOStream
from tornado.web import Application
from tornado.websocket import WebSocketProtocol13

from handlers.socket import KEY, Socket

HEAD = re.compile(
    rb"GET /ws(?:\?([!-~]*))? HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~]*\r\n)+)\r\n"
)
"""RFC 9112, 2.1, of which only what is usual: ASCII, no folded line, no line without CR."""
FIELD = re.compile(r"([^:\r]+):([^\r]*)\r\n")
HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
MOST_ARGUMENTS = 100
OF_A_BODY = re.compile(rb"\r\n(?:content-|expect|te|trailer|transfer-encoding)", re.IGNORECASE)
"""Fields that begin so belong to a body, which such a request does not have."""
MORE_FOLLOWS = getattr(socket, "MSG_MORE", 0)
"""Linux: the kernel keeps it back for what is sent next, for 200 ms at most."""
GRANTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


class Headers:
    """The fields of a request, each there once at most."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field; names have no case."""
        return self._fields.get(name.lower(), default)


class Request:
    """What a handler and the access log want to know of a request; the names are Tornado's."""

    __slots__ = ("_began", "headers", "query_arguments", "remote_ip")
    method, path, version = "GET", "/ws", "HTTP/1.1"

    def __init__(self, headers: Headers, query: bytes, remote_ip: str) -> None:
        self._began = time.monotonic()
        self.headers = headers
        self.query_arguments = parse_qs_bytes(query, keep_blank_values=True)
        self.remote_ip = remote_ip

    def request_time(self) -> float:
        """Seconds since it was read."""
        return time.monotonic() - self._began


def parse(seen: bytes, remote_ip: str) -> tuple[Request, int] | None:
    """The request at the beginning of what has come, and how many bytes its head has; None where it is not
    complete, or not as requests for WebSockets are."""
    head = HEAD.match(seen)
    if head is None:
        return None
    query = head[1] or b""
    pairs = FIELD.findall(head[2].decode("ascii"))
    fields = {name.lower(): value.strip("\t ") for name, value in pairs}
    if len(fields) < len(pairs) or query.count(b"&") >= MOST_ARGUMENTS or not _is_usual(fields):
        return None
    if OF_A_BODY.search(seen, 0, head.end()):
        return None
    return Request(Headers(fields), query, remote_ip), head.end()


def _is_usual(fields: dict[str, str]) -> bool:
    """Whether it asks for a WebSocket and nothing else (RFC 6455, 4.2.1)."""
    return (
        fields.get("upgrade", "").lower() == "websocket"
        and "upgrade" in [word.strip() for word in fields.get("connection", "").lower().split(",")]
        and fields.get("sec-websocket-version") == "13"
        and KEY.fullmatch(fields.get("sec-websocket-key", "")) is not None
        and HOST.fullmatch(fields.get("host", "")) is not None
    )


class Upgrades:
    """Grants what is usual."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, stream: IOStream, address: Any, seen: bytes) -> bool:
        """Make a line a WebSocket whose peer has sent what is ``seen``, and not read yet.

        False where it is not to be had so: nothing was read, and nothing was answered.
        """
        found = parse(seen, address[0] if isinstance(address, tuple) else "0.0.0.0")  # noqa: S104 - as Tornado's
        if found is None:
            return False
        request, size = found
        handler = Socket.for_upgrade(self._application, request)
        if not handler.may_be_upgraded():
            return False
        key = request.headers.get("sec-websocket-key")
        answer = GRANTED % WebSocketProtocol13.compute_accept_value(key).encode()
        token = handler.early_token()
        try:
            stream.socket.recv(size)
            # a line on which nothing was sent yet takes it whole, or is none any more
            # who brings a token is told right behind it who it is: one packet, and one wake-up of the peer
            is_sent = stream.socket.send(answer, MORE_FOLLOWS if token else 0) == len(answer)
        except OSError:
            is_sent = False
        if is_sent:
            self._application.log_request(handler)
            task = asyncio.get_running_loop().create_task(handler.let_in(stream, token))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            stream.close()
        return True
