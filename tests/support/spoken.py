"""All that is said in a test, judged by the documents that we serve: the frames, and the answers over HTTP.

What a document lets a client expect is judged strictly: a field that it does not name is a breach too, though
clients are told to ignore such. A fixture in ``conftest.py`` asks for the breaches after each test.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft7Validator, Draft202012Validator, ValidationError

STATIC = Path(__file__).parents[2] / "static"
BREACHES: list[str] = []
"""What was said in this test that the documents do not know; at most `MOST`."""
MOST = 20
BAD = {"bad_json", "bad_message", "unknown_type"}
"""Answers to what is no command by the document, or by a rule that no schema can say."""

Frame = Mapping[str, Any]
Judge = Callable[[Any], None]


def heard(frame: Frame) -> None:
    """A frame came from the server: is it one, and are all its fields known?"""
    message = _messages().get(str(frame.get("type")))
    if message is None:
        _note(f"a frame of an unknown type: {frame}")
    else:
        _judge(message, frame)


def said(command: Frame) -> None:
    """A client that is ours sends nothing but commands."""
    name = str(command.get("type"))
    if name in _replies():
        _judge(_messages()[name], command)
    else:
        _note(f"a command of an unknown type: {command}")


def asked(command: Frame, answer: Frame) -> None:
    """A command was answered: is it one by the document, and the answer one of those that it may have?"""
    name = str(command.get("type"))
    if answer.get("code") in BAD:
        return
    replies = _replies().get(name)
    if replies is None:
        _note(f"{name} was answered, and is no command: {answer}")
        return
    if answer["type"] not in replies:
        _note(f"{name} was answered with {answer['type']}: {answer}")
    _judge(_messages()[name], command)


def answered(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """An answer came over HTTP: are its status, its type and its body in the document?"""
    call = f"{method} {path.partition('?')[0]}"
    known = next((answers for pattern, answers in _calls() if pattern.fullmatch(call)), None)
    if known is None or status == 405 or not headers.get("server", "").startswith("Tornado"):
        return  # no call of ours, or a balancer's own answer
    if status not in known:
        _note(f"{call}: {status} is no answer of it: {body[:300]!r}")
        return
    media_type, judge = known[status]
    came = headers.get("content-type", "").partition(";")[0]
    if body and came != media_type:
        _note(f"{call}: {status} came as {came!r}, not {media_type!r}")
    elif body and judge is not None:
        _judge((f"{call} {status}", judge), json.loads(body))


def forgotten() -> list[str]:
    """The breaches so far, which are forgotten."""
    breaches = BREACHES[:]
    BREACHES.clear()
    return breaches


def _judge(by: tuple[str, Judge], said: Any) -> None:
    name, judge = by
    try:
        judge(said)
    except ValidationError as error:
        where = "/".join(map(str, error.instance_path))
        _note(f"{name}: {where}: {error.message[:300]} in {json.dumps(said)[:500]}")


def _note(breach: str) -> None:
    if len(BREACHES) < MOST:
        BREACHES.append(breach)


# --- the documents ---


@cache
def _messages() -> dict[str, tuple[str, Judge]]:
    """Type of a frame -> the name of its schema, and what judges it."""
    document = read("asyncapi.json")
    sent = {Path(ref["$ref"]).name for ref in document["operations"]["tell"]["messages"]}
    for operation in document["operations"].values():
        sent |= {Path(ref["$ref"]).name for ref in operation.get("reply", {}).get("messages", ())}
    open_, closed_ = document["components"], closed(document["components"])
    return {
        message["name"]: (
            name,
            Draft7Validator(
                {**message["payload"], "components": closed_ if name in sent else open_}
            ).validate,
        )
        for name, message in document["components"]["messages"].items()
    }


@cache
def _replies() -> dict[str, set[str]]:
    """Command -> types of the frames that it may be answered with."""
    document = read("asyncapi.json")
    names = {name: message["name"] for name, message in document["components"]["messages"].items()}
    return {
        names[Path(operation["messages"][0]["$ref"]).name]: {
            names[Path(ref["$ref"]).name] for ref in operation["reply"]["messages"]
        }
        for operation in document["operations"].values()
        if operation["action"] == "receive"
    }


Answers = dict[int, tuple[str, Judge | None]]


@cache
def _calls() -> list[tuple[re.Pattern[str], Answers]]:
    """Each call as a pattern of ``METHOD /path``, and how it may be answered."""
    document = read("openapi.json")
    components = closed(document["components"])
    calls = []
    for path, item in document["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
        for method in item.keys() & {"get", "head", "put", "post", "delete"}:
            answers = {
                int(status): _answer(_found(document, response), components)
                for status, response in item[method]["responses"].items()
            }
            calls.append((re.compile(f"{method.upper()} {pattern}"), answers))
    return calls


def _answer(response: dict[str, Any], components: dict[str, Any]) -> tuple[str, Judge | None]:
    for media_type, content in response.get("content", {}).items():
        schema = {**content["schema"], "components": components}
        return media_type, None if media_type == "text/plain" else Draft202012Validator(schema).validate
    return "", None


def _found(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What a node refers to, or the node."""
    for name in node.get("$ref", "#").split("/")[1:]:
        document = document[name]
    return document if "$ref" in node else node


def closed(components: dict[str, Any]) -> dict[str, Any]:
    """The same, and no object may have a field that its schema does not name."""
    schemas = {
        name: {**schema, "additionalProperties": False}
        if "properties" in schema and "additionalProperties" not in schema
        else schema
        for name, schema in components["schemas"].items()
    }
    return {**components, "schemas": schemas}


def read(name: str) -> dict[str, Any]:
    """A document as it is served."""
    document: dict[str, Any] = json.loads((STATIC / name).read_text())
    return document
