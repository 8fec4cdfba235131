"""Tokens as the back end of a shop would sign them."""

import time
from typing import Any

import jwt

SECRET = "a secret that the tests and their servers share"
API_KEY = "the api key of the tests"


def token(
    sub: str | int | None = "1",
    *,
    lifetime: float = 3600,
    secret: str = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A signed token; a claim given as None is left out."""
    now = time.time()
    payload = {"sub": sub, "iat": int(now), "exp": int(now + lifetime), **claims}
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(payload, secret, algorithm, headers)
