"""The deployment that a rehearsal makes for itself: a store, three servers, the balancer of ``deploy/``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from session.leaving import GOODBYE_SECONDS
from tests.support.balancer import Balancer, haproxy_binary
from tests.support.sale import assert_one_holder
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, valkey_binary

NAMES = ("one", "two", "three")
MOST_CLIENTS = 15_000
CHECKS = 10
"""A server is out after so many failed checks, 100 ms each."""
DRAIN_SECONDS = 60.0
"""By then one that drains has gone, whatever its options say."""


class Cluster:
    """Three servers behind a balancer."""

    def __init__(self, servers: list[ServerProcess], store: StoreProcess, balancer: Balancer) -> None:
        self._servers = servers
        self._store = store
        self.url = f"http://127.0.0.1:{balancer.port}"

    async def deploy(self, mark: Callable[[str], None]) -> dict[str, int]:
        """Replace one server after another, each when the last one is back; the exit status of each."""
        statuses = {}
        for name, server in zip(NAMES, self._servers, strict=True):
            mark(f"{name} is replaced")
            statuses[name] = await asyncio.to_thread(server.terminate, DRAIN_SECONDS)
            server.start()
            await asyncio.to_thread(server.wait_ready)
        return statuses

    def check_store(self, event: str) -> str:
        """What is wrong with the seats in the store itself; empty where nothing is."""
        try:
            assert_one_holder(self._store.client, event)
        except AssertionError as error:
            return str(error)
        return ""


@contextlib.asynccontextmanager
async def running(folder: Path, drain_seconds: float) -> AsyncIterator[Cluster]:
    """Starts one in a folder.

    ``drain_seconds`` is the time over which a server that is replaced sends its users away.

    Raises:
        FileNotFoundError: there is no haproxy.
    """
    haproxy = haproxy_binary()
    if haproxy is None:
        raise FileNotFoundError("haproxy is missing; install it, such as by: apt-get install haproxy")
    with contextlib.ExitStack() as stack:
        store = StoreProcess(valkey_binary(), folder / "store")
        stack.callback(store.kill)
        servers = [
            ServerProcess(
                folder / f"{name}.log",
                redis_url=store.url,
                drain_seconds=drain_seconds + GOODBYE_SECONDS,
                trusted_proxies="127.0.0.1/32",
                # all buyers come from one address
                max_unauthenticated_per_address=MOST_CLIENTS,
            )
            for name in NAMES
        ]
        for server in servers:
            stack.callback(server.kill)
            server.start()
        for server in servers:
            await asyncio.to_thread(server.wait_ready)
        balancer = Balancer(haproxy, servers, fall=CHECKS)
        stack.callback(balancer.stop)
        await asyncio.to_thread(balancer.start)
        yield Cluster(servers, store, balancer)
