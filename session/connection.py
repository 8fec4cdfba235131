"""One socket: who it is, which rooms it reads, what is due for it and when.

The edge gives a `Transport`; everything above a frame of bytes is decided here and in the services.
"""

import random
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from session.identity import Identity
from session.protocol import Close, Code, Event, Refused, TokenExpiring, pack

if TYPE_CHECKING:
    from session.hub import Room

EXPIRY_NOTICE_SECONDS = 60
LEEWAY_SECONDS = 5
"""A token that was past its expiry at connect, within the leeway, is good until the leeway is over."""
ACTIVITY_SECONDS = 60.0
"""A client's last activity is written so often, beside the writes of its commands."""
SLOW_READER = "slow_reader"
"""Why a connection was cut that let too much wait."""
NEVER = float("inf")
MOST_OWED = 8
"""Things of which a connection waits for word; of more, it is not told of the oldest."""
NOTHING_OWED: Mapping[str, float] = MappingProxyType({})
"""Nearly all connections have had an answer to all that they asked."""


class Transport(Protocol):
    """What a connection needs of its socket."""

    @property
    def closed(self) -> bool:
        """Whether the line has ended, by whomever."""

    def write(self, frames: bytes) -> None:
        """Send packed frames; what the kernel does not take now waits."""

    @property
    def send(self) -> Callable[[bytes], int]:
        """Hands bytes to the kernel, and says how many it took. For the fan-out, and only until
        `Connection.fall_out`: no account is kept. Raises OSError where it takes none."""

    def deliver(self, frames: bytes) -> bool:
        """Send packed frames if nothing waits before them; False where something does."""

    def backlog(self) -> int:
        """Bytes that wait for the peer to read: 0 where the kernel has taken all, else with those there."""

    def ping(self) -> None:
        """Send a WebSocket ping."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; a peer that does not answer is cut off."""

    def abort(self, code: int, reason: str) -> None:
        """Cut off at once, after a last word that may not arrive."""


class Connection:
    """A connection of this server; ``identity`` is None until a token was accepted."""

    __slots__ = (
        "_max_backlog",
        "_on_drained",
        "_on_its_way",
        "_ping_interval",
        "_ping_timeout",
        "active",
        "attached_at",
        "auth_at",
        "busy",
        "close_code",
        "close_reason",
        "due",
        "event_id",
        "expire_at",
        "expiry_notice_at",
        "free_rooms",
        "identity",
        "looked_at",
        "on_sooner",
        "owed",
        "ping_at",
        "pinged_at",
        "pong_at",
        "queue_event_id",
        "renew_at",
        "rooms",
        "seat_event_id",
        "socket_id",
        "term",
        "tick",
        "transport",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        *,
        auth_timeout: float,
        ping_interval: float,
        ping_timeout: float,
        max_backlog: int,
    ) -> None:
        now = time.monotonic()
        self.transport = transport
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._max_backlog = max_backlog
        self._on_its_way = 0
        """What was unsent when something first had to wait, until all of it has been taken."""
        self._on_drained: tuple[Callable[[], None], ...] = ()
        self.identity: Identity | None = None
        self.socket_id = ""
        self.attached_at = 0
        """The order of this connection among its user's, which is the store's time of its coming, in ms."""
        self.term = 0
        """The term of the store's clock in which it was last known to be attached."""
        self.rooms: dict[str, Room] = {}
        self.event_id: str | None = None
        self.queue_event_id: str | None = None
        self.seat_event_id: str | None = None
        self.free_rooms: frozenset[str] = frozenset()
        """Rooms joined by join-room; with the three ids, what is written back if the store loses it all."""
        self.owed = NOTHING_OWED
        """Of what it was said that nobody knows whether it has happened -> when that can be known, of
        ``time.monotonic``."""
        self.active = False
        self.busy = False
        """Whether a command runs; no frame is read meanwhile, not even a pong."""
        self.renew_at = NEVER
        self.close_code: int | None = None
        self.close_reason = ""
        self.auth_at = now + auth_timeout
        # a random first ping keeps a mass reconnect from becoming a wave of pings
        self.ping_at = now + ping_interval * random.uniform(0.5, 1)
        self.pong_at = self.expire_at = self.expiry_notice_at = NEVER
        self.pinged_at = now
        """When the ping was sent that is to be answered by ``pong_at``."""
        self.tick: int | None = None
        """Where it is on the wheel of its hub, which keeps account of it here."""
        self.looked_at = NEVER
        """When the hub will ask next what is due; it may find that nothing is yet."""
        self.on_sooner: Callable[[Connection], None] = _nobody_asks
        """Told where something is due before that."""
        self._plan()

    # --- who ---

    @property
    def user_id(self) -> str:
        """The user that the token named; empty before."""
        return self.identity.user_id if self.identity else ""

    @property
    def about(self) -> dict[str, dict[str, str]]:
        """The ``extra`` of log lines about this connection: who it is, as far as that is known."""
        known = {"connection": self.socket_id, "user": self.user_id}
        return {"fields": {name: value for name, value in known.items() if value}}

    def token_came(self) -> None:
        """The peer has done its part; how long the rest takes is no fault of its own."""
        self.auth_at = NEVER
        self._plan()

    def sign_in(self, identity: Identity) -> None:
        """Take over the identity of a token, at connect or when it is renewed."""
        now, wall = time.monotonic(), time.time()
        self.identity = identity
        end = identity.expires_at if identity.expires_at > wall else identity.expires_at + LEEWAY_SECONDS
        self.expire_at = now + end - wall
        self.expiry_notice_at = self.expire_at - EXPIRY_NOTICE_SECONDS
        self._plan()

    def touch(self) -> None:
        """The client did something: its last activity is written within a minute."""
        if not self.active:
            self.active = True
            self.renew_at = min(self.renew_at, time.monotonic() + ACTIVITY_SECONDS)

    # --- out ---

    @property
    def is_open(self) -> bool:
        """Whether anything may still be sent."""
        return self.close_code is None

    @property
    def backlog(self) -> int:
        """Bytes that wait for the peer to read."""
        return self.transport.backlog()

    @property
    def is_idle(self) -> bool:
        """Whether the peer has taken all that was sent."""
        return self.transport.backlog() == 0

    def send(self, event: Event) -> None:
        """Send an answer or a personal event."""
        self.write(pack(event))

    def write(self, frames: bytes) -> None:
        """Send packed frames; a peer that lets too much wait is closed as too slow."""
        if self.close_code is not None:
            return
        transport = self.transport
        before = transport.backlog()
        transport.write(frames)
        waits = transport.backlog()
        if not waits:
            return
        # beside the limit is what the kernel had taken when something first had to wait, and that itself: a
        # piece of a replay, or the snapshot of a large house, which may be larger than the limit
        if not self._on_its_way:
            self._on_its_way = before or waits
        if waits > self._max_backlog + self._on_its_way:
            self.close(Close.TRY_LATER, SLOW_READER)

    def deliver(self, frames: bytes) -> bool:
        """Send packed frames to a peer that has taken all that was sent; False where it has not, or where
        nothing may be sent any more."""
        return self.close_code is None and self.transport.deliver(frames)

    def fall_out(self) -> None:
        """The edge tells that something waits for the peer, or that nothing may be sent any more: rooms do
        not tell it what is new together with all others."""
        for room in self.rooms.values():
            room.readers.set_apart(self)

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once, when the peer has taken all that was sent, or the connection has ended."""
        self._on_drained += (call,)

    def drained(self) -> None:
        """The edge tells that nothing waits any more, or that nothing will ever be sent again."""
        self._on_its_way = 0
        calls, self._on_drained = self._on_drained, ()
        for call in calls:
            call()

    # --- what it is owed ---

    def owe(self, what: str, seconds: float) -> None:
        """It was said that nobody knows what has come of that; in so many seconds that can be known."""
        owed = {**self.owed, what: time.monotonic() + seconds}
        if len(owed) > MOST_OWED:
            del owed[next(iter(owed))]
        self.owed = owed

    def pay(self, what: str) -> bool:
        """It is told of that now: whether it waited for it."""
        if what not in self.owed:
            return False
        self.owed = {other: at for other, at in self.owed.items() if other != what}
        return True

    def pay_due(self, what: str) -> bool:
        """The same, unless that cannot be known yet."""
        return self.owed.get(what, NEVER) <= time.monotonic() and self.pay(what)

    # --- the end ---

    def refuse(self, refused: Refused, close: Close = Close.UNAUTHORIZED) -> None:
        """Say why, then close with the same word as the reason."""
        self.send(refused.event())
        self.close(close, refused.code.value)

    def close(self, code: Close, reason: str) -> None:
        """Close with a code that tells the client whether to come back."""
        if self.close_code is None:
            self.close_code, self.close_reason = int(code), reason
            self.fall_out()
            self.transport.close(int(code), reason)

    def abandon(self) -> None:
        """Cut off a peer that was said goodbye to and has not answered."""
        self.transport.abort(int(Close.RESTART), "")

    def cut(self, code: Close, reason: str) -> None:
        """Close a peer that does not read or answer, without waiting for it."""
        if self.close_code is None:
            self.close_code, self.close_reason = int(code), reason
            self.fall_out()
            self.transport.abort(int(code), reason)

    # --- what is due ---

    def done(self) -> None:
        """A command has run; now the next frame is read, which may be a pong that is late for no fault."""
        self.busy = False
        if self.pong_at != NEVER:
            self.pinged_at = NEVER
            self.pong_at = max(self.pong_at, time.monotonic() + self._ping_timeout)
            self._plan()

    def ponged(self) -> float | None:
        """The peer answered a ping: after how many seconds.

        None where nobody had asked, and where a command ran meanwhile, so that the answer was read late.
        """
        is_measured = NEVER not in {self.pong_at, self.pinged_at}
        self.pong_at = NEVER
        self._plan()
        return time.monotonic() - self.pinged_at if is_measured else None

    def _plan(self) -> None:
        self.due = min(self.auth_at, self.ping_at, self.pong_at, self.expire_at, self.expiry_notice_at)
        if self.due < self.looked_at:
            self.on_sooner(self)

    def on_due(self, now: float) -> None:
        """Do what is due; ``now`` is of ``time.monotonic()``."""
        if self.close_code is not None:
            self.due = NEVER
            return
        if now >= self.auth_at:
            self.auth_at = NEVER
            self.refuse(Refused(Code.AUTH_TIMEOUT, "no token came in time"))
        elif now >= self.expire_at:
            self.expire_at = NEVER
            self.refuse(Refused(Code.TOKEN_EXPIRED, "the token has expired"))
        elif now >= self.pong_at and self.busy:
            # the pong may have come: nothing is read while a command runs, and it may wait for the store
            self.pong_at = now + self._ping_timeout
        elif now >= self.pong_at:
            self.cut(Close.NO_PONG, "no_pong")
        if now >= self.expiry_notice_at and self.identity is not None:
            self.expiry_notice_at = NEVER
            self.send(TokenExpiring(expires_at=self.identity.expires_at * 1000))
        if now >= self.ping_at and self.close_code is None:
            self.ping_at = now + self._ping_interval
            if self.pong_at == NEVER:
                self.pong_at = now + self._ping_timeout
                self.pinged_at = now
            self.transport.ping()
        self._plan()


def _nobody_asks(connection: Connection) -> None:
    """A connection that no hub has taken in."""
