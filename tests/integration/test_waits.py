"""How long a user waits for the store: in steps, not in seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from session.config import parse
from session.connection import Connection
from session.events import EventDraft
from session.protocol import Since
from session.sale import Who
from session.services import Services, build
from session.store import Store
from session.turnstile import AT_ONCE
from tests.support.parts import Cluster
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET, token
from tests.support.waiting import eventually

mine: ContextVar[list[int] | None] = ContextVar("mine", default=None)
"""The depths of the calls that the sign-in under test has finished; None in any other task."""


class Client:
    """A transport that keeps what it is sent, and how many waits it took."""

    closed = False

    def __init__(self) -> None:
        self.frames = b""
        self.waits: dict[bytes, int] = {}

    def write(self, frames: bytes) -> None:
        self.frames += frames
        for kind in (b'"connected"', b'"session-restored"'):
            if kind in frames:
                self.waits[kind] = max(mine.get() or [0])

    def deliver(self, frames: bytes) -> bool:
        self.write(frames)
        return True

    def send(self, frames: bytes) -> int:
        self.write(frames)
        return len(frames)

    def backlog(self) -> int:
        return 0

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    abort = close


def count_depths(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is one deeper than the deepest that had been answered when it was asked."""

    def counted(ask: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            task = asyncio.current_task()
            # a room that is read again once its channel is heard keeps nobody waiting
            is_repair = task is not None and getattr(task.get_coro(), "__name__", "") == "_repair"
            finished = None if is_repair else mine.get()
            depth = 1 + max(finished or [0])
            answer = await ask(*args, **kwargs)
            if finished is not None:
                finished.append(depth)
            return answer

        return call

    monkeypatch.setattr(store, "script", counted(store.script))
    monkeypatch.setattr(store, "command", counted(store.command))


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Services]:
    """The parts of a server that a sign-in needs."""
    config = parse([f"--jwt-secret={SECRET}"], {})
    services = build(config, redis_url=url, secret=SECRET, api_key="")
    parts = (services.store, services.leases, services.listener, services.watch, services.janitor)
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        await eventually(lambda: services.listener.bell.canary_age() < 2, "the canary is heard")
        # without a lease the first script would be late, and wait for a renewal
        await eventually(lambda: services.leases.is_valid, "the lease is held")
        yield services
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sign_in(services: Services, **resume: Since) -> Client:
    """Sign a user in on these parts, as the socket handler does."""
    client = Client()
    connection = Connection(client, auth_timeout=60, ping_interval=60, ping_timeout=60, max_backlog=10**7)
    mine.set([])
    rooms = {name.replace("_", ":"): since for name, since in resume.items()}
    await services.entrance.sign_in(connection, token("mina", rooms=["chat:*"]), rooms or None)
    return client


async def test_two_waits_from_the_token_to_the_restored_session(
    valkey: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's script, then everything about the rooms at once: on a server that never had them open."""
    async with running(valkey.url) as before:
        await before.manager.update("mina", {"event_id": "1"}, join=[f"chat:{n}" for n in range(20)])
        positions = [await before.rooms.publish(f"chat:{n}", b"1", request_id="x") for n in range(3)]
    async with running(valkey.url) as services:
        count_depths(services.store, monkeypatch)
        stored = await asyncio.create_task(sign_in(services))
        resume = {f"chat_{n}": Since(p.epoch, 0) for n, p in enumerate(positions)}
    async with running(valkey.url) as services:
        count_depths(services.store, monkeypatch)
        resumed = await asyncio.create_task(sign_in(services, **resume))

    assert {b'"connected"': 1, b'"session-restored"': 2} == stored.waits
    assert {b'"connected"': 1, b'"session-restored"': 2} == resumed.waits
    assert stored.frames.count(b'"room":"chat:') == 20
    assert resumed.frames.count(b'"recovered":true') == 3


async def test_who_comes_while_the_lease_is_renewed_is_let_in(valkey: StoreProcess) -> None:
    """The first one after an outage renews it by asking, and its place is looked up under the new one."""
    async with running(valkey.url) as services:
        await services.events.put("42", EventDraft(title="A", capacity=1))
        await services.waiting_rooms.join("42", Who("mina"))
        await services.manager.update("mina", {"queue_event_id": "42"})
        services.store.clock.lease_end_ms = 1
        client = await asyncio.create_task(sign_in(services))

    assert b"unavailable" not in client.frames
    assert b'"status":"admitted"' in client.frames


async def test_the_janitor_knows_when_others_wait_to_sign_in(cluster: Cluster) -> None:
    """Who has gone makes way for them, unless this server goes too."""
    services = cluster.server(0).services
    turnstile = services.entrance.turnstile
    before = services.janitor.is_rush()
    for _ in range(AT_ONCE):
        await turnstile.enter(returning=True)
    waits = asyncio.create_task(turnstile.enter(returning=True))
    await eventually(lambda: turnstile.waiting, "somebody waits")

    rush = services.janitor.is_rush()
    services.hub.draining = True
    leaving = services.janitor.is_rush()
    turnstile.ended(0.0, None)
    await waits

    assert (False, True, False) == (before, rush, leaving)
