"""The log lines of a real server: who called the API, and which connection a line is about."""

import json
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest

from handlers.audit import REFUSED_BURST, Audit, Call
from tests.conftest import Servers
from tests.support.api import Api
from tests.support.servers import ServerProcess
from tests.support.tokens import API_KEY, token
from tests.support.waiting import eventually

KEY = sha256(API_KEY.encode()).hexdigest()[:8]


async def audit_lines(server: ServerProcess, count: int) -> list[dict[str, Any]]:
    """The audit log, when it has so many lines."""

    def read() -> list[dict[str, Any]] | None:
        lines = [json.loads(line) for line in server.output.splitlines() if line.startswith("{")]
        found = [line for line in lines if line["logger"] == "keepseat.audit"]
        return found if len(found) >= count else None

    return await eventually(read, f"{count} calls are told of", 30)


async def test_each_call_of_the_api_is_a_line(servers: Servers) -> None:
    """Who, what, of whom, what came of it, how long, from where, and by which name the caller knows it too;
    never the key itself, nor what somebody without one says."""
    (server,) = servers(log_format="json")
    api, stray = Api(server), Api(server, key=token("1"))
    made = await api.put("/api/events/1", {"title": "E", "seats": ["A-1"]}, X_Request_Id="order-7")
    missed = await api.get("/api/users/mina/history")
    wrong = await stray.get(f"/api/users/{token('1')}")
    astray = await api.get(f"/api/users/{token('1')}/nowhere?key={quote(API_KEY)}")
    lines = await audit_lines(server, 4)

    said = [(line["key"], line["method"], line["path"], line["target"], line["status"]) for line in lines]
    assert [
        (KEY, "PUT", "/api/events/*", ["1"], 201),
        (KEY, "GET", "/api/users/*/history", ["mina"], 404),
        (None, "GET", "/api/users/*", [], 401),
        (KEY, "GET", "/api/**", [], 404),
    ] == said
    assert {"127.0.0.1"} == {line["address"] for line in lines}
    assert all(line["ms"] >= 0 and line["server"].startswith("i-") for line in lines)
    assert "order-7" == made.headers["x-request-id"] == lines[0]["request"]
    assert [a.headers["x-request-id"] for a in (missed, wrong, astray)] == [x["request"] for x in lines[1:]]
    assert API_KEY not in server.output
    assert "eyJ" not in server.output


async def test_what_is_no_call_is_a_line_too(servers: Servers) -> None:
    """What is refused before a key is asked for; and it is no mistake of ours."""
    (server,) = servers(log_format="json")
    api = Api(server)
    answers = [await api("FOO", "/api/events"), await api.get("/api/users/%ff")]
    lines = await audit_lines(server, len(answers))

    assert [405, 400] == [answer.status for answer in answers]
    assert [(None, 405), (None, 400)] == [(line["key"], line["status"]) for line in lines]
    assert "Traceback" not in server.output


def test_who_knocks_without_a_key_does_not_fill_the_disk(caplog: pytest.LogCaptureFixture) -> None:
    """Some are told, then only how many there were; who has the key is told of always."""
    caplog.set_level("INFO", "keepseat.audit")
    audit = Audit()
    stray = Call(None, "GET", "/api/**", [], 401, 1.0, "r", "::1")
    for _ in range(10_000):
        audit.write(stray)
    told = len(caplog.records)
    audit.write(stray._replace(key=KEY, status=200, request_id="mine"))
    fields: dict[str, Any] = caplog.records[-1].fields  # type: ignore[attr-defined]

    assert REFUSED_BURST <= told < 2000
    assert ("mine", 10_000 - told) == (fields["request"], fields.get("untold", 0) + _untold(caplog, told))


def _untold(caplog: pytest.LogCaptureFixture, told: int) -> int:
    """What lines before the last one said of those that were not told."""
    return sum(record.fields.get("untold", 0) for record in caplog.records[:told])  # type: ignore[attr-defined]
