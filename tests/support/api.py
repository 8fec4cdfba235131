"""A small client of the HTTP API, as the back end of a shop would have one."""

import asyncio
import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from tests.support import spoken
from tests.support.servers import ServerProcess
from tests.support.tokens import API_KEY


class Answer(NamedTuple):
    """Status, headers (names in lower case) and body; ``json`` is None where it is none."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any


class Api:
    """Calls to one server. Each is a coroutine; `request` is the blocking call behind them."""

    def __init__(self, server: ServerProcess | str, key: str | None = API_KEY) -> None:
        self._netloc = urlsplit(server if isinstance(server, str) else server.url).netloc
        self._key = key

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send JSON (or bytes as they are) and read the answer; ``_`` in a header's name is ``-``."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._key is not None:
            sent.setdefault("Authorization", f"Bearer {self._key}")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        line = http.client.HTTPConnection(self._netloc, timeout=30)
        try:
            line.request(method, path, data, sent)
            answer = line.getresponse()
            content = answer.read()
        finally:
            line.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        spoken.answered(method, path, answer.status, found, content)
        is_json = found.get("content-type", "").startswith("application/json")
        return Answer(answer.status, found, content, json.loads(content) if is_json and content else None)

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return await asyncio.to_thread(self.request, method, path, body, **headers)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self("GET", path, None, **headers)

    async def put(self, path: str, body: Any, **headers: str) -> Answer:
        return await self("PUT", path, body, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await self("POST", path, body, **headers)

    async def delete(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await self("DELETE", path, body, **headers)

    async def publish(self, room: str, data: Any, key: str = "") -> dict[str, Any]:
        """Publish into a room; where it was put."""
        headers = {"Idempotency_Key": key} if key else {}
        answer = await self.post(f"/api/rooms/{quote(room, safe='')}/messages", {"data": data}, **headers)
        assert answer.status == 201, answer
        result: dict[str, Any] = answer.json
        return result
