"""Where WebSockets are opened: origin, token and position from the request. `Peer` goes on from there."""

import logging
import re
from typing import Any, Self

from tornado.iostream import IOStream
from tornado.web import Application, HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, _WebSocketParams

from handlers.base import Edge
from handlers.doorway import Doorway
from handlers.framing import Handshake
from handlers.peer import Peer
from session.protocol import BadCommand, Code, Since, decode_resume

log = logging.getLogger(__name__)

KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
"""16 bytes in base64 (RFC 6455, 4.1)."""
VERSION = "13"
"""Of the protocol, as clients name it (RFC 6455, 4.1)."""


class Socket(Edge, WebSocketHandler):
    """The opening of a client's WebSocket; who is in is a `Peer`."""

    # --- before the upgrade ---

    @classmethod
    def for_upgrade(cls, application: Application, request: Any) -> Self:
        """A handler for a request that `upgrade` has read, with what `let_in` wants of Tornado's handlers and
        without what answers are made with. Raises nothing."""
        handler = cls.__new__(cls)
        handler.application, handler.request, handler._status_code = application, request, 101
        return handler

    def may_be_upgraded(self) -> bool:
        """Whether `prepare` and `get` would grant this request, which is a WebSocket's."""
        return not self.services.hub.draining and self._check_cross_origin(self.check_origin) is None

    def prepare(self) -> None:
        """A server that is going away takes nobody in."""
        if self.services.hub.draining:
            raise HTTPError(503, "this server is going away")

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Tornado's handshake, which would take any key, and HTTP/1.0, and refuses with a text."""
        headers = self.request.headers
        connection = [word.strip() for word in headers.get("Connection", "").lower().split(",")]
        if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in connection:
            raise HTTPError(400, "a WebSocket is opened here: Upgrade, Connection")
        if not KEY.fullmatch(headers.get("Sec-WebSocket-Key", "")):
            raise HTTPError(400, "a WebSocket is opened here: Sec-WebSocket-Key")
        if self.request.version != "HTTP/1.1":
            raise HTTPError(400, "a WebSocket is opened by HTTP/1.1")
        if self._check_cross_origin(self.check_origin) is not None:
            raise HTTPError(403, "pages of this origin may not connect")
        if headers.get("Sec-WebSocket-Version") != VERSION:
            raise HTTPError(426, f"a WebSocket of version {VERSION} is opened here")
        await super().get(*args, **kwargs)

    def check_origin(self, origin: str) -> bool:
        """Called by Tornado for foreign origins only: same-origin requests never come here."""
        allowed = self.services.config.allowed_origins
        return "*" in allowed or origin.lower().rstrip("/") in {o.lower().rstrip("/") for o in allowed}

    def get_websocket_protocol(self) -> WebSocketProtocol:
        """The handshake alone; frames are our own, and pings, because Tornado's close with 1000."""
        return Handshake(self, False, _WebSocketParams())

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

    # --- behind it ---

    async def open(self, *args: str, **kwargs: str) -> None:
        """Tornado has granted the request."""
        assert self.ws_connection is not None  # noqa: S101 - made by get_websocket_protocol
        stream = self.ws_connection.stream
        assert stream is not None  # noqa: S101 - the handshake is over
        await self.let_in(stream, self.early_token())

    async def let_in(self, stream: IOStream, token: str) -> None:
        """Let the client in by the token that came with its request, or wait for its first frame."""
        if stream.closed():
            return  # the peer has gone while its request was answered
        doorway: Doorway = self.settings["doorway"]
        peer = Peer(self.services, doorway, doorway.address_of(self.request), stream)
        try:
            if peer.enter():
                resume = self._early_resume() if token else None
                replaces = self._argument("replaces")
                self._let_go()
                if token:
                    await peer.sign_in(token, resume, replaces)
        except BadCommand as bad:
            peer.refuse_request(bad)
        except Exception:
            log.exception("a connection could not be let in", extra=peer.connection.about)
            peer.crashed()
        finally:
            self._let_go()
            peer.start()

    def _let_go(self) -> None:
        """Nothing of the request is looked at again: without circles it goes at once."""
        self.ws_connection = None
        self.ui = None  # type: ignore[assignment]  # as Tornado does it, when the connection has ended
        self.__dict__.pop("_headers", None)
        self.__dict__.pop("request", None)

    def early_token(self) -> str:
        """A token that came with the request: in the query, else in the header; empty where none did."""
        token = self._argument("token") if self.services.config.query_token else ""
        if token:
            return token
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        return credentials.strip() if scheme.lower() == "bearer" else ""

    def _early_resume(self) -> dict[str, Since | None] | None:
        return decode_resume(self._argument("resume")) if "resume" in self.request.query_arguments else None

    def _argument(self, name: str) -> str:
        """What the query says last by this name; empty where it says nothing."""
        values = self.request.query_arguments.get(name)
        return self.decode_argument(values[-1], name).strip() if values else ""

    def on_message(self, message: str | bytes) -> None:
        """Never called: `Peer` reads the messages."""
        raise NotImplementedError
