"""What the calls of the back end are answered with, where it is no type of a service."""

from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from session.events import Event, PublicEvent
from session.manager import Socket
from session.protocol import HoldEnd, SessionState, UnixMs
from session.seats import Booking


class AllEvents(Struct, frozen=True):
    """All events, without their seat ids."""

    events: Sequence[Event]


class Paused(Struct, rename="camel", frozen=True):
    """Whether anybody is let in."""

    event_id: str
    paused: bool


class QueueOrderDone(Struct, rename="camel", frozen=True):
    """What has become of a user in a line."""

    event_id: str
    user_id: str
    action: str


class HoldOrderDone(Struct, rename="camel", frozen=True):
    """What the user still holds."""

    held: list[str]
    hold_expires_at: HoldEnd


class Booked(Struct, rename="camel", frozen=True):
    """A booking that stands. ``replicated``: whether all replicas have it; null where there are none."""

    booking_id: str
    seats: list[str]
    replicated: bool | None

    @classmethod
    def of(cls, booking: Booking) -> Self:
        """What the buyer is told of a booking."""
        return cls(booking.booking_id, booking.seats, booking.replicated)


class Refunded(Struct, frozen=True):
    """The seats that are available again."""

    seats: list[str]


class UserFound(Struct, rename="camel", frozen=True):
    """A user's session, null where there is none, and connections, over all servers."""

    user_id: str
    session: SessionState | None
    connections: Sequence[Socket]


class Disconnected(Struct, rename="camel", frozen=True):
    """Whose connections are being closed."""

    user_id: str


class Revoked(Struct, rename="camel", frozen=True):
    """What is revoked, and until when that is known; ``replicated`` as in `Booked`."""

    user_id: str
    kept_until: UnixMs
    replicated: bool | None


class AllPublicEvents(Struct, frozen=True):
    """All events as everyone may see them, without their seat ids."""

    events: Sequence[PublicEvent]
