"""The audit log: who has called the back end's API, for what, and what came of it. A line a call."""

import logging
import re
import secrets
from hashlib import sha256
from typing import NamedTuple

from tornado.httputil import HTTPServerRequest

from handlers.allowance import Allowance

audit = logging.getLogger("keepseat.audit")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
MOST_CHARACTERS = 160
"""Of what names something; what is longer names nothing here, and may be a token in the wrong place."""
REFUSED_RATE, REFUSED_BURST = 10.0, 100.0
"""Calls without the right key that are told, a second: whoever knocks must not fill the disk."""


class Call(NamedTuple):
    """A call that has been answered."""

    key: str | None
    """The fingerprint of the API key; None where there was none, or a wrong one."""
    method: str
    path: str
    """With ``*`` for each part that names something; those are ``target``."""
    target: list[str]
    status: int
    ms: float
    request_id: str
    address: str


class Audit:
    """Writes the lines of one process."""

    def __init__(self) -> None:
        self._refused = Allowance(REFUSED_RATE, REFUSED_BURST)
        self._untold = 0

    def write(self, call: Call) -> None:
        """Tell of a call; of those without a key no more than a number a second, and how many those were."""
        if call.key is None and self._refused.wait_seconds():
            self._untold += 1
            return
        untold, self._untold = self._untold, 0
        fields = {
            "key": call.key,
            "method": _short(call.method),
            "path": call.path,
            # who has no key may say anything
            "target": [] if call.key is None else [_short(part) for part in call.target],
            "status": call.status,
            "ms": round(call.ms, 1),
            "request": call.request_id,
            "address": _short(call.address),
            **({"untold": untold} if untold else {}),
        }
        audit.info("%s", "refused" if call.key is None else "called", extra={"fields": fields})


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"({len(text)} characters)"


def fingerprint(request: HTTPServerRequest) -> str:
    """By which an API key is known: the first 8 digits of its SHA-256, as `sha256sum` says them."""
    key = request.headers.get("Authorization", "").partition(" ")[2].strip()
    return sha256(key.encode()).hexdigest()[:8]


def request_id(request: HTTPServerRequest) -> str:
    """The caller's ``X-Request-Id``, or one of our own."""
    given = request.headers.get("X-Request-Id", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
