"""The WebSocket: origin, auth deadline, decode, rate limit, send, close. No rule of the sale is here."""

import logging
import re
from typing import Any

from msgspec import UNSET
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, _WebSocketParams

from handlers.allowance import Allowance
from handlers.base import Edge
from handlers.doorway import Doorway
from handlers.framing import Framing
from handlers.transport import SocketTransport
from session.connection import SLOW_READER, Connection
from session.protocol import REFUSALS, Auth, BadCommand, Close, Code, Refused, Since, decode, decode_resume
from session.store import Unavailable

log = logging.getLogger(__name__)

KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
"""16 bytes in base64 (RFC 6455, 4.1)."""
PATIENCE = 20
"""Broken or too many frames that are answered with an error before the connection is closed with 1008;
one is forgiven a second."""
COUNTED_CODES = frozenset({*map(int, Close), 1001, 1005, 1006})
"""Close codes that are counted each by itself; a client may say any of thousands, which are one label."""


class Socket(Edge, WebSocketHandler):
    """One client's WebSocket."""

    connection: Connection

    # --- before the upgrade ---

    def prepare(self) -> None:
        """A server that is going away takes nobody in."""
        if self.services.hub.draining:
            self.set_header("Retry-After", "1")
            raise HTTPError(503, "this server is going away")

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Tornado's handshake, which would take any key, and HTTP/1.0."""
        if not KEY.fullmatch(self.request.headers.get("Sec-WebSocket-Key", "")):
            raise HTTPError(400, "a WebSocket is opened here: Sec-WebSocket-Key")
        if self.request.version != "HTTP/1.1":
            raise HTTPError(400, "a WebSocket is opened by HTTP/1.1")
        await super().get(*args, **kwargs)

    def check_origin(self, origin: str) -> bool:
        """Called by Tornado for foreign origins only: same-origin requests never come here."""
        allowed = self.services.config.allowed_origins
        return "*" in allowed or origin.lower().rstrip("/") in {o.lower().rstrip("/") for o in allowed}

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """RFC 6455 with our own framing; pings are ours too, because Tornado's close with 1000."""
        if self.request.headers.get("Sec-WebSocket-Version") != "13":
            return None
        most = self.services.config.max_message_bytes
        return Framing(self, False, _WebSocketParams(max_message_size=most))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Tornado's would log the query, where a token may stand."""
        if not isinstance(value, HTTPError):
            log.error("an upgrade failed", exc_info=(typ, value, tb))

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """A token that is no text is an invalid one; everything else in the query must be text."""
        try:
            return value.decode()
        except UnicodeDecodeError:
            if name == "token":
                return value.decode(errors="replace")
            raise BadCommand(Code.BAD_MESSAGE, f"{name}: is not UTF-8") from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A refused upgrade is a short text."""
        self.finish(f"{status_code} {self._reason}\n")

    # --- the life of the socket ---

    async def open(self, *args: str, **kwargs: str) -> None:
        """Let the client in by query or header, or wait for its first frame."""
        assert isinstance(self.ws_connection, Framing)  # noqa: S101 - made by get_websocket_protocol
        if self.ws_connection.stream.closed():
            return  # the peer has gone while it was let in
        config, hub = self.services.config, self.services.hub
        doorway: Doorway = self.settings["doorway"]
        self._address = doorway.address_of(self.request)
        self.set_nodelay(True)
        self._allowance = Allowance(config.message_rate, config.message_burst)
        self._patience = Allowance(1.0, PATIENCE)
        transport = SocketTransport(self, self.ws_connection.stream)
        self.connection = transport.connection = connection = Connection(
            transport,
            auth_timeout=config.auth_timeout,
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            max_backlog=config.max_buffer_bytes,
        )
        hub.sockets.add(connection)
        try:
            if not doorway.enter(self._address, len(hub.sockets), transport.descriptor):
                full = Refused(Code.UNAVAILABLE, "this server is full", {"outcome": "none"})
                self.services.entrance.turn_away(connection, full)
                return
            token = self._early_token()
            resume = self._early_resume() if token else None
            replaces = self.get_query_argument("replaces", "")
            # neither is looked at again, and they are a seventh of what an idle connection weighs
            del self.request, self._headers
            if token:
                connection.busy = True
                await self._sign_in(token, resume, replaces)
        except BadCommand as bad:
            connection.send(bad.event())
            connection.close(Close.POLICY, bad.code.value)
        except Exception:
            log.exception("a connection could not be let in")
            self._crashed()
        finally:
            connection.done()

    def _early_token(self) -> str:
        """A token that came with the request: in the query, else in the header."""
        token = self.get_query_argument("token", "") if self.services.config.query_token else ""
        if token:
            return token
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        return credentials.strip() if scheme.lower() == "bearer" else ""

    def _early_resume(self) -> dict[str, Since] | None:
        text = self.get_query_argument("resume", None)
        return None if text is None else decode_resume(text)

    async def _sign_in(
        self, token: str, resume: dict[str, Since] | None, replaces: str, cid: Any = UNSET
    ) -> None:
        await self.services.entrance.sign_in(self.connection, token, resume, replaces, cid)
        self._leave_doorway()

    def _leave_doorway(self) -> None:
        if self._address:
            self.settings["doorway"].leave(self._address)
            self._address = ""

    async def on_message(self, message: str | bytes) -> None:
        """One frame: one command, one answer; the next is read when it is done."""
        connection = self.connection
        if not connection.is_open:
            return
        if isinstance(message, bytes):
            connection.close(Close.UNSUPPORTED, "binary")
            return
        command_id: Any = UNSET
        connection.busy = True
        try:
            command = decode(message)
            command_id = _id(command.id)
            if connection.identity is None:
                await self._first(command)
                return
            wait = self._allowance.wait_seconds()
            if wait:
                self._too_fast(wait, command.id)
                return
            await self.services.commands.run(connection, command)
        except BadCommand as bad:
            self._bad(bad)
        except Exception:
            log.exception("a command failed")
            self._crashed(command_id)
        finally:
            connection.done()

    async def _first(self, command: Any) -> None:
        if not isinstance(command, Auth):
            self.services.entrance.refuse(
                self.connection, Refused(Code.TOKEN_REQUIRED, "the first frame must be auth"), _id(command.id)
            )
            return
        await self._sign_in(command.token, command.resume, command.replaces or "", _id(command.id))

    def _bad(self, bad: BadCommand) -> None:
        if self.connection.identity is None and bad.command_type != "auth":
            self.services.entrance.refuse(
                self.connection, Refused(Code.TOKEN_REQUIRED, "the first frame must be auth"), bad.command_id
            )
            return
        self.connection.send(bad.event(bad.command_id))
        self._lose_patience(bad.code)

    def _too_fast(self, wait: float, command_id: Any) -> None:
        details = {"retryAfterMs": int(wait * 1000) + 1}
        self.connection.send(Refused(Code.RATE_LIMITED, "too many commands", details).event(_id(command_id)))
        self._lose_patience(Code.RATE_LIMITED)

    def _lose_patience(self, code: Code) -> None:
        if self._patience.wait_seconds():
            self.connection.close(Close.POLICY, code.value)

    def _crashed(self, command_id: Any = UNSET) -> None:
        """A mistake of ours: say that the outcome is unknown, and keep the line."""
        self.connection.send(Unavailable("unknown").event(command_id))
        if self.connection.identity is None:
            self.connection.close(Close.TRY_LATER, Code.UNAVAILABLE.value)

    def on_bad_text(self) -> None:
        """The framing found a text frame that is not UTF-8."""
        self.connection.close(Close.NOT_UTF8, "not_utf8")

    def on_pong(self, data: bytes) -> None:
        """The peer is there."""
        seconds = self.connection.ponged()
        if seconds is not None:
            self.services.metrics.ping_seconds.observe(seconds)

    def on_close(self) -> None:
        """The socket has closed, by whomever."""
        connection = getattr(self, "connection", None)
        if connection is None:
            return
        if connection.close_code is None:
            connection.close_code = self.close_code or 1006
        counted = str(connection.close_code) if connection.close_code in COUNTED_CODES else "other"
        self.services.metrics.closed.labels(counted).inc()
        if connection.close_reason in REFUSALS:
            self.services.metrics.refused.labels(connection.close_reason).inc()
        if connection.close_reason == SLOW_READER:
            self.services.metrics.slow_readers.inc()
        self._leave_doorway()
        self.services.hub.remove(connection)
        if connection.socket_id:
            self.services.janitor.detach_later(connection.user_id, connection.socket_id)
        connection.drained()


def _id(command_id: Any) -> Any:
    return UNSET if command_id is None else command_id
