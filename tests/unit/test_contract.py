"""The documents for machines: true to the code, to the docs, and to their own specifications."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator, Draft202012Validator, meta
from openapi_spec_validator import OpenAPIV31SpecValidator

import handlers
from contract import asyncapi
from contract.__main__ import DOCUMENTS, text
from contract.docs import ROOT
from handlers.api import NoSuchCall
from handlers.pages import File, Page
from session.protocol import COMMAND_TYPES, Close, Code, Event
from tests.support import spoken

METHODS = {"get", "head", "put", "post", "delete", "patch"}
FOR_PEOPLE = {Page, File, NoSuchCall}
"""Handlers of pages, and of what there is not."""
ANYTHING = {("Message", "data"), ("Ping", "t"), ("Pong", "t"), ("Publish", "data"), ("NewMessage", "data")}
"""Fields that may hold any JSON."""


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_the_documents_say_what_the_code_says(name: str) -> None:
    """Where this fails, `make spec` writes them anew."""
    assert text(name) == (ROOT / "static" / name).read_text()


def test_the_openapi_document_is_one() -> None:
    """By the specification's own schema, and its rules beyond."""
    errors = OpenAPIV31SpecValidator(spoken.read("openapi.json")).iter_errors()

    assert [] == [str(error) for error in errors]


@pytest.mark.parametrize(
    ("name", "draft"),
    [
        ("openapi.json", "https://json-schema.org/draft/2020-12/schema"),
        ("asyncapi.json", "http://json-schema.org/draft-07/schema"),
    ],
)
def test_every_schema_is_one(name: str, draft: str) -> None:
    """By the draft that the specification names; all that it refers to is there."""
    components = spoken.read(name)["components"]
    judge = {"openapi.json": Draft202012Validator, "asyncapi.json": Draft7Validator}[name]

    assert len(components["schemas"]) > 20
    for schema_name, schema in components["schemas"].items():
        assert meta.is_valid({"$schema": draft, **schema}), schema_name
        judge({**schema, "components": components})
    assert ANYTHING >= {
        (schema_name, field)
        for schema_name, schema in components["schemas"].items()
        for field, shape in schema.get("properties", {}).items()
        if shape == {}
    }


def test_every_call_is_described() -> None:
    """Each route with each of its methods, and none that there is not."""
    described = {
        (method, path)
        for path, item in spoken.read("openapi.json")["paths"].items()
        for method in item.keys() & METHODS
    }
    there = set()
    for pattern, handler in routes():
        paths = {path for _, path in described if re.fullmatch(pattern, re.sub(r"\{\w+\}", "x", path))}
        methods = {method for method in METHODS if is_there(handler, method)}
        there |= {(method, path) for path in paths or {pattern} for method in methods}

    assert there == described


def routes() -> Iterator[tuple[str, type[Any]]]:
    """All routes of all handlers, but those of pages."""
    for module in pkgutil.iter_modules(handlers.__path__, "handlers."):
        for pattern, handler, *_ in getattr(importlib.import_module(module.name), "ROUTES", ()):
            if handler not in FOR_PEOPLE:
                yield pattern, handler


def is_there(handler: type[Any], method: str) -> bool:
    """Whether a handler has a method of its own, or of a class of ours."""
    found = getattr(handler, method, None)
    return callable(found) and found.__module__.startswith("handlers.")


def test_every_frame_is_described() -> None:
    """All commands with their answers, all events, all codes; each message is in some operation."""
    document = spoken.read("asyncapi.json")
    names = {message["name"] for message in document["components"]["messages"].values()}
    close_codes = {close["code"] for close in document["channels"]["socket"]["x-close-codes"]}
    code = document["components"]["schemas"]["Error"]["properties"]["code"]
    used = {
        name
        for name in document["components"]["messages"]
        if f'/{name}"' in json.dumps(document["operations"])
    }

    assert COMMAND_TYPES | {str(event.__struct_config__.tag) for event in Event.__subclasses__()} == names
    assert document["components"]["messages"].keys() == used
    assert set(asyncapi.COMMANDS) == asyncapi.ANSWERS.keys()
    assert {int(close) for close in Close} <= close_codes
    assert [c.value for c in Code] == code["enum"]
    assert [] == [c.value for c in Code if f"`{c.value}`:" not in code["description"]]


def test_the_examples_of_the_docs_are_frames() -> None:
    """Each whole frame that ``docs/protocol.md`` shows."""
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "protocol.md").read_text(), re.DOTALL)
    frames = [frame for frame in map(json.loads, blocks) if "type" in frame]
    for frame in frames:
        spoken.heard(frame)
    breaches = spoken.forgotten()

    assert len(frames) > 5
    assert [] == breaches


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param({"type": "nonsense"}, id="another type"),
        pytest.param({"type": "room-left"}, id="a field is missing"),
        pytest.param({"type": "room-left", "room": 7}, id="another type of field"),
        pytest.param({"type": "room-left", "room": "chat:1", "who": "me"}, id="an unknown field"),
        pytest.param({"type": "room-left", "room": "chat:1", "id": True}, id="an id that is none"),
        pytest.param({"type": "pong", "t": 1, "serverTime": -1}, id="a time before time"),
        pytest.param(
            {"type": "queue-joined", "eventId": "1", "room": "queue:1", "epoch": "e", "offset": 0,
             "status": "waiting", "expiresAt": None, "pass": None}, id="fields of another status",
        ),
        pytest.param(
            {"type": "error", "code": "not_found", "message": "", "retryable": False, "details": {"x": 1}},
            id="an unknown detail",
        ),
    ],
)  # fmt: skip
def test_a_frame_that_is_none_is_noticed(frame: dict[str, Any]) -> None:
    """What judges all frames of all tests can say no."""
    spoken.heard(frame)
    breaches = spoken.forgotten()

    assert 1 == len(breaches)


def test_an_answer_that_is_none_is_noticed() -> None:
    """Another status, another type, another body; what is right is not."""
    server = {"server": "TornadoServer/6"}
    as_json = {**server, "content-type": "application/json; charset=utf-8"}
    spoken.answered("GET", "/healthz", 200, as_json, b'{"alive":true}')
    spoken.answered("GET", "/api/events/1?x=1", 404, as_json, b'{"error":{"code":"not_found","message":""}}')
    good = spoken.BREACHES[:]
    spoken.answered("GET", "/healthz", 201, as_json, b'{"alive":true}')
    spoken.answered("GET", "/healthz", 200, {**server, "content-type": "text/html"}, b"<p>")
    spoken.answered("GET", "/healthz", 200, as_json, b'{"alive":true,"secret":1}')
    spoken.answered("GET", "/api/events/1", 404, as_json, b'{"error":{"code":"conflict","message":""}}')
    breaches = spoken.forgotten()

    assert [] == good
    assert 4 == len(breaches)


def test_a_command_that_was_taken_is_one() -> None:
    """A command that the document does not know, and an answer that is another command's."""
    spoken.asked({"type": "ping", "id": 1}, {"type": "pong", "id": 1, "serverTime": 1})
    spoken.asked(
        {"type": "join-room", "room": "??", "id": 1}, {"type": "error", "code": "bad_message", "id": 1}
    )
    spoken.said({"type": "leave-room", "room": "chat:1"})
    good = spoken.BREACHES[:]
    spoken.asked({"type": "join-room", "room": "??", "id": 1}, {"type": "room-joined", "id": 1})
    spoken.asked({"type": "ping", "id": 1}, {"type": "room-joined", "id": 1})
    spoken.asked({"type": "pling", "id": 1}, {"type": "pong", "id": 1})
    spoken.said({"type": "leave-room"})
    spoken.said({"type": "room-left", "room": "chat:1"})
    breaches = spoken.forgotten()

    assert [] == good
    assert 5 == len(breaches)
