"""The AsyncAPI 3 document: the WebSocket, as the server sees it, which receives commands and sends events."""

from typing import Any

from contract import docs, schemas
from contract.schemas import Schema, ref
from session.boards import Snapshot
from session.protocol import (
    RETRYABLE,
    AnyCommand,
    Auth,
    Authenticated,
    Code,
    Command,
    Connected,
    Error,
    Event,
    EventJoined,
    EventLeft,
    ExtendHold,
    HoldBest,
    HoldSeats,
    JoinEvent,
    JoinQueue,
    JoinRoom,
    JoinSeats,
    LeaveEvent,
    LeaveQueue,
    LeaveRoom,
    LeaveSeats,
    Ping,
    Pong,
    Publish,
    Published,
    QueueJoined,
    QueueLeft,
    ReleaseSeats,
    RoomJoined,
    RoomLeft,
    SeatsHeld,
    SeatsJoined,
    SeatsLeft,
    SeatsReleased,
    SessionUpdated,
    UpdateSession,
)

ANSWERS: dict[type[Command], tuple[type[Event], ...]] = {
    Auth: (Connected, Authenticated),
    JoinEvent: (EventJoined,),
    LeaveEvent: (EventLeft,),
    JoinRoom: (RoomJoined,),
    LeaveRoom: (RoomLeft,),
    Publish: (Published,),
    UpdateSession: (SessionUpdated,),
    Ping: (Pong,),
    JoinQueue: (QueueJoined,),
    LeaveQueue: (QueueLeft,),
    JoinSeats: (SeatsJoined,),
    LeaveSeats: (SeatsLeft,),
    HoldSeats: (SeatsHeld,),
    HoldBest: (SeatsHeld,),
    ExtendHold: (SeatsHeld,),
    ReleaseSeats: (SeatsReleased,),
}
"""The success events of each command; it may be answered with `Error` besides."""
ALSO_UNASKED = {SeatsHeld, QueueLeft}
"""Answers that other connections of the user are told too, or that come by themselves."""

Frame = type[Command] | type[Event]
COMMANDS: tuple[type[Command], ...] = AnyCommand.__args__
EVENTS: tuple[type[Event], ...] = tuple(sorted(Event.__subclasses__(), key=lambda event: event.__name__))
FRAMES: tuple[Frame, ...] = (*COMMANDS, *EVENTS)
ANSWERING = {answer for answers in ANSWERS.values() for answer in answers} | {Error}
UNASKED = tuple(e for e in EVENTS if e not in ANSWERING or e in ALSO_UNASKED or e in {Error, Connected})

WAITING: Schema = {
    "properties": {"status": {"const": "waiting"}},
    "required": ["position", "total", "etaSeconds"],
}
ADMITTED: Schema = {"properties": {"status": {"const": "admitted"}}, "required": ["expiresAt", "pass"]}
POSITION = {"recovered": ["missed"], "missed": ["recovered"]}
RULES: dict[str, Schema] = {
    "QueueJoined": {"oneOf": [WAITING, ADMITTED], "dependencies": POSITION},
    "RestoredQueue": {"oneOf": [WAITING, ADMITTED]},
    "RestoredRoom": {
        "oneOf": [{"required": ["error"]}, {"required": ["epoch", "offset", "recovered", "missed"]}]
    },
    "EventJoined": {"dependencies": POSITION},
    "RoomJoined": {"dependencies": POSITION},
    "SeatsJoined": {"dependencies": POSITION},
}
"""Which fields come together, which no type of the code can say. AsyncAPI has the words of draft 7."""

DESCRIPTION = """\
One WebSocket a user, `GET /ws`; text frames only, one JSON object a frame. Commands go to the server, events
come from it. A command with an `id` gets exactly one answer with the same `id`: its event, or `error`.
Unknown fields are to be ignored: later versions may add some. `docs/protocol.md` says what the frames mean;
the HTTP side is described in `/openapi.json`.
"""
SOCKET = """\
The token comes in the query, in the header `Authorization`, or in the first frame (`auth`). A refused
connection is upgraded all the same: one `error`, then a close frame whose reason is the code. A foreign
`Origin` gets 403, a server that is going away answers 503.
"""


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Keepseat",
            "version": docs.version(),
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {"socket": _channel()},
        "operations": _operations(),
        "components": {
            "messages": {m.__name__: _message(m) for m in FRAMES},
            "schemas": _schemas(),
            "correlationIds": {"answer": {"location": "$message.payload#/id"}},
            "securitySchemes": _security_schemes(),
        },
    }


def _servers() -> dict[str, Any]:
    return {
        name: {
            "host": "{host}",
            "protocol": name,
            "description": description,
            "variables": {
                "host": {"default": default, "description": "host, and port where it is not the usual"}
            },
            "security": [
                {"$ref": f"#/components/securitySchemes/{scheme}"} for scheme in ("header", "query")
            ],
        }
        for name, default, description in (
            ("wss", "tickets.example", "behind a balancer that ends TLS"),
            ("ws", "localhost:8000", "on one's own machine"),
        )
    }


def _security_schemes() -> dict[str, Any]:
    return {
        "header": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "for clients that can set headers; browsers cannot",
        },
        "query": {
            "type": "httpApiKey",
            "name": "token",
            "in": "query",
            "description": "`--query-token` switches it off; the third way is the first frame, `auth`",
        },
    }


def _channel() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "address": "/ws",
        "title": "The WebSocket",
        "description": SOCKET,
        "messages": {m.__name__: {"$ref": f"#/components/messages/{m.__name__}"} for m in FRAMES},
        "bindings": {
            "ws": {
                "method": "GET",
                "bindingVersion": "0.1.0",
                "headers": {
                    "type": "object",
                    "properties": {
                        "Authorization": {**text, "description": "`Bearer <jwt>`"},
                        "Origin": text,
                    },
                },
                "query": {
                    "type": "object",
                    "properties": {
                        "token": {**text, "description": "the JWT"},
                        "resume": {**text, "description": "`resume` of `auth`, as JSON"},
                        "replaces": {**text, "description": "`replaces` of `auth`"},
                        "returning": {"const": "1", "description": "a hint: the first frame brings `resume`"},
                    },
                },
            }
        },
        "x-close-codes": _close_codes(),
    }


def _close_codes() -> list[dict[str, Any]]:
    """What a close frame means, and whether to come back."""
    return [
        {"code": int(code), "meaning": meaning, "reconnect": reconnect}
        for cell, meaning, reconnect in docs.table("### Close codes")
        for code in docs.words(cell)
    ]


def _operations() -> dict[str, Any]:
    channel = {"$ref": "#/channels/socket"}

    def messages(*types: Frame) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/socket/messages/{m.__name__}"} for m in types]

    commands = {
        _lower(command.__name__): {
            "action": "receive",
            "channel": channel,
            "summary": _summary(command),
            "messages": messages(command),
            "reply": {"channel": channel, "messages": messages(*ANSWERS[command], Error)},
        }
        for command in COMMANDS
    }
    tell = {
        "action": "send",
        "channel": channel,
        "summary": "What comes without having been asked for.",
        "messages": messages(*UNASKED),
    }
    return {**commands, "tell": tell}


def _message(type: Frame) -> dict[str, Any]:
    message = {"name": str(type.__struct_config__.tag), "summary": _summary(type), "payload": ref(type)}
    if type in COMMANDS or type in ANSWERING:
        message["correlationId"] = {"$ref": "#/components/correlationIds/answer"}
    return message


def _schemas() -> dict[str, Schema]:
    events = schemas.written([*EVENTS, Snapshot])
    schemas.described(
        events,
        {
            ("SeatsJoined", "snapshot"): ref(Snapshot),
            ("SeatsSnapshot", "snapshot"): ref(Snapshot),
        },
    )
    for event in EVENTS:
        if event not in ANSWERING:
            del events[event.__name__]["properties"]["id"]
    for name, rule in RULES.items():
        events[name] |= rule
    events["Error"] |= _error(events["Error"])
    return dict(sorted((schemas.read(COMMANDS) | events | {"Details": schemas.DETAILS}).items()))


def _error(schema: Schema) -> Schema:
    """What each code means, and which details there may be."""
    rows = docs.table("### Errors")
    meanings = {code: row[2] for row in rows for code in docs.words(row[0])}
    told = [f"- `{code.value}`: {meanings[code.value]}" for code in Code]
    properties = schema["properties"]
    return {
        "properties": {
            **properties,
            "code": {**properties["code"], "description": "\n".join(told)},
            "retryable": {
                "type": "boolean",
                "description": "true for " + ", ".join(f"`{code.value}`" for code in sorted(RETRYABLE)),
            },
            "details": schemas.details(),
        }
    }


def _summary(type: Frame) -> str:
    return (type.__doc__ or "").partition("\n")[0].replace("``", "`")


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
