"""Fetching a JSON Web Key Set (RFC 7517, 5) in the background, without ever losing a good one.

The event loop never waits for the other end: downloads run in a thread, one at a time. Tokens name
their key with anything at all, so what they name makes us ask at most once in 10 s.
"""

import asyncio
import logging
import random
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
Key = TypeVar("Key")

REFRESH_SECONDS = 600.0
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
DEMAND_SECONDS = 10.0
"""An unknown key makes us ask at most so often."""
PATIENCE_SECONDS = 2.0
"""How long whoever verifies a token waits for the keys."""
FETCH_SECONDS = 5.0
MAX_BYTES = 1024 * 1024
CHUNK_BYTES = 65536


class KeySet(Generic[Key]):
    """The keys behind a URL. `run` it as a task; ``parse`` makes keys of a download, or raises ValueError."""

    def __init__(self, url: str, parse: Callable[[bytes], Sequence[Key]]) -> None:
        self._url = url
        self._parse = parse
        self._opener = _opener()
        self._flight: asyncio.Task[bool] | None = None
        self._asked_at = -DEMAND_SECONDS
        self.keys: Sequence[Key] = ()
        """The last good set."""

    async def run(self) -> None:
        """Keep the set fresh until cancelled."""
        failures = 0
        while True:
            failures = 0 if await self._fetch() else failures + 1
            await asyncio.sleep(_pause(failures))

    async def demand(self) -> None:
        """Fetch the set because a key is missing, unless that was tried a moment ago; wait for it a while."""
        now = time.monotonic()
        if self._flight is None and now - self._asked_at >= DEMAND_SECONDS:
            self._asked_at = now
            self._fetch()
        if self._flight is not None:
            await asyncio.wait({self._flight}, timeout=PATIENCE_SECONDS)

    def _fetch(self) -> "asyncio.Task[bool]":
        """The download under way, or a new one; its result is whether it brought a good set."""
        if self._flight is None:
            self._flight = asyncio.create_task(self._download(), name="key set")
        return self._flight

    async def _download(self) -> bool:
        try:
            self.keys = self._parse(await asyncio.to_thread(_read, self._opener, self._url))
        except Exception as error:  # whatever the other end says must not end this process
            log.warning("no keys from --jwt-jwks-url: %s", error)
            return False
        finally:
            # here and not in a callback of the task: a turn later somebody could take it for under way
            self._flight = None
        return True


def _pause(failures: int) -> float:
    """Seconds until the next download; spread, so that servers started together do not ask together."""
    if not failures:
        return REFRESH_SECONDS * random.uniform(0.8, 1.2)
    return min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10)) * random.uniform(
        0.5, 1
    )


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https, through a proxy where the environment names one. It follows no redirect: keys
    come from where the option says, or not at all."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _read(opener: urllib.request.OpenerDirector, url: str) -> bytes:
    """Download; runs in a thread.

    Raises:
        OSError, HTTPException, ValueError: it cannot be had, takes too long, or is too large.
    """
    end = time.monotonic() + FETCH_SECONDS
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})  # noqa: S310 - the scheme was checked with the options
    body = b""
    with opener.open(request, timeout=FETCH_SECONDS) as answer:
        while chunk := answer.read1(CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
            if time.monotonic() > end:
                raise TimeoutError(f"not read within {FETCH_SECONDS:g} s")
    return body
