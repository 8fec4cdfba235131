"""Hundreds are cut at once and come back together, while others come for the first time."""

import asyncio
import contextlib
import socket
import struct
from pathlib import Path
from typing import Any

from websockets.exceptions import InvalidHandshake

from bench.raw import RawClient, Refused
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.health import Rest
from tests.support.proxy import Proxy
from tests.support.raw import upgrade
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import token
from tests.support.waiting import eventually

ROOM = "event:123"
NEWCOMERS, MISSED = 80, 3


def crowd_size() -> int:
    """As many as the kernel lets wait before a server that does not move, and 300 at most."""
    return min(300, int(Path("/proc/sys/net/core/somaxconn").read_text()) - NEWCOMERS - 20)


async def take_part(server: ServerProcess, user: str) -> tuple[RawClient, dict[str, Any]]:
    """Sign in and join; the client, and what it resumes with."""
    client = await RawClient.open(server.port, {"type": "auth", "token": token(user)})
    own = (await client.expect("connected"))["userRoom"]
    client.send({"type": "join-event", "eventId": "123"})
    joined = await client.expect("event-joined")
    at = {room["room"]: {"epoch": room["epoch"], "offset": room["offset"]} for room in (own, joined)}
    return client, {"type": "auth", "token": token(user), "resume": at}


class Comer:
    """Comes to a server, and comes again when it is told to: a machine may be so slow that it is."""

    def __init__(self, server: ServerProcess, first: dict[str, Any], query: bytes) -> None:
        self._server = server
        self._first = first
        self._query = query
        self.client: RawClient

    async def open(self) -> None:
        self.client = await RawClient.open(self._server.port, self._first, self._query)

    async def persist(self, frame: str) -> dict[str, Any]:
        """Wait to be let in."""
        while True:
            try:
                return await self.client.expect(frame)
            except Refused as refused:
                if refused.code != 1013 or refused.retry_ms is None:
                    raise
                await asyncio.sleep(refused.retry_ms / 1000)
                await self.open()


async def test_who_comes_back_is_served_first(servers: Servers) -> None:
    """A server dies with 300 on it. They come to another one behind 80 newcomers, all at the same moment (it
    stands still until all are there): they are served first, with all that they missed. A health
    check that came last of all has its answer before half of them."""
    a, b = servers(2)
    before = [await take_part(a, f"u{n}") for n in range(crowd_size())]
    a.kill()
    await asyncio.gather(*(client.lost for client, _ in before))
    for n in range(MISSED):
        await Api(b).publish(ROOM, n)
    b.freeze()
    new = [Comer(b, {"type": "auth", "token": token(f"new{n}")}, b"") for n in range(NEWCOMERS)]
    old = [Comer(b, first, b"?returning=1") for _, first in before]
    for comer in (*new, *old):
        await comer.open()
    served: list[str] = []

    async def serve(comer: Comer, frame: str, kind: str) -> dict[str, Any]:
        heard = await comer.persist(frame)
        served.append(kind)
        return heard

    reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    async def check() -> None:
        await reader.readline()
        served.append("check")
        writer.close()

    starting = [asyncio.create_task(serve(comer, "connected", "new")) for comer in new]
    restoring = [asyncio.create_task(serve(comer, "session-restored", "old")) for comer in old]
    checking = asyncio.create_task(check())
    await asyncio.sleep(0)
    b.thaw()
    async with asyncio.timeout(60):
        await asyncio.gather(*starting, *restoring, checking)
    await eventually(lambda: all(comer.client.messages == MISSED for comer in old), "all has come", 30)

    half_are_back = [n for n, kind in enumerate(served) if kind == "old"][len(old) // 2]
    # 16 are in before the others are seen; of the rest one turn of 32 is theirs
    assert served[:half_are_back].count("new") < NEWCOMERS // 2
    assert served.index("check") < len(served) // 2
    for task in restoring:
        event = next(room for room in task.result()["rooms"] if room["room"] == ROOM)
        assert (True, MISSED) == (event["recovered"], event["missed"])
    for comer in (*old, *new):
        comer.client.drop()


async def test_who_is_sent_away_is_told_when_to_come_again(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """The store is away, and a hundred come, more than have a turn: each is told `unavailable`, closed with
    1013, and given a time of its own; nobody is told that the token came too late. Then they come again."""
    with Proxy(valkey.port) as store:
        (a,) = servers(redis_url=f"redis://127.0.0.1:{store.port}/0", auth_timeout=1.5)
        store.stall()

        async def come(n: int) -> Client:
            while True:
                # the first request has no longer than the first frame: on a slow machine it may come too late
                with contextlib.suppress(InvalidHandshake, ConnectionError):
                    return await connect(a, user=f"u{n}", wait=False)

        async def come_again(n: int) -> Client:
            while True:
                client = await come(n)
                with contextlib.suppress(AssertionError):  # not yet
                    await client.expect("connected", 60)
                    return client

        crowd = await asyncio.gather(*(come(n) for n in range(100)))
        ends = [await client.closed(60) for client in crowd]
        told = [await client.expect("error") for client in crowd]
        store.mend()
        await eventually(lambda: a.ready_status() == 200, "it is ready again", 30)
        async with asyncio.timeout(60):
            back = await asyncio.gather(*(come_again(n) for n in range(100)))

        assert [(1013, "unavailable")] * 100 == ends
        assert {("unavailable", True)} == {(frame["code"], frame["retryable"]) for frame in told}
        delays = [frame["details"]["retryAfterMs"] for frame in told]
        assert all(1000 <= delay <= 6000 for delay in delays)
        assert max(delays) - min(delays) > 1000
        assert all(client.is_open for client in back)


async def test_who_has_given_up_while_waiting_leaves_nothing(servers: Servers) -> None:
    """A hundred come to a server that stands still, and go before it moves: half of them say goodbye, half
    are reset. It finds nobody there, says nothing of it, and is as it was."""
    (server,) = servers()
    rest = Rest(server)
    server.freeze()
    for n in range(100):
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(upgrade(f"/ws?token={token(f'u{n}')}"))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", n % 2, 0))
    server.thaw()

    await rest.assert_regained()


async def test_who_waits_to_be_let_in_owes_no_pong(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """A token in the query is looked at before the first frame is read: a pong that comes meanwhile is not
    missed, and the client is told that the store is away, not that it was silent."""
    with Proxy(valkey.port) as store:
        (a,) = servers(redis_url=f"redis://127.0.0.1:{store.port}/0", ping_interval=0.3, ping_timeout=0.3)
        store.stall()
        client = await connect(a, user="u", via="query", wait=False)

        assert (1013, "unavailable") == await client.closed(60)
        store.mend()
