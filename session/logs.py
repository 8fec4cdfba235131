"""How log lines look: text for people, JSON for machines. Nothing here ever sees a token."""

import logging
import time

import msgspec


class JsonFormatter(logging.Formatter):
    """A line of JSON a record: ts (Unix seconds), level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def set_up(log_format: str) -> None:
    """Send all log records of INFO and above to stderr."""
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        formatter.converter = time.localtime
        handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Tornado says every malformed request at INFO, with the header that is wrong: a token may be in it
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
    # redis-py says every push reply at INFO
    logging.getLogger("push_response").setLevel(logging.WARNING)
