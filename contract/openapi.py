"""The OpenAPI 3.1 document: everything that is asked over HTTP but the pages."""

import re
from typing import Any

from msgspec import Struct

from contract import docs, schemas
from contract.operations import OPERATIONS, Operation
from contract.schemas import Schema, ref
from handlers import api, auth, demo
from handlers.base import CODE_OF, STATUS_OF, Problem
from session.events import Event, EventDraft, PublicEvent, Section
from session.protocol import EventId, RoomName, UserId

DESCRIPTION = """\
Create events, steer waiting rooms, sell held seats, publish, and look after users. The WebSocket is described
in `/asyncapi.json`; `docs/protocol.md` says what it all means, `docs/integrate.md` how a back end uses it.
"""
TAGS = {
    "back end": "For your own back end: they want the API key, and answer 404 where none is configured.",
    "public": "For everyone, and for caches.",
    "signing in": "Renewing a sign-in, and ending it.",
    "operators": "For balancers and Prometheus.",
    "demo": "With `--demo` only, else 404.",
}
PROBLEMS = {
    400: "The request, or its JSON, is malformed.",
    401: "No key or token, or not a good one.",
    403: "A browser asked from a foreign origin.",
    404: "There is no such thing.",
    409: "As things are now it cannot be done.",
    413: "The body is too large: over 8 MiB for an event, over 128 KiB else.",
    422: "A field breaks its rule.",
    503: "The store did not answer in time. Ask again; to book or publish, with an `Idempotency-Key`.",
}
HINTS = {401: "WWW-Authenticate", 503: "Retry-After"}
"""Headers that come with a status."""
RAW: dict[tuple[str, str], Schema] = {
    (event.__name__, field): {"type": "array", "items": items}
    for event in (Event, PublicEvent)
    for field, items in (("sections", ref(Section)), ("seats", {"type": "string"}))
}
NAMES = {"eventId": "123", "userId": "mina", "room": "event:123"}
SEATS = ["VIP-1-1", "VIP-1-2"]
EXAMPLES: dict[type[Struct], Any] = {
    EventDraft: {
        "title": "Autumn Night",
        "venue": "Harbour Hall",
        "sections": [{"name": "VIP", "rows": 10, "seatsPerRow": 30, "price": 165000}],
        "capacity": 1000,
        "admitPerSecond": 50,
    },
    api.PauseOrder: {"paused": True},
    api.QueueOrder: {"action": "admit"},
    api.HoldOrder: {"action": "extend"},
    api.BookingOrder: {"userId": "mina", "seats": SEATS},
    api.RefundOrder: {"seats": SEATS},
    api.RevokeOrder: {"sid": "a sign-in"},
    api.NewMessage: {"data": {"text": "Doors open at seven"}},
    auth.RefreshBody: {"refreshToken": "<the refresh token>"},
    auth.LoginBody: {"name": "mina"},
    demo.Payment: {"eventId": "123", "seats": SEATS},
    demo.Order: {"instance": "i-6e1c9ef832"},
}
"""What each body may look like."""
SECURITY_SCHEMES = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "`--api-key`"},
    "userToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "a user's token"},
    "refreshCookie": {"type": "apiKey", "in": "cookie", "name": auth.COOKIE},
}


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keepseat",
            "version": docs.version(),
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "parameters": _parameters(),
            "headers": _headers(),
            "responses": {_response_name(status): _problem(status) for status in PROBLEMS},
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _paths() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        item = paths.setdefault(operation.path, {})
        if names := re.findall(r"\{(\w+)\}", operation.path):
            item["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in names]
        item[operation.method] = _operation(operation)
        if operation.has_head:
            item["head"] = _head(operation)
    return paths


def _operation(operation: Operation) -> dict[str, Any]:
    does = getattr(operation.handler, operation.method).__doc__
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": does.partition("\n")[0].replace("``", "`"),
        "security": [{name: []} for name in operation.security] + [{}] * operation.may_be_anonymous,
        "responses": _responses(operation),
    }
    if operation.idempotency_key:
        described["parameters"] = [{"$ref": "#/components/parameters/idempotencyKey"}]
    if operation.body:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {
                "application/json": {"schema": ref(operation.body), "example": EXAMPLES[operation.body]}
            },
        }
    return described


def _head(operation: Operation) -> dict[str, Any]:
    """As the GET, without a body."""
    described = _operation(operation)
    described["operationId"] += "Head"
    described["responses"] = {
        status: {"description": response["description"]}
        for status, response in _responses(operation, inline=True).items()
    }
    return described


def _responses(operation: Operation, *, inline: bool = False) -> dict[str, Any]:
    good = {str(status): _good(operation, status) for status in operation.ok}
    if operation.cacheable:
        good["304"] = {"description": "As it was when the `ETag` was given."}
    bad = {
        str(status): _problem(status)
        if inline
        else {"$ref": f"#/components/responses/{_response_name(status)}"}
        for status in _errors(operation)
    }
    return dict(sorted((good | bad).items()))


def _errors(operation: Operation) -> set[int]:
    """The statuses of all that may go wrong."""
    malformed = {400, 413}
    foreign = {403} if operation.method != "get" else set()
    ruled = {422} if operation.body or operation.idempotency_key or "{" in operation.path else set()
    storeless = {503} if operation.needs_store else set()
    return malformed | foreign | ruled | storeless | {*operation.errors}


def _good(operation: Operation, status: int) -> dict[str, Any]:
    content = operation.ok[status]
    if content is None:
        return {"description": "Done."}
    if isinstance(content, str):
        shape = "object" if content == "application/json" else "string"
        return {"description": "As it is now.", "content": {content: {"schema": {"type": shape}}}}
    response: dict[str, Any] = {
        "description": (content.__doc__ or "").partition("\n")[0].replace("``", "`"),
        "content": {"application/json": {"schema": ref(content)}},
    }
    if operation.cacheable:
        response["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"} for name in ("ETag", "Cache-Control")
        }
    return response


def _response_name(status: int) -> str:
    return f"Problem{status}"


def _problem(status: int) -> dict[str, Any]:
    codes = {code.value for code, its in STATUS_OF.items() if its == status} | {CODE_OF.get(status, "error")}
    narrow = {"properties": {"error": {"properties": {"code": {"enum": sorted(codes)}}}}}
    problem: dict[str, Any] = {
        "description": PROBLEMS[status],
        "content": {"application/json": {"schema": {"allOf": [ref(Problem), narrow]}}},
    }
    if status in HINTS:
        problem["headers"] = {HINTS[status]: {"$ref": f"#/components/headers/{HINTS[status]}"}}
    return problem


def _parameters() -> dict[str, Any]:
    rules = {"eventId": EventId, "userId": UserId, "room": RoomName}
    parameters: dict[str, Any] = {
        name: {"name": name, "in": "path", "required": True, "schema": _text(rule), "example": NAMES[name]}
        for name, rule in rules.items()
    }
    parameters["idempotencyKey"] = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key brings the first answer again, and does nothing more.",
        "schema": {"type": "string", "pattern": f"^{api.IDEMPOTENCY_KEY.pattern}$"},
    }
    return parameters


def _text(rule: Any) -> Schema:
    """What of a rule is about texts: a number in a path is one too."""
    schema = schemas.of(rule)
    return next((s for s in schema.get("anyOf", ()) if s["type"] == "string"), schema)


def _headers() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "ETag": {"description": "Names the content; send it back as `If-None-Match`.", "schema": text},
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
        "WWW-Authenticate": {"description": "`Bearer`", "schema": text},
        "Cache-Control": {"description": "How long caches may keep it.", "schema": text},
    }


def _schemas() -> dict[str, Schema]:
    taken = schemas.read([operation.body for operation in OPERATIONS if operation.body])
    answers = {
        content for operation in OPERATIONS for content in operation.ok.values() if isinstance(content, type)
    }
    given = schemas.written([*sorted(answers, key=lambda answer: answer.__name__), Problem, Section])
    schemas.described(given, {key: shape for key, shape in RAW.items() if key[0] in given})
    given["Fault"]["properties"]["details"] = schemas.details()
    return dict(sorted((taken | given | {"Details": schemas.DETAILS}).items()))
