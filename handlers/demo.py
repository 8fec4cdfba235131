"""What stands in for a shop's own back end in the demo: the payment that turns held seats into sold ones, the
tickets that came of it; and what lets a visitor break things."""

import asyncio
import logging
import os
import signal
import time

from msgspec import Struct
from tornado.web import HTTPError

from handlers.answers import Booked
from handlers.api import idempotency_key
from handlers.base import Handler
from session.identity import Identity
from session.protocol import Code, EventId, Refused, SeatIds, UnixMs

log = logging.getLogger(__name__)

MAX_EVENTS = 100
"""Events that are looked through for a user's tickets: a demo has a few."""
SHORT_SECONDS = 20.0
"""How long the token lasts that shows how one is renewed; clients do it some seconds after they got it."""
LAST_WORDS_SECONDS = 0.1
"""Time for the answer to leave before the server that was killed is gone."""


class Payment(Struct, rename="camel", frozen=True):
    """What the buyer pays for."""

    event_id: EventId
    seats: SeatIds


class Order(Struct, frozen=True):
    """Which server is to be killed: the one that the visitor's connection is on."""

    instance: str


class Ticket(Struct, rename="camel", frozen=True):
    """A booking that stands; ``booked_at`` is Unix milliseconds."""

    booking_id: str
    event_id: str
    seats: list[str]
    booked_at: UnixMs


class WhatGoes(Struct, frozen=True):
    """What this demo allows."""

    kill: bool


class Tickets(Struct, frozen=True):
    """Bookings that stand, the newest first."""

    bookings: list[Ticket]


class ShortToken(Struct, rename="camel", frozen=True):
    """A token that is over in `SHORT_SECONDS`."""

    token: str
    expires_at: UnixMs


class Killed(Struct, frozen=True):
    """The server that is gone in a moment."""

    instance: str


class DemoHandler(Handler):
    """Base of what is there in a demo only, and for no cache."""

    def set_default_headers(self) -> None:
        """What is true for one user now is nobody else's."""
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Be there in a demo only."""
        if not self.services.config.is_demo:
            raise HTTPError(404, "there is nothing here")
        super().prepare()

    async def visitor(self) -> Identity:
        """Who is signed in, by the bearer token.

        Raises:
            Refused: nobody is.
            Unavailable: the store did not answer in time.
        """
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(Code.TOKEN_REQUIRED, "a token is needed")
        identity = await self.services.verifier.verify(credentials.strip())
        # or a token that is over could get itself a new one
        if identity.is_revoked_by((await self.services.manager.check(identity.user_id)).revoked):
            raise Refused(Code.TOKEN_REVOKED, "this sign-in has ended")
        return identity


class Demo(DemoHandler):
    """``/demo``: that this is one, and what it allows."""

    def get(self) -> None:
        """Say whether a visitor may kill the server."""
        self.answer(WhatGoes(self.services.config.demo_kill))


class DemoBookings(DemoHandler):
    """``/demo/bookings``: the pay button of the demo page, and the tickets; no money moves."""

    async def get(self) -> None:
        """What the bearer of the token has booked and not given back, newest first."""
        identity = await self.visitor()
        events = (await self.services.events.public())[:MAX_EVENTS]
        seats = self.services.seats
        found = await asyncio.gather(*(seats.bookings_of(e.id, identity.user_id) for e in events))
        tickets = [
            Ticket(booking.booking_id, event.id, booking.seats, booking.booked_at)
            for event, bookings in zip(events, found, strict=True)
            for booking in bookings
        ]
        self.answer(Tickets(sorted(tickets, key=lambda ticket: -ticket.booked_at)))

    async def post(self) -> None:
        """Book seats that the bearer of the token holds (201)."""
        identity = await self.visitor()
        payment = self.body(Payment)
        key = idempotency_key(self)
        # a key is the user's own: another's same key is another booking
        request_id = f"d:{identity.user_id}:{key}" if key else ""
        booking = await self.services.seats.book(
            str(payment.event_id), identity.user_id, payment.seats, request_id
        )
        self.answer(Booked.of(booking), 201)


class DemoToken(DemoHandler):
    """``/demo/token``: a token that is over in seconds, to see how it is renewed."""

    async def post(self) -> None:
        """Issue one for the same sign-in (201)."""
        identity = await self.visitor()
        if identity.sign_in is None:
            raise HTTPError(409, "this token is of no sign-in that could renew it")
        token, expires_at = self.services.issuer.access(
            identity.user_id, identity.role, identity.sign_in, time.time(), SHORT_SECONDS
        )
        self.answer(ShortToken(token, expires_at), 201)


class DemoKill(DemoHandler):
    """``/demo/kill``: the end of this process, as by ``kill -9``."""

    def prepare(self) -> None:
        """Be there where something starts the server again."""
        super().prepare()
        if not self.services.config.demo_kill:
            raise HTTPError(404, "there is nothing here")

    async def post(self) -> None:
        """Be gone in a moment (202); another server than the one meant stays (409)."""
        identity = await self.visitor()
        if self.body(Order).instance != self.services.leases.instance:
            raise HTTPError(409, "that is another server")
        log.warning("killed by a visitor of the demo", extra={"fields": {"user": identity.user_id}})
        self.answer(Killed(self.services.leases.instance), 202)
        asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, os.kill, os.getpid(), signal.SIGKILL)


ROUTES = [
    (r"/demo", Demo),
    (r"/demo/bookings", DemoBookings),
    (r"/demo/token", DemoToken),
    (r"/demo/kill", DemoKill),
]
