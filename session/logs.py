"""How log lines look: text for people, JSON for machines. Nothing here ever sees a token.

What a line is about comes beside its message, as ``extra={"fields": {...}}``: the connection and the user
(`Connection.about`), or what an audit line has.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    server = getattr(record, "server", "")
    return ({"server": server} if server else {}) | getattr(record, "fields", {})


class JsonFormatter(logging.Formatter):
    """A line of JSON a record: ts (Unix seconds), level, logger, message, server, what it is about, and the
    traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """Time, level, logger, message, and what it is about as ``name=value``: in JSON, so that nothing that
    somebody sent begins a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self.converter = time.localtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line before the traceback."""
        about = getattr(record, "fields", {})
        return super().formatMessage(record) + "".join(
            f" {name}={msgspec.json.encode(value).decode()}" for name, value in about.items()
        )


def set_up(log_format: str) -> None:
    """Send all log records of INFO and above to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Tornado says every malformed request at INFO, with the header that is wrong: a token may be in it
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
    # redis-py says every push reply at INFO
    logging.getLogger("push_response").setLevel(logging.WARNING)


def name_server(name: Callable[[], str]) -> None:
    """From now on lines say which server of all speaks; its name may change."""

    def bind(record: logging.LogRecord) -> bool:
        record.server = name()
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(bind)
