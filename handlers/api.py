"""The back end's HTTP API under ``/api``, and the events as everyone may see them."""

import asyncio
import re
import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from handlers.answers import (
    AllEvents,
    AllPublicEvents,
    Booked,
    Disconnected,
    HoldOrderDone,
    Paused,
    QueueOrderDone,
    Refunded,
    Revoked,
    UserFound,
)
from handlers.audit import Audit, Call, fingerprint, request_id
from handlers.base import MAX_EVENT_BODY_BYTES, Handler, api_key_of
from handlers.doorway import Doorway
from session.claims import Word
from session.events import EventDraft
from session.identity import sign_in_mark, token_mark
from session.manager import Session
from session.protocol import MAX_DATA_BYTES, Code, EventId, Refused, RoomName, RoomPosition, SeatIds, UserId
from session.recorder import Happened, history
from session.sale import Who
from session.services import Services
from session.store import Unavailable

PUBLIC_MAX_AGE_SECONDS = 2
IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,128}")


class EventStats(Struct, rename="camel", frozen=True, kw_only=True):
    """An event's figures at one moment; ``available`` is null where it has no seats."""

    waiting: int = 0
    admitted: int = 0
    held: int = 0
    sold: int = 0
    available: int | None
    connections: int
    paused: bool = False


class PauseOrder(Struct, frozen=True):
    """Whether anybody is let in."""

    paused: bool


class QueueOrder(Struct, frozen=True):
    """What becomes of a user in a line."""

    action: Literal["admit", "remove"]


class HoldOrder(Struct, frozen=True):
    """What becomes of a user's hold."""

    action: Literal["extend", "release"]


class BookingOrder(Struct, rename="camel", frozen=True):
    """Whose held seats are sold."""

    user_id: UserId
    seats: SeatIds


class RefundOrder(Struct, frozen=True):
    """Which sold seats are given back."""

    seats: SeatIds


class RevokeOrder(Struct, rename="camel", frozen=True, forbid_unknown_fields=True):
    """What of a user's is revoked, one of the three: a token, a sign-in, or all that was issued until now.
    ``expires_at`` is when the last of it would have ended (Unix ms)."""

    jti: Word | None = None
    sid: Word | None = None
    all: Literal[True] | None = None
    expires_at: Annotated[int, Meta(gt=0, lt=253_402_300_800_000)] | None = None

    @property
    def mark(self) -> str:
        """What `SignIns.revoke_for_back_end` takes.

        Raises:
            Refused: it names none of the three, or several.
        """
        if [self.jti, self.sid, self.all].count(None) != 2:
            raise Refused(Code.BAD_MESSAGE, "say one of jti, sid and all")
        if self.jti is not None:
            return token_mark(self.jti)
        return "" if self.sid is None else sign_in_mark(self.sid)


class UserHistory(Struct, rename="camel", frozen=True):
    """What befell a user last, over all servers, newest first."""

    user_id: str
    events: Sequence[Happened]


class NewMessage(Struct, frozen=True):
    """What the back end wants published: any JSON value."""

    data: Raw


def checked(name: str, value: str, rule: Any) -> str:
    """A part of the path, if it keeps the rule.

    Raises:
        Refused: it does not (422).
    """
    try:
        return str(msgspec.convert(value, rule))
    except msgspec.ValidationError as error:
        raise Refused(Code.BAD_MESSAGE, f"{name}: {error}") from None


def idempotency_key(handler: Handler) -> str | None:
    """The caller's ``Idempotency-Key``.

    Raises:
        Refused: it is none (422).
    """
    key = handler.request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise Refused(Code.BAD_MESSAGE, "Idempotency-Key: must be 1 to 128 visible ASCII characters")
    return key


class ApiHandler(Handler):
    """Base of the calls that only the back end may make."""

    caller: str | None = None
    """The fingerprint of the API key that was accepted."""

    @cached_property
    def call_id(self) -> str:
        """By which the caller finds its call in our log."""
        return request_id(self.request)

    def set_default_headers(self) -> None:
        """Nothing here is for a cache."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Request-Id", self.call_id)

    def prepare(self) -> None:
        """Ask for the API key before anything else."""
        self.require_api_key()
        self.caller = fingerprint(self.request)
        super().prepare()

    def on_finish(self) -> None:
        """Write it down."""
        doorway: Doorway = self.settings["doorway"]
        audit: Audit = self.settings["audit"]
        call = Call(
            key=self.caller,
            method=self.request.method or "",
            path=_path_of(type(self)),
            # not there yet where the method, the body or the path itself is refused
            target=[str(part) for part in getattr(self, "path_args", ())],
            status=self.get_status(),
            ms=1000 * self.request.request_time(),
            request_id=self.call_id,
            address=doorway.address_of(self.request),
        )
        audit.write(call)


class EventList(ApiHandler):
    """``/api/events``"""

    async def get(self) -> None:
        """All events, without their seat ids."""
        self.answer(AllEvents(await self.services.events.all()))


class OneEvent(ApiHandler):
    """``/api/events/<id>``"""

    max_body_bytes = MAX_EVENT_BODY_BYTES

    @classmethod
    def most_body_bytes(cls, request: HTTPServerRequest, services: Services) -> int:
        """So much from the back end only: others must not fill the memory before they are refused."""
        return cls.max_body_bytes if api_key_of(request, services) else 0

    async def get(self, event_id: str) -> None:
        """An event with all its settings."""
        event = await self.services.events.get(checked("event id", event_id, EventId), with_seats=True)
        if event is None:
            raise HTTPError(404, "there is no such event")
        self.answer(event)

    async def put(self, event_id: str) -> None:
        """Create it (201), or replace its settings (200)."""
        event_id = checked("event id", event_id, EventId)
        put = await self.services.events.put(event_id, self.body(EventDraft))
        self.answer(put.event, 201 if put.created else 200)

    async def delete(self, event_id: str) -> None:
        """Remove it (204)."""
        if not await self.services.events.delete(checked("event id", event_id, EventId)):
            raise HTTPError(404, "there is no such event")
        self.set_status(204)


class Stats(ApiHandler):
    """``/api/events/<id>/stats``"""

    async def get(self, event_id: str) -> None:
        """The event's figures, connections over all servers."""
        event_id = checked("event id", event_id, EventId)
        figures, connections = await asyncio.gather(
            self.services.waiting_rooms.figures(event_id), self.services.presence.count(event_id)
        )
        self.answer(
            EventStats(
                waiting=figures.total,
                admitted=figures.admitted,
                held=figures.held,
                sold=figures.sold,
                available=figures.available,
                connections=connections,
                paused=figures.paused,
            )
        )


class Queue(ApiHandler):
    """``/api/events/<id>/queue``"""

    async def post(self, event_id: str) -> None:
        """Pause admission, or resume it."""
        event_id = checked("event id", event_id, EventId)
        paused = self.body(PauseOrder).paused
        await self.services.waiting_rooms.pause(event_id, paused)
        self.answer(Paused(event_id, paused))


class InQueue(ApiHandler):
    """``/api/events/<id>/queue/<userId>``"""

    async def post(self, event_id: str, user_id: str) -> None:
        """Let one user in before the others, or take one out."""
        event_id, user_id = checked("event id", event_id, EventId), checked("user id", user_id, UserId)
        action = self.body(QueueOrder).action
        rooms = self.services.waiting_rooms
        if action == "admit":
            verdict = await rooms.admit(event_id, user_id)
        else:
            verdict = "ok" if (await rooms.leave(event_id, Who(user_id), "removed")).had else "none"
        if verdict == "none":
            raise HTTPError(404, "this user has no place in the line")
        if verdict == "full":
            raise HTTPError(409, "as many are in as the event has room for")
        self.services.recorder.queue(user_id, event_id, "admitted" if action == "admit" else "removed")
        self.answer(QueueOrderDone(event_id, user_id, action))


class Holds(ApiHandler):
    """``/api/events/<id>/holds/<userId>``"""

    async def post(self, event_id: str, user_id: str) -> None:
        """Lengthen a user's hold, or end it."""
        event_id, user_id = checked("event id", event_id, EventId), checked("user id", user_id, UserId)
        action = self.body(HoldOrder).action
        who = Who(user_id)
        if action == "release":
            held, holding = await self.services.seats.release(event_id, who)
        else:
            holding = await self.services.seats.extend(event_id, who)
            held = bool(holding.seats)
        if not held:
            raise HTTPError(409, "this user holds no seats there")
        change = "released" if action == "release" else "extended"
        self.services.recorder.seats(user_id, event_id, change, holding.seats)
        self.answer(HoldOrderDone(holding.seats, holding.expires_at))


class Bookings(ApiHandler):
    """``/api/events/<id>/bookings``"""

    async def post(self, event_id: str) -> None:
        """Turn a user's held seats into sold ones (201)."""
        event_id, order = checked("event id", event_id, EventId), self.body(BookingOrder)
        key = idempotency_key(self)
        booking = await self.services.seats.book(
            event_id, str(order.user_id), order.seats, f"a:{key}" if key else ""
        )
        self.answer(Booked.of(booking), 201)

    async def delete(self, event_id: str) -> None:
        """Make sold seats available again."""
        event_id, order = checked("event id", event_id, EventId), self.body(RefundOrder)
        await self.services.seats.refund(event_id, order.seats)
        self.answer(Refunded(order.seats))


class Messages(ApiHandler):
    """``/api/rooms/<room>/messages``"""

    async def post(self, room: str) -> None:
        """Publish a message (201); the same ``Idempotency-Key`` brings the first answer."""
        room = checked("room", room, RoomName)
        data = bytes(self.body(NewMessage).data)
        if len(data) > MAX_DATA_BYTES:
            raise Refused(Code.BAD_MESSAGE, f"data: more than {MAX_DATA_BYTES} bytes of JSON")
        published = await self.services.rooms.publish(room, data, request_id=self._request_id())
        answer = RoomPosition(room=published.room, epoch=published.epoch, offset=published.offset)
        self.answer(answer, 201)

    def _request_id(self) -> str:
        """The caller's key, kept apart from the keys that users publish with."""
        key = idempotency_key(self)
        return f"r:{secrets.token_hex(8)}" if key is None else f"a:{key}"


class OneUser(ApiHandler):
    """``/api/users/<id>``"""

    async def get(self, user_id: str) -> None:
        """A user's session and connections, over all servers."""
        user = await self.services.manager.user(checked("user id", user_id, UserId))
        if user is None:
            raise HTTPError(404, "nothing is known of this user")
        state = None
        if user.session is not None:
            state = user.session.state(await self._held(user.user_id, user.session))
        self.answer(UserFound(user.user_id, state, user.connections))

    async def _held(self, user_id: str, session: Session) -> list[str]:
        """What the user holds, where its session says that it may."""
        named = [session.seat_event_id] if session.seat_event_id in session.holds else []
        for event_id in (*named, *sorted(session.holds)):
            try:
                holding = await self.services.seats.mine(event_id, Who(user_id))
            except Unavailable:
                raise
            except Refused:
                continue
            if holding.seats:
                return holding.seats
        return []


class History(ApiHandler):
    """``/api/users/<id>/history``"""

    async def get(self, user_id: str) -> None:
        """What befell a user last, over all servers, newest first: why was I thrown out?"""
        user_id = checked("user id", user_id, UserId)
        notes, user = await asyncio.gather(
            self.services.recorder.read(user_id), self.services.manager.user(user_id)
        )
        events = history(notes, user.connections if user is not None else [])
        if not events and user is None:
            raise HTTPError(404, "nothing is known of this user")
        self.answer(UserHistory(user_id, events))


class Disconnect(ApiHandler):
    """``/api/users/<id>/disconnect``"""

    async def post(self, user_id: str) -> None:
        """Close all of a user's connections, on every server (202)."""
        user_id = checked("user id", user_id, UserId)
        await self.services.manager.disconnect(user_id)
        self.answer(Disconnected(user_id), 202)


class Revoke(ApiHandler):
    """``/api/users/<id>/revoke``"""

    async def post(self, user_id: str) -> None:
        """End a token, a sign-in, or all of a user's, and close their connections (202)."""
        user_id, order = checked("user id", user_id, UserId), self.body(RevokeOrder)
        done = await self.services.sign_ins.revoke_for_back_end(user_id, order.mark, order.expires_at)
        self.answer(Revoked(user_id, done.kept_until, done.replicated), 202)


class OverviewPage(ApiHandler):
    """``/api/overview``"""

    async def get(self) -> None:
        """What all servers do, and the events used last."""
        self.answer(await self.services.census.overview())


class NoSuchCall(ApiHandler):
    """Whatever else stands under ``/api``: who has no key learns nothing of what there is."""

    def prepare(self) -> None:
        """Refuse."""
        super().prepare()
        raise HTTPError(404, "there is no such call")


class PublicHandler(Handler):
    """Base of what everyone may read, from pages of any site, and caches may keep for a moment; Tornado adds
    the ``ETag``."""

    def set_default_headers(self) -> None:
        """A shop's own page shows what there is to see: nothing of it is anybody's."""
        self.set_header("Access-Control-Allow-Origin", "*")

    def cacheable(self, value: Any) -> None:
        """Finish with JSON that may be kept."""
        self.set_header("Cache-Control", f"public, max-age={PUBLIC_MAX_AGE_SECONDS}")
        self.answer(value)


class PublicEventList(PublicHandler):
    """``/events``"""

    async def get(self) -> None:
        """All events, without their seat ids."""
        self.cacheable(AllPublicEvents(await self.services.events.public()))

    head = get


class PublicEvent(PublicHandler):
    """``/events/<id>``"""

    async def get(self, event_id: str) -> None:
        """An event with its sections, or its seat ids."""
        event = await self.services.events.get(checked("event id", event_id, EventId), with_seats=True)
        if event is None:
            raise HTTPError(404, "there is no such event")
        self.cacheable(event.public())

    head = get


ROUTES = [
    (r"/api/events", EventList),
    (r"/api/events/([^/]+)", OneEvent),
    (r"/api/events/([^/]+)/stats", Stats),
    (r"/api/events/([^/]+)/queue", Queue),
    (r"/api/events/([^/]+)/queue/([^/]+)", InQueue),
    (r"/api/events/([^/]+)/holds/([^/]+)", Holds),
    (r"/api/events/([^/]+)/bookings", Bookings),
    (r"/api/rooms/([^/]+)/messages", Messages),
    (r"/api/overview", OverviewPage),
    (r"/api/users/([^/]+)", OneUser),
    (r"/api/users/([^/]+)/history", History),
    (r"/api/users/([^/]+)/disconnect", Disconnect),
    (r"/api/users/([^/]+)/revoke", Revoke),
    (r"/api(?:/.*)?", NoSuchCall),
    (r"/events", PublicEventList),
    (r"/events/([^/]+)", PublicEvent),
]


def _path_of(handler: type[ApiHandler]) -> str:
    """The path of a call, with ``*`` for what it names."""
    (pattern,) = (pattern for pattern, known in ROUTES if known is handler)
    return pattern.replace("([^/]+)", "*").replace("(?:/.*)?", "/**")
