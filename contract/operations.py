"""The calls of the HTTP API, as data: what each takes, and how it may be answered."""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from handlers import answers, api, auth, demo, ops, pages
from session.census import Overview
from session.events import Event, EventDraft, PublicEvent
from session.protocol import RoomPosition


@dataclass(frozen=True, slots=True)
class Operation:
    """One call; the handler's own words say what it does.

    ``ok`` is what each good status brings (None: nothing, a text: its media type). ``errors`` are the
    statuses beyond those that follow from what the call takes, and from its need of the store.
    """

    method: str
    path: str
    name: str
    handler: type[Any]
    tag: str
    ok: dict[int, type[Struct] | str | None]
    errors: tuple[int, ...] = ()
    body: type[Struct] | None = None
    body_required: bool = True
    security: tuple[str, ...] = ()
    may_be_anonymous: bool = False
    idempotency_key: bool = False
    cacheable: bool = False
    has_head: bool = False
    needs_store: bool = True


def _api(method: str, path: str, name: str, handler: type[Any], ok: dict[int, Any], *errors: int,
         **rest: Any) -> Operation:  # fmt: skip
    """A call of the back end."""
    return Operation(
        method,
        f"/api{path}",
        name,
        handler,
        "back end",
        ok,
        (401, 404, *errors),
        security=("apiKey",),
        **rest,
    )


OPERATIONS = (
    Operation("get", "/events", "listPublicEvents", api.PublicEventList, "public",
              {200: answers.AllPublicEvents}, cacheable=True, has_head=True),
    Operation("get", "/events/{eventId}", "getPublicEvent", api.PublicEvent, "public", {200: PublicEvent},
              (404,), cacheable=True, has_head=True),
    _api("get", "/events", "listEvents", api.EventList, {200: answers.AllEvents}),
    _api("get", "/events/{eventId}", "getEvent", api.OneEvent, {200: Event}),
    _api("put", "/events/{eventId}", "putEvent", api.OneEvent, {200: Event, 201: Event}, 409,
         body=EventDraft),
    _api("delete", "/events/{eventId}", "deleteEvent", api.OneEvent, {204: None}, 409),
    _api("get", "/events/{eventId}/stats", "getStats", api.Stats, {200: api.EventStats}),
    _api("post", "/events/{eventId}/queue", "pauseQueue", api.Queue, {200: answers.Paused},
         body=api.PauseOrder),
    _api("post", "/events/{eventId}/queue/{userId}", "orderInQueue", api.InQueue,
         {200: answers.QueueOrderDone}, 409, body=api.QueueOrder),
    _api("post", "/events/{eventId}/holds/{userId}", "orderHold", api.Holds, {200: answers.HoldOrderDone},
         409, body=api.HoldOrder),
    _api("post", "/events/{eventId}/bookings", "book", api.Bookings, {201: answers.Booked}, 409,
         body=api.BookingOrder, idempotency_key=True),
    _api("delete", "/events/{eventId}/bookings", "refund", api.Bookings, {200: answers.Refunded}, 409,
         body=api.RefundOrder),
    _api("post", "/rooms/{room}/messages", "publish", api.Messages, {201: RoomPosition}, body=api.NewMessage,
         idempotency_key=True),
    _api("get", "/users/{userId}", "getUser", api.OneUser, {200: answers.UserFound}),
    _api("get", "/users/{userId}/history", "getHistory", api.History, {200: api.UserHistory}),
    _api("post", "/users/{userId}/disconnect", "disconnectUser", api.Disconnect, {202: answers.Disconnected}),
    _api("post", "/users/{userId}/revoke", "revoke", api.Revoke, {202: answers.Revoked},
         body=api.RevokeOrder),
    _api("get", "/overview", "getOverview", api.OverviewPage, {200: Overview}),
    Operation("post", "/auth/refresh", "refresh", auth.Refresh, "signing in", {200: auth.Tokens}, (401,),
              body=auth.RefreshBody, body_required=False, security=("refreshCookie",), may_be_anonymous=True),
    Operation("post", "/auth/logout", "logout", auth.Logout, "signing in", {204: None}, (401,),
              security=("refreshCookie", "userToken")),
    Operation("post", "/auth/login", "login", auth.Login, "demo", {200: auth.Tokens}, (404,),
              body=auth.LoginBody),
    Operation("get", "/demo", "getDemo", demo.Demo, "demo", {200: demo.WhatGoes}, (404,),
              needs_store=False),
    Operation("get", "/demo/bookings", "listTickets", demo.DemoBookings, "demo", {200: demo.Tickets},
              (401, 404), security=("userToken",)),
    Operation("post", "/demo/bookings", "pay", demo.DemoBookings, "demo", {201: answers.Booked},
              (401, 404, 409), body=demo.Payment, security=("userToken",), idempotency_key=True),
    Operation("post", "/demo/token", "takeShortToken", demo.DemoToken, "demo", {201: demo.ShortToken},
              (401, 404, 409), security=("userToken",)),
    Operation("post", "/demo/kill", "killServer", demo.DemoKill, "demo", {202: demo.Killed}, (401, 404, 409),
              body=demo.Order, security=("userToken",)),
    Operation("get", "/openapi.json", "getOpenapi", pages.Document, "public", {200: "application/json"},
              cacheable=True, has_head=True, needs_store=False),
    Operation("get", "/asyncapi.json", "getAsyncapi", pages.Document, "public", {200: "application/json"},
              cacheable=True, has_head=True, needs_store=False),
    Operation("get", "/healthz", "isAlive", ops.Healthz, "operators", {200: ops.Life}, has_head=True,
              needs_store=False),
    Operation("get", "/readyz", "isReady", ops.Readyz, "operators",
              {200: ops.Readiness, 503: ops.Readiness}, has_head=True, needs_store=False),
    Operation("get", "/metrics", "getMetrics", ops.MetricsPage, "operators", {200: "text/plain"},
              needs_store=False),
)  # fmt: skip
