"""A server dies, freezes, or the line to it is lost; the user comes to another, and nothing is missing."""

import asyncio
import random
from typing import Any

import pytest

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

EVENT = "event:123"


def lose(how: str, server: ServerProcess, proxy: Proxy) -> None:
    """Take the server, or only the line to it, away from the client."""
    if how == "killed":
        server.kill()
    elif how == "frozen":
        server.freeze()
    else:
        proxy.stall()


@pytest.mark.parametrize("how", ["killed", "frozen", "line lost"])
async def test_who_loses_the_server_misses_nothing(how: str, servers: Servers, connect: Connect) -> None:
    """A user in a room on A, A gone, five messages published, the user connects to B: session-restored,
    the five messages once each in order, then live ones."""
    a, b, c = servers(3)
    with Proxy(a.port) as proxy:
        before = await connect(f"ws://127.0.0.1:{proxy.port}/ws", user="mina")
        await before.do("join-event", eventId="123")
        await Api(c).publish(EVENT, "seen")
        await before.expect_messages(EVENT, 1)

        lose(how, a, proxy)
        for n in range(5):
            await Api(b).publish(EVENT, n)
        old = before.connected["socketId"]
        after = await connect(b, user="mina", resume=before.resume(), replaces=old)
        restored = await after.expect("session-restored")
        missed = await after.expect_messages(EVENT, 5)
        await Api(c).publish(EVENT, "live")
        live = await after.expect_messages(EVENT, 1)

        assert restored["session"]["eventId"] == "123"
        verdict = next(room for room in restored["rooms"] if room["room"] == EVENT)
        assert {"recovered": True, "missed": 5, "offset": 6} == {
            k: verdict[k] for k in ("recovered", "missed", "offset")
        }
        assert [0, 1, 2, 3, 4] == missed
        assert ["live"] == live
        assert ["session-restored"] + ["message"] * 6 == [
            f["type"] for f in after.frames if f["type"] in {"session-restored", "message"}
        ]
        after.assert_contiguous()


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
async def test_a_thawed_server_cannot_undo_what_happened_meanwhile(
    told: bool, servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """The old connection still stands on a frozen server with commands in its buffer; after the thaw they
    change nothing, and it is closed as replaced, whether or not the server ever hears the notice."""
    a, b = servers(2)
    before = await connect(a, user="mina")
    await before.do("join-event", eventId="123")
    a.freeze()
    await before.send("leave-event", eventId="123")
    await before.send("update-session", data={"stale": True})
    after = await connect(b, user="mina", replaces=before.connected["socketId"])
    await after.expect("session-restored")
    await after.do("update-session", data={"fresh": True})

    if not told:
        valkey.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    a.thaw()
    closed = await before.closed()
    user = (await Api(b).get("/api/users/mina")).json

    assert (4000, "replaced") == closed
    assert "123" == user["session"]["eventId"]
    assert {"fresh": True} == user["session"]["data"]
    assert [after.connected["socketId"]] == [c["socketId"] for c in user["connections"]]


async def test_sockets_of_a_killed_server_vanish(servers: Servers, connect: Connect) -> None:
    """The connections of a server that was killed are not listed after 30 s, and the session stands."""
    a, b = servers(2)
    gone = await connect(a, user="mina")
    await gone.do("join-event", eventId="123")
    api = Api(b)
    assert 1 == len((await api.get("/api/users/mina")).json["connections"])
    a.kill()

    async def swept() -> bool:
        return (await api.get("/api/users/mina")).json["connections"] == []

    await eventually(swept, "its socket is listed no more", 30)

    assert "123" == (await api.get("/api/users/mina")).json["session"]["eventId"]


@pytest.mark.timeout(300)
@pytest.mark.gen_test(timeout=280)
async def test_every_client_sees_every_message_exactly_once(servers: Servers, connect: Connect) -> None:
    """1,000 messages while 20 clients drop and return to random servers."""
    nodes = servers(3)
    count, users = 1000, 20
    chance = random.Random(7)
    everyone = asyncio.Barrier(users + 1)

    async def publish() -> None:
        api = Api(nodes[0])
        for n in range(count):
            await api.publish(EVENT, n)

    async def live(user: str) -> tuple[list[Any], int]:
        seen: list[Any] = []
        client = await connect(chance.choice(nodes), user=user)
        await client.do("join-event", eventId="123")
        await everyone.wait()
        drops = 0
        while len(seen) < count:
            upto = len(client.messages(EVENT)) + chance.randint(20, 120)
            await _hear(client, min(upto, count - len(seen)))
            await client.drop()
            client.assert_contiguous()
            seen += client.messages(EVENT)
            if len(seen) < count:
                drops += 1
                client = await connect(chance.choice(nodes), user=user, resume=client.resume())
        return seen, drops

    lives = [asyncio.create_task(live(f"u{n}")) for n in range(users)]
    await everyone.wait()
    await publish()
    results = await asyncio.gather(*lives)

    for seen, drops in results:
        assert list(range(count)) == seen
        assert drops >= 5


async def _hear(client: Client, count: int) -> None:
    """Wait until a client has heard so many messages in all."""
    async with asyncio.timeout(60):
        while len(client.messages(EVENT)) < count and client.is_open:
            await asyncio.sleep(0.005)


async def test_two_tabs_on_two_servers_lose_no_update(servers: Servers, connect: Connect) -> None:
    """Two tabs update different session fields at once over two servers, 500 times: nothing is lost."""
    a, b = servers(2, message_rate=10000, message_burst=10000)
    left, right = await connect(a, user="mina"), await connect(b, user="mina")

    async def update(client: Client, side: str) -> None:
        for n in range(500):
            await client.do("update-session", data={f"{side}{n % 50}": n, side: n})

    await asyncio.gather(update(left, "l"), update(right, "r"))
    data = (await Api(a).get("/api/users/mina")).json["session"]["data"]

    expected = {"l": 499, "r": 499}
    expected |= {f"{side}{n}": 450 + n for side in "lr" for n in range(50)}
    assert expected == data
