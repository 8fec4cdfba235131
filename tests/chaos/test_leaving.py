"""Leaving well: SIGTERM loses nothing, spreads the reconnects, and ends in time."""

import os
import signal
import time

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.servers import is_alive
from tests.support.waiting import eventually


async def test_a_drain_loses_nothing(servers: Servers, connect: Connect) -> None:
    """SIGTERM: /readyz is red, no upgrade is accepted, each client is told when to go, and until then its
    line works; 1012, exit status 0; elsewhere the rest is there."""
    a, b = servers(2, drain_seconds=5)
    clients = [await connect(a, user=str(n)) for n in range(20)]
    for client in clients:
        await client.do("join-event", eventId="123")
    started = time.monotonic()
    a.signal(signal.SIGTERM)
    told = [await client.expect("reconnect") for client in clients]
    assert 503 == a.ready_status()
    for n in range(5):
        await Api(b).publish("event:123", n)
    closed = [await client.closed() for client in clients]
    status = a.wait()
    took = time.monotonic() - started
    heard = []
    for n, client in enumerate(clients):
        back = await connect(b, user=str(n), resume=client.resume())
        await back.expect("session-restored")
        left = 5 - len(client.messages("event:123"))
        await back.expect_messages("event:123", left)
        back.assert_contiguous()
        heard.append(client.messages("event:123") + back.messages("event:123"))

    assert 0 == status
    assert took < 7
    assert {1012} == {code for code, _ in closed}
    assert all(0 <= frame["delayMs"] <= 5000 for frame in told)
    assert max(frame["delayMs"] for frame in told) - min(frame["delayMs"] for frame in told) > 500
    assert [list(range(5))] * 20 == heard


async def test_no_upgrade_while_leaving(servers: Servers, connect: Connect) -> None:
    """A server that is going away takes nobody in: 503 before the upgrade."""
    (a,) = servers(drain_seconds=60)
    # one alone may be told to go at once, and the server leaves with it; one of two goes in the second half
    for user in ("mina", "noah"):
        await connect(a, user=user)
    a.signal(signal.SIGTERM)
    await eventually(lambda: a.ready_status() == 503, "it says that it leaves")
    status, _ = a.get(
        "/ws",
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "x" * 24,
        },
    )

    assert 503 == status


async def test_a_second_signal_exits_at_once(servers: Servers, connect: Connect) -> None:
    """Asked twice, a server does not wait for anybody."""
    (a,) = servers(drain_seconds=60)
    # one alone may be told to go at once; of two, one goes after 29 s
    for user in ("mina", "noah"):
        await connect(a, user=user)
    a.signal(signal.SIGTERM)
    await eventually(lambda: a.ready_status() == 503, "it says that it leaves")
    a.signal(signal.SIGTERM)

    assert 1 == a.wait(2)


async def test_several_processes_share_a_port(servers: Servers, connect: Connect) -> None:
    """--processes=2: clients of both hear each other; a SIGTERM ends both with status 0."""
    (a,) = servers(processes=2, drain_seconds=2)
    # so many that the kernel does not give them all to one of the two
    clients = [await connect(a, user=str(n)) for n in range(40)]
    for client in clients:
        await client.do("join-event", eventId="1")
    await Api(a).publish("event:1", "hello")
    for client in clients:
        await client.expect_messages("event:1", 1)
    instances = {client.connected["instance"] for client in clients}

    assert 2 == len(instances)
    assert 0 == a.terminate()


async def test_a_killed_process_is_replaced(servers: Servers, connect: Connect) -> None:
    """One of two processes is killed: the other serves on, and a new one takes its place."""
    (a,) = servers(processes=2)
    await connect(a)
    child = a.children()[0]
    os.kill(child, signal.SIGKILL)
    await eventually(lambda: len(set(a.children()) - {child}) == 2, "a new process has come")

    await connect(a)


async def test_the_children_of_a_killed_parent_leave_well(servers: Servers, connect: Connect) -> None:
    """`kill -9` of the process that watches over the others: nobody would replace them any more, so they send
    their clients elsewhere and end."""
    (a,) = servers(processes=2, drain_seconds=3)
    clients = [await connect(a, user=str(n)) for n in range(8)]
    children = a.children()
    a.signal(signal.SIGKILL)
    for client in clients:
        await client.expect("reconnect", timeout=30)
    closed = [await client.closed(30) for client in clients]
    await eventually(lambda: not any(is_alive(pid) for pid in children), "they have ended", 30)

    assert {(1012, "restart")} == set(closed)
    assert (
        2 == a.output.count("the parent process has died: leaving") == a.output.count("session.leaving: left")
    )
