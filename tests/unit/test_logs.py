"""Log lines: what each says beside its message."""

import json
import logging
import time
from typing import Any

import pytest

from session.connection import Connection
from session.identity import Identity
from session.logs import JsonFormatter, TextFormatter


class Silent:
    """A transport of which nothing is asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def record(extra: dict[str, Any], server: str = "") -> logging.LogRecord:
    made = logging.getLogger("x").makeRecord("x", logging.INFO, "f", 1, "it %s", ("went",), None, extra=extra)
    if server:
        made.server = server
    return made


def connection() -> Connection:
    return Connection(Silent(), auth_timeout=1, ping_interval=1, ping_timeout=1, max_backlog=1)


def test_a_line_says_which_connection_it_is_about() -> None:
    """And which user, as soon as that is known; and which server speaks."""
    stranger, known = connection(), connection()
    known.socket_id = "e4abc"
    known.sign_in(Identity("mina", "user", int(time.time()) + 60, None, ("t:1",)))
    lines = [json.loads(JsonFormatter().format(record(c.about, "i-1"))) for c in (stranger, known)]
    for line in lines:
        del line["ts"]

    said = {"level": "info", "logger": "x", "message": "it went", "server": "i-1"}
    assert [said, {**said, "connection": "e4abc", "user": "mina"}] == lines


def test_a_line_of_text_says_it_too() -> None:
    """What somebody sent begins no line of its own."""
    line = TextFormatter().format(record({"fields": {"user": "mina", "target": ["a\n12:00:00 forged"]}}))

    assert line.endswith(r'x: it went user="mina" target=["a\n12:00:00 forged"]')
    assert "\n" not in line


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_is_kept(formatter: logging.Formatter) -> None:
    """Behind what the line is about."""
    try:
        raise ValueError("broken")
    except ValueError as error:
        made = record({"fields": {"user": "mina"}})
        made.exc_info = (type(error), error, error.__traceback__)
    line = formatter.format(made)

    assert "ValueError: broken" in line
    assert line.index("mina") < line.index("ValueError")
