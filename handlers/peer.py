"""Who is at the other end of a WebSocket: sign-in, decode, rate limit, answer. No rule of the sale here."""

import logging
from typing import Any

from msgspec import UNSET
from tornado.iostream import IOStream

from handlers.allowance import Allowance
from handlers.doorway import Doorway
from handlers.framing import Framing
from session.connection import SLOW_READER, Connection
from session.protocol import REFUSALS, Auth, BadCommand, Close, Code, Refused, Since, decode
from session.recorder import closing
from session.services import Services
from session.store import Unavailable

log = logging.getLogger(__name__)

PATIENCE = 20
"""Broken or too many frames that are answered with an error before the connection is closed with 1008;
one is forgiven a second."""
COUNTED_CODES = frozenset({*map(int, Close), 1001, 1005, 1006})
"""Close codes that are counted each by itself; a client may say any of thousands, which are one label."""


class Peer:
    """A client whose WebSocket is open. It has no more than it needs while it does nothing."""

    __slots__ = ("_address", "_allowance", "_doorway", "_framing", "_patience", "_services", "connection")

    def __init__(self, services: Services, doorway: Doorway, address: str, stream: IOStream) -> None:
        config = services.config
        self._services = services
        self._doorway = doorway
        self._address = address
        """Where it stands in the doorway; empty when it does no more."""
        self._allowance: Allowance | None = None
        self._patience: Allowance | None = None
        self._framing = Framing(stream, self, config.max_message_bytes)
        self.connection = Connection(
            self._framing,
            auth_timeout=config.auth_timeout,
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            max_backlog=config.max_buffer_bytes,
        )

    # --- the beginning ---

    def enter(self) -> bool:
        """Come into the doorway; False where it is full, and the client has been told so."""
        hub = self._services.hub
        hub.take_in(self.connection)
        if self._doorway.enter(self._address, len(hub.sockets), self._framing.descriptor):
            return True
        full = Refused(Code.UNAVAILABLE, "this server is full", {"outcome": "none"})
        self._services.entrance.turn_away(self.connection, full)
        return False

    async def sign_in(
        self, token: str, resume: dict[str, Since | None] | None, replaces: str, cid: Any = UNSET
    ) -> None:
        """Let the client in, or tell it why not."""
        self.connection.busy = True
        await self._services.entrance.sign_in(self.connection, token, resume, replaces, cid)
        self._leave_doorway()

    def start(self) -> None:
        """The request has been answered: read what the client says."""
        self.connection.done()
        self._framing.start()

    def _leave_doorway(self) -> None:
        if self._address:
            self._doorway.leave(self._address)
            self._address = ""

    # --- what it says ---

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
            wait = self._wait_seconds()
            if wait:
                self._too_fast(wait, command.id)
                return
            await self._services.commands.run(connection, command)
        except BadCommand as bad:
            self._bad(bad)
        except Exception:
            log.exception("a command failed", extra=connection.about)
            self.crashed(command_id)
        finally:
            connection.done()

    async def _first(self, command: Any) -> None:
        if not isinstance(command, Auth):
            self._services.entrance.refuse(
                self.connection, Refused(Code.TOKEN_REQUIRED, "the first frame must be auth"), _id(command.id)
            )
            return
        await self.sign_in(command.token, command.resume, command.replaces or "", _id(command.id))

    def _wait_seconds(self) -> float:
        if self._allowance is None:
            config = self._services.config
            self._allowance = Allowance(config.message_rate, config.message_burst)
        return self._allowance.wait_seconds()

    def refuse_request(self, bad: BadCommand) -> None:
        """Something in the query cannot be read."""
        self.connection.send(bad.event())
        self.connection.close(Close.POLICY, bad.code.value)

    def _bad(self, bad: BadCommand) -> None:
        if self.connection.identity is None and bad.command_type != "auth":
            self._services.entrance.refuse(
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
        if self._patience is None:
            self._patience = Allowance(1.0, PATIENCE)
        if self._patience.wait_seconds():
            self.connection.close(Close.POLICY, code.value)

    def crashed(self, command_id: Any = UNSET) -> None:
        """A mistake of ours: say that the outcome is unknown, and keep the line."""
        self.connection.send(Unavailable("unknown").event(command_id))
        if self.connection.identity is None:
            self.connection.close(Close.TRY_LATER, Code.UNAVAILABLE.value)

    def on_bad_text(self) -> None:
        """A text that is not UTF-8."""
        self.connection.close(Close.NOT_UTF8, "not_utf8")

    def on_pong(self) -> None:
        """The client is there."""
        seconds = self.connection.ponged()
        if seconds is not None:
            self._services.metrics.ping_seconds.observe(seconds)

    def on_blocked(self) -> None:
        """Something waits for the client, or nothing may be sent to it any more."""
        self.connection.fall_out()

    def on_drained(self) -> None:
        """The client has taken all that was sent."""
        self.connection.drained()

    # --- the end ---

    def on_close(self, code: int | None) -> None:
        """The socket has closed, by whomever; ``code`` is the client's."""
        connection, metrics = self.connection, self._services.metrics
        by = "server"
        if connection.close_code is None:
            connection.close_code = code or 1006
            by = "network" if connection.close_code == 1006 else "client"
        counted = str(connection.close_code) if connection.close_code in COUNTED_CODES else "other"
        metrics.closed.labels(counted).inc()
        if connection.close_reason in REFUSALS:
            metrics.refused.labels(connection.close_reason).inc()
        if connection.close_reason == SLOW_READER:
            metrics.slow_readers.inc()
        self._leave_doorway()
        self._services.hub.remove(connection)
        if connection.socket_id:
            how = closing(connection, self._services.leases.instance, by)
            self._services.janitor.detach_later(connection.user_id, connection.socket_id, how)
        connection.drained()


def _id(command_id: Any) -> Any:
    return UNSET if command_id is None else command_id
