"""Behind a sticky balancer, as an AWS ALB is one: HAProxy with the configuration of ``deploy/``."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.balancer import Balancer, cookie_of, haproxy_binary
from tests.support.client import Client
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import token as make_token
from tests.support.waiting import eventually

EVENT = "event:123"

Balance = Callable[..., Balancer]


@pytest.fixture
def balance() -> Iterator[Balance]:
    """Puts a balancer in front of servers: ``balancer = balance(a, b, idle="5s")``."""
    binary = haproxy_binary()
    if binary is None:
        pytest.skip("needs Debian's haproxy")
    made: list[Balancer] = []

    def start(*servers: ServerProcess, **options: Any) -> Balancer:
        made.append(Balancer(binary, list(servers), **options))
        made[-1].start()
        return made[-1]

    yield start
    for balancer in made:
        balancer.stop()


def server_of(client: Client, servers: list[ServerProcess]) -> ServerProcess:
    """The server that a client has come to."""
    name = client.connected["instance"]
    return next(server for server in servers if f"server {name} listens" in server.output)


async def connect_to(
    server: ServerProcess, servers: list[ServerProcess], connect: Connect, balancer: Balancer
) -> Client:
    """Come to this one: the next goes where there are fewest."""
    for _ in range(6):
        client = await connect(balancer.ws_url, user="mina")
        if server_of(client, servers) is server:
            return client
    raise AssertionError(f"nobody comes to {server.url}")


async def let_in(connecting: Callable[[], Awaitable[Client]]) -> Client:
    """Connect; where the balancer just then knows of no server that is well, try again, as clients do."""

    async def attempt() -> Client | None:
        try:
            return await connecting()
        except InvalidStatus as refused:
            if refused.response.status_code != 503:
                raise
            return None

    client = await eventually(attempt, "somebody takes the client in", 30)
    assert client is not None
    return client


async def come_back(connect: Connect, balancer: Balancer, before: Client) -> Client:
    """Connect as the page does: the browser has kept the cookie, and the client its positions."""
    after = await let_in(
        lambda: connect(balancer.ws_url, user="mina", before=before, headers=cookie_of(before))
    )
    restored = await after.expect("session-restored")
    assert [True] * len(restored["rooms"]) == [room["recovered"] for room in restored["rooms"]]
    return after


async def test_the_cookie_leads_to_the_same_server(
    servers: Servers, balance: Balance, connect: Connect
) -> None:
    """With the cookie to the same server, time and again; who has none is sent where there are fewest; and
    the session is there in either case."""
    both = servers(2)
    balancer = balance(*both)
    first = await connect(balancer.ws_url, user="mina")
    await first.do("join-event", eventId="123")
    again = [await come_back(connect, balancer, first) for _ in range(4)]
    without = await connect(balancer.ws_url, user="mina")
    restored = await without.expect("session-restored")

    home = first.connected["instance"]
    assert [home] * 4 == [client.connected["instance"] for client in again]
    assert home != without.connected["instance"]
    assert "123" == restored["session"]["eventId"]


async def test_a_server_that_is_taken_out(servers: Servers, balance: Balance, connect: Connect) -> None:
    """Its lines end; the client, whose cookie still names it, lands elsewhere and has missed nothing."""
    both = servers(2)
    balancer = balance(*both)
    before = await connect(balancer.ws_url, user="mina")
    await before.do("join-event", eventId="123")
    home = server_of(before, both)
    balancer.deregister(home)
    await before.closed()
    await Api(home).publish(EVENT, "missed")
    after = await come_back(connect, balancer, before)
    missed = await after.expect_messages(EVENT, 1)

    assert home is not server_of(after, both)
    assert ["missed"] == missed
    after.assert_contiguous()


async def test_who_is_sent_away_is_taken_in_at_once(
    servers: Servers, balance: Balance, connect: Connect
) -> None:
    """A server drains, and no check has failed yet: the cookie still names it, and its no is not what the
    client gets to hear."""
    (leaving,) = servers(drain_seconds=60)
    (staying,) = servers()
    balancer = balance(leaving, staying, fall=100_000)
    before = await connect_to(leaving, [leaving, staying], connect, balancer)
    await before.do("join-event", eventId="123")
    leaving.signal(signal.SIGTERM)
    await before.expect("reconnect", 30)
    after = await connect(balancer.ws_url, user="mina", before=before, headers=cookie_of(before))
    restored = await after.expect("session-restored", 30)

    assert staying is server_of(after, [leaving, staying])
    assert [True, True] == [room["recovered"] for room in restored["rooms"]]


async def test_who_had_come_to_one_that_dies_is_taken_in(
    servers: Servers, balance: Balance, connect: Connect
) -> None:
    """It has accepted the connection and not yet answered, and no check has failed: another answers."""
    both = servers(2)
    balancer = balance(*both, fall=100_000)
    before = await connect(balancer.ws_url, user="mina")
    await before.do("join-event", eventId="123")
    home = server_of(before, both)
    home.freeze()
    connecting = asyncio.create_task(
        connect(balancer.ws_url, user="mina", before=before, headers=cookie_of(before))
    )
    await eventually(lambda: balancer.lines_to(home) == 2, "the balancer waits for an answer")
    home.kill()
    after = await connecting
    restored = await after.expect("session-restored", 30)

    assert home is not server_of(after, both)
    assert [True, True] == [room["recovered"] for room in restored["rooms"]]


@pytest.mark.parametrize("how", ["frozen", "without its store"])
async def test_an_unhealthy_server_gets_nobody(
    how: str, servers: Servers, balance: Balance, connect: Connect, valkey: StoreProcess
) -> None:
    """Frozen, or the store out of its reach alone: nobody new comes to it, whatever the cookie says; who
    stands there is not thrown out."""
    with Proxy(valkey.port) as store:
        (sick,) = servers(redis_url=f"redis://127.0.0.1:{store.port}/0")
        (well,) = servers()
        balancer = balance(sick, well, fall=2)
        standing = await connect_to(sick, [sick, well], connect, balancer)
        await standing.do("join-event", eventId="123")
        if how == "frozen":
            sick.freeze()
        else:
            store.stall()
        balancer.wait_down(sick)
        await Api(well).publish(EVENT, "missed")
        after = await come_back(connect, balancer, standing)
        missed = await after.expect_messages(EVENT, 1)
        news = [await let_in(lambda: connect(balancer.ws_url, user="jisu")) for _ in range(4)]

        assert [well] * 5 == [server_of(client, [sick, well]) for client in (after, *news)]
        assert ["missed"] == missed
        assert standing.is_open


async def test_pings_keep_an_idle_line(servers: Servers, balance: Balance, connect: Connect) -> None:
    """The balancer cuts a line on which nothing goes for so long; our pings, more often than that, keep it:
    where they come less often it is cut."""
    (often,) = servers(ping_interval=0.5)
    (seldom,) = servers(ping_interval=600)
    balancer = balance(often, seldom, idle="5s")
    kept = await connect_to(often, [often, seldom], connect, balancer)
    cut = await connect_to(seldom, [often, seldom], connect, balancer)
    await cut.closed(60)
    answer = await kept.do("ping", t=1)

    assert "pong" == answer["type"]


async def test_a_balancer_restarts(servers: Servers, balance: Balance, connect: Connect) -> None:
    """All lines end at once; who comes back has missed nothing."""
    a, b = servers(2)
    balancer = balance(a, b)
    clients = [await connect(balancer.ws_url, user=f"u{n}") for n in range(6)]
    for client in clients:
        await client.do("join-event", eventId="123")
    balancer.kill()
    for client in clients:
        await client.closed()
    for n in range(3):
        await Api(a).publish(EVENT, n)
    balancer.start()
    back = [await connect(balancer.ws_url, user=f"u{n}", before=c) for n, c in enumerate(clients)]

    for client in back:
        restored = await client.expect("session-restored")
        assert [True, True] == [room["recovered"] for room in restored["rooms"]]
        assert [0, 1, 2] == await client.expect_messages(EVENT, 3)
        client.assert_contiguous()


async def test_the_real_address_is_counted(servers: Servers, balance: Balance, connect: Connect) -> None:
    """Strangers are counted by the address that the balancer saw, not by what they claim."""
    (a,) = servers(trusted_proxies="127.0.0.1/32", max_unauthenticated_per_address=2)
    balancer = balance(a)

    async def stranger(address: str, claim: str) -> Client:
        headers = {"X-Forwarded-For": claim, "X-Real-Ip": claim}
        return await connect(balancer.ws_url, via="none", wait=False, headers=headers, local=address)

    crowd = [await stranger("127.0.0.2", f"9.9.9.{n}") for n in range(3)]
    other = await stranger("127.0.0.3", "127.0.0.2")

    assert (1013, "unavailable") == await crowd[2].closed()
    await other.do("auth", token=make_token("1"))
    assert [True] * 3 == [client.is_open for client in (*crowd[:2], other)]
