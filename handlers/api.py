"""The back end's HTTP API under ``/api``, and the events as everyone may see them."""

import re
import secrets
from typing import Any

import msgspec
from msgspec import Raw, Struct
from tornado.web import HTTPError

from handlers.base import MAX_EVENT_BODY_BYTES, Handler
from session.events import EventDraft
from session.protocol import MAX_DATA_BYTES, Code, EventId, Refused, RoomName, RoomPosition, UserId

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


class ApiHandler(Handler):
    """Base of the calls that only the back end may make."""

    def set_default_headers(self) -> None:
        """Nothing here is for a cache."""
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Ask for the API key before anything else."""
        self.require_api_key()
        super().prepare()


class EventList(ApiHandler):
    """``/api/events``"""

    async def get(self) -> None:
        """All events, without their seat ids."""
        self.answer({"events": await self.services.events.all()})


class OneEvent(ApiHandler):
    """``/api/events/<id>``"""

    max_body_bytes = MAX_EVENT_BODY_BYTES

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
        event = await self.services.events.get(checked("event id", event_id, EventId))
        if event is None:
            raise HTTPError(404, "there is no such event")
        connections = await self.services.presence.count(event.id)
        self.answer(EventStats(available=event.seat_count or None, connections=connections))


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
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            return f"r:{secrets.token_hex(8)}"
        if not IDEMPOTENCY_KEY.fullmatch(key):
            raise Refused(Code.BAD_MESSAGE, "Idempotency-Key: must be 1 to 128 visible ASCII characters")
        return f"a:{key}"


class OneUser(ApiHandler):
    """``/api/users/<id>``"""

    async def get(self, user_id: str) -> None:
        """A user's session and connections, over all servers."""
        user = await self.services.manager.user(checked("user id", user_id, UserId))
        if user is None:
            raise HTTPError(404, "nothing is known of this user")
        self.answer(user)


class Disconnect(ApiHandler):
    """``/api/users/<id>/disconnect``"""

    async def post(self, user_id: str) -> None:
        """Close all of a user's connections, on every server (202)."""
        user_id = checked("user id", user_id, UserId)
        await self.services.manager.disconnect(user_id)
        self.answer({"userId": user_id}, 202)


class NoSuchCall(ApiHandler):
    """Whatever else stands under ``/api``: who has no key learns nothing of what there is."""

    def prepare(self) -> None:
        """Refuse."""
        super().prepare()
        raise HTTPError(404, "there is no such call")


class PublicHandler(Handler):
    """Base of what everyone may read, and caches may keep for a moment; Tornado adds the ``ETag``."""

    def cacheable(self, value: Any) -> None:
        """Finish with JSON that may be kept."""
        self.set_header("Cache-Control", f"public, max-age={PUBLIC_MAX_AGE_SECONDS}")
        self.answer(value)


class PublicEventList(PublicHandler):
    """``/events``"""

    async def get(self) -> None:
        """All events, without their seat ids."""
        self.cacheable({"events": await self.services.events.public()})

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
    (r"/api/rooms/([^/]+)/messages", Messages),
    (r"/api/users/([^/]+)", OneUser),
    (r"/api/users/([^/]+)/disconnect", Disconnect),
    (r"/api(?:/.*)?", NoSuchCall),
    (r"/events", PublicEventList),
    (r"/events/([^/]+)", PublicEvent),
]
