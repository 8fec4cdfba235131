"""`kill -9` in the middle of a sale: of a server, and of the process that watches over several."""

import signal

from tests.conftest import Connect, Servers
from tests.support.servers import is_alive
from tests.support.stores import StoreProcess
from tests.support.traffic import Traffic
from tests.support.waiting import eventually


async def test_a_sale_goes_on_when_servers_are_killed(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Users talk, hold and release seats and stand in line; a server is killed and comes back, then the
    parent of two others. Nobody misses a message, loses a seat or a place, or hears what is not true."""
    a, b = servers(2)
    (pair,) = servers(processes=2, drain_seconds=3)
    children = pair.children()
    async with Traffic(connect, [a, b, pair], valkey.client) as traffic:
        await traffic.flows()
        a.kill()
        await traffic.flows()
        a.start()
        a.wait_ready(30)
        pair.signal(signal.SIGKILL)
        await eventually(lambda: not any(is_alive(pid) for pid in children), "its children have left", 30)
        await traffic.flows()
        await traffic.stop()
        await traffic.assert_sound()
        traffic.assert_nothing_lost()

    assert any(len(visitor.clients) > 1 for visitor in traffic.visitors)
