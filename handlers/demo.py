"""What stands in for a shop's own back end in the demo: the payment that turns held seats into sold ones."""

from msgspec import Struct
from tornado.web import HTTPError

from handlers.api import idempotency_key
from handlers.base import Handler
from session.protocol import Code, EventId, Refused, SeatIds


class Payment(Struct, rename="camel", frozen=True):
    """What the buyer pays for."""

    event_id: EventId
    seats: SeatIds


class DemoBookings(Handler):
    """``/demo/bookings``: the pay button of the demo page; no money moves."""

    def prepare(self) -> None:
        """Be there in a demo only."""
        if not self.services.config.is_demo:
            raise HTTPError(404, "there is nothing here")
        super().prepare()

    async def post(self) -> None:
        """Book seats that the bearer of the token holds (201)."""
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(Code.TOKEN_REQUIRED, "who pays must be signed in")
        identity = await self.services.verifier.verify(credentials.strip())
        payment = self.body(Payment)
        key = idempotency_key(self)
        # a key is the user's own: another's same key is another booking
        request_id = f"d:{identity.user_id}:{key}" if key else ""
        booking = await self.services.seats.book(
            str(payment.event_id), identity.user_id, payment.seats, request_id
        )
        self.answer(
            {"bookingId": booking.booking_id, "seats": booking.seats, "replicated": booking.replicated}, 201
        )


ROUTES = [(r"/demo/bookings", DemoBookings)]
