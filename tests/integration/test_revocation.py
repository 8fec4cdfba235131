"""The back end revokes a token, a sign-in or a user: on every server, over restarts of the store."""

import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET

from session import keys
from session.config import Config
from session.manager import Checked
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.parts import Server, Tab
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import token
from tests.support.waiting import eventually

REVOKED = (3000, "token_revoked")
PATIENCE = 30.0
"""Seconds: a loaded machine is no defect."""


def aged(user: str, **claims: Any) -> str:
    """A token that was issued a while ago."""
    return token(user, iat=int(time.time()) - 60, **claims)


async def revoke(server: ServerProcess, user: str, **order: Any) -> Any:
    answer = await Api(server).post(f"/api/users/{user}/revoke", order)
    assert answer.status == 202, answer
    return answer.json


async def closes(clients: list[Client]) -> list[tuple[int, str]]:
    return [await client.closed(PATIENCE) for client in clients]


async def test_what_is_revoked_ends_everywhere(servers: Servers, connect: Connect) -> None:
    """A token, a sign-in, then all that a user has: each closes what came with it on both servers, is let in
    on neither, not by renewal either, and leaves the rest alone. Seats outlive it; a token that is issued
    afterwards is good."""
    a, b = servers(2)
    await Api(a).put("/api/events/hall", {"title": "Hall", "seats": ["A-1", "A-2"]})
    tokens = [
        aged("mina", jti="a", sid="s"), aged("mina", jti="b", sid="s"), aged("mina", jti="c", sid="t"),
        aged("mina"), aged("jun", jti="a", sid="s"),
    ]  # fmt: skip
    pairs = [[await connect(server, token=text) for server in (a, b)] for text in tokens]
    orders: list[tuple[ServerProcess, dict[str, Any], int]] = [
        (a, {"jti": "a"}, 1), (b, {"sid": "s", "expiresAt": int(time.time() + 7200) * 1000}, 2),
        (a, {"all": True, "expiresAt": int(time.time() + 60) * 1000}, 4),
    ]  # fmt: skip
    await pairs[0][0].do("hold-seats", eventId="hall", seats=["A-1"])
    answers = []
    for server, order, gone in orders:
        over = [client for pair in pairs[:gone] for client in pair if client.is_open]
        answers.append(await revoke(server, "mina", **order))
        assert [REVOKED] * len(over) == await closes(over)
        late = [await connect(at, token=text, wait=False) for text in tokens[:gone] for at in (a, b)]
        assert [REVOKED] * len(late) == await closes(late)
        for client in (client for pair in pairs[gone:] for client in pair):
            await client.do("ping")
    # by the signer's clock later than the revocation
    back = await connect(b, token=token("mina", iat=int(time.time()) + 2))
    restored = await back.expect("session-restored", PATIENCE)
    await back.send("auth", token=tokens[2])

    assert {"userId": "mina", "keptUntil": answers[1]["keptUntil"], "replicated": None} == answers[1]
    assert answers[1]["keptUntil"] - 65_000 == orders[1][1]["expiresAt"]
    assert answers[0]["keptUntil"] > (time.time() + 14 * 86_400) * 1000
    # refresh tokens may live so long, whatever is said of the others
    assert answers[2]["keptUntil"] > (time.time() + 14 * 86_400) * 1000
    assert ["A-1"] == restored["seats"]["held"]
    assert REVOKED == await back.closed(PATIENCE)


async def test_a_revocation_whose_notice_was_lost_is_found(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """What pub/sub never told is found by the counter of the user's bucket, and the connections close."""
    (server,) = servers()
    mina, jun = await connect(server, token=aged("mina", jti="a")), await connect(server, token=aged("jun"))
    now = int(time.time() * 1000)
    valkey.client.zadd(keys.user("mina").revoked, {"j:a": now + 600_000})
    valkey.client.set(keys.user("jun").cut, now, px=600_000)
    for user in ("mina", "jun"):
        valkey.client.incr(keys.user(user).counter)

    assert [REVOKED, REVOKED] == await closes([mina, jun])


async def test_a_revocation_during_a_renewal_is_not_missed(
    valkey: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new token is revoked after the store was asked about it, and the notice comes before its answer:
    the connection closes all the same."""
    server = await Server.start(Config(), valkey.url)
    services, tab = server.services, Tab(server, "mina")
    known, bucket, ask = services.listener.notices.known, keys.bucket("mina"), services.manager.check

    async def check(user_id: str) -> Checked:
        answer = await ask(user_id)
        monkeypatch.setattr(services.manager, "check", ask)
        before = known.get(bucket)
        await services.sign_ins.revoke_for_back_end("mina", "j:b")
        await eventually(lambda: known.get(bucket) != before, "the notice was heard", PATIENCE)
        return answer

    try:
        await tab.sign_in()
        monkeypatch.setattr(services.manager, "check", check)
        await services.entrance.renew(tab.connection, token("mina", jti="b"), UNSET)
        await eventually(lambda: not tab.is_open, "the connection is closed", PATIENCE)
    finally:
        await server.stop()

    assert "token_revoked" == tab.heard[-1]["code"]


async def test_revocations_outlive_a_restart_of_the_store(
    own_store: Callable[..., StoreProcess], servers: Servers, connect: Connect
) -> None:
    """A store that comes back with its data lets nothing of them in, on either server, nor refreshes. One
    that comes back without has forgotten them, as docs/security.md says; no refresh token is good then."""
    store = own_store(appendonly="yes")
    a, b = servers(2, redis_url=store.url, demo="true")
    login = (await Api(a, key=None).post("/auth/login", {"name": "jun"})).headers["set-cookie"]
    cookie = login.partition(";")[0]
    tokens = [aged("mina", jti="a"), aged("mina", sid="s"), aged("jun")]
    await revoke(a, "mina", jti="a")
    await revoke(b, "mina", sid="s")
    await revoke(a, "jun", all=True)

    async def ready() -> None:
        for server in (a, b):
            await eventually(lambda server=server: server.ready_status() == 200, "it is ready", 60)  # type: ignore[misc]

    async def outcome(server: ServerProcess, text: str) -> tuple[int, str] | None:
        """How a connection is refused; None where it is let in, which is tried until the store says."""
        while True:
            client = await connect(server, token=text, wait=False)
            first = await client.next(PATIENCE)
            if first["type"] == "connected":
                return None
            if first["code"] != "unavailable":
                return await client.closed(PATIENCE)

    store.stop()
    store.start()
    await ready()
    with_data = [await outcome(server, text) for server in (a, b) for text in tokens]
    refreshed = await Api(b, key=None).post("/auth/refresh", None, Cookie=cookie)
    store.stop()
    shutil.rmtree(store.folder / "appendonlydir")
    store.start()
    await ready()
    without = [await outcome(server, text) for server in (a, b) for text in tokens]
    again = await Api(b, key=None).post("/auth/refresh", None, Cookie=cookie)

    assert [REVOKED] * 6 == with_data
    assert [None] * 6 == without
    assert [401, 401] == [refreshed.status, again.status]
    assert ["token_revoked"] * 2 == [answer.json["error"]["code"] for answer in (refreshed, again)]
