"""What balancers, operators and Prometheus ask of a real server."""

import time
from typing import Any

import pytest

from tests.conftest import Connect, Servers
from tests.support.api import Answer, Api
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually


async def readiness(server: ServerProcess) -> Answer:
    return await Api(server, key=None).get("/readyz")


async def test_a_ready_server_names_each_check(servers: Servers) -> None:
    """200; nothing may keep the answer for later."""
    (server,) = servers()

    answer = await readiness(server)

    assert 200 == answer.status
    assert {"ready": True, "checks": {"store": True, "pubsub": True, "draining": False}} == answer.json
    assert "no-store" == answer.headers["cache-control"]


@pytest.mark.parametrize(("how", "failing"), [("freeze", {"pubsub"}), ("kill", {"store", "pubsub"})])
async def test_without_the_store_it_is_not_ready_but_alive(
    servers: Servers, valkey: StoreProcess, how: str, failing: set[str]
) -> None:
    """Whether the store is gone or silent; no answer waits for it (2 s). It comes back by itself."""
    (server,) = servers()
    getattr(valkey, how)()
    try:
        answer = await eventually(lambda: refused_for(server, failing), f"{failing} fail")
        slowest = max([await seconds(server, "/readyz") for _ in range(20)])
        alive = await Api(server, key=None).get("/healthz")
    finally:
        valkey.thaw() if how == "freeze" else valkey.start()
    back = await eventually(lambda: is_ready(server), "it is ready again")

    assert not answer.json["ready"]
    # less than one attempt to reach the store takes (0.5 s): none was made
    assert slowest < 0.5
    assert 200 == alive.status
    assert back


async def refused_for(server: ServerProcess, failing: set[str]) -> Answer | None:
    answer = await readiness(server)
    false = {name for name, value in answer.json["checks"].items() if not value}
    return answer if answer.status == 503 and failing <= false else None


async def is_ready(server: ServerProcess) -> bool:
    return (await readiness(server)).status == 200


async def seconds(server: ServerProcess, path: str) -> float:
    started = time.monotonic()
    await Api(server, key=None).get(path)
    return time.monotonic() - started


async def test_a_draining_server_wants_no_traffic(servers: Servers, connect: Connect) -> None:
    """From SIGTERM on, while its connections are sent elsewhere, it says 503 and why."""
    (server,) = servers(drain_seconds=10)
    # it answers no goodbye, or the server would have left a moment after it, which may be at once
    (await connect(server)).pause()
    server.signal(15)

    answer = await eventually(lambda: refused_for(server, set()), "the server says that it is not ready")

    assert {"ready": False, "checks": {"store": True, "pubsub": True, "draining": True}} == answer.json


async def test_metrics_are_text_for_prometheus(servers: Servers, connect: Connect) -> None:
    """With the connections of this server, and no user's id in any label."""
    (server,) = servers()
    await connect(server, user="somebody")

    answer = await Api(server, key=None).get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert b"\nkeepseat_connections 1.0\n" in answer.body
    assert b"somebody" not in answer.body


async def test_balancers_may_ask_by_head(servers: Servers) -> None:
    """The same status without the body."""
    (server,) = servers()
    api = Api(server, key=None)

    answers: list[Any] = [await api("HEAD", path) for path in ("/healthz", "/readyz")]

    assert [(200, b"")] * 2 == [(answer.status, answer.body) for answer in answers]
