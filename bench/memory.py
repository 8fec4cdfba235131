"""How much Redis memory do 5,000 users take, each with a session and a socket?

The sessions have the fields of the protocol's example (event, queue event, seat event, last activity),
written through the real scripts. Run: ``.venv/bin/python -m bench.memory [--users 5000]``. It starts the
embedded Valkey, and Debian's redis-server too where there is one, in a temporary directory.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from session.config import parse
from session.leases import Leases
from session.manager import SessionManager, new_socket_id
from session.metrics import Metrics
from session.store import Store
from session.survey import Survey
from tests.support.stores import StoreProcess, redis_binary, valkey_binary

LIMIT_BYTES = 3_000_000
"""The first version's own figure: 5,000 users in about 3 MB."""
BATCH = 250


async def fill(store: Store, users: int) -> None:
    """Connect and save so many users."""
    leases = Leases(store, Survey(store))
    await leases.renew()
    manager = SessionManager(store, parse([], {}), leases)

    async def one(number: int) -> None:
        user = f"user-{number}"
        await manager.attach(user, new_socket_id(user))
        await manager.save(user, {"event_id": "123", "queue_event_id": "123", "seat_event_id": "123"})

    for start in range(0, users, BATCH):
        await asyncio.gather(*(one(number) for number in range(start, min(users, start + BATCH))))


async def weigh(url: str, users: int) -> tuple[int, int]:
    """Bytes that the store grew by with its users in it, and how many keys there are."""
    store = Store(url, Metrics())
    line = asyncio.create_task(store.run())
    try:
        # scripts, buffers and the servers' own keys are not the users' weight
        await fill(store, BATCH)
        await store.command("FLUSHALL", "SYNC")
        before = await used(store)
        await fill(store, users)
        return await used(store) - before, int(await store.command("DBSIZE"))
    finally:
        line.cancel()


async def used(store: Store) -> int:
    """All memory that the store's allocator has given out: keys, values, and the tables that hold them."""
    info = (await store.command("INFO", "memory")).decode()
    return int(dict(line.split(":", 1) for line in info.splitlines() if ":" in line)["used_memory"])


def name_of(process: StoreProcess) -> str:
    """Which store this is."""
    info = process.client.info("server")
    return f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info['redis_version']}"


def main() -> int:
    """Weigh on each store; returns 1 where a limit was broken."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--users", type=int, default=5000)
    users = options.parse_args().users
    broken = False
    for binary in filter(None, (valkey_binary(), redis_binary())):
        with tempfile.TemporaryDirectory() as folder:
            process = StoreProcess(binary, Path(folder))
            try:
                total, keys = asyncio.run(weigh(process.url, users))
                name = name_of(process)
            finally:
                process.stop()
        within = total <= LIMIT_BYTES * users / 5000
        broken |= not within
        verdict = "ok" if within else "TOO MUCH"
        print(f"{name}: {users} users, {keys} keys, {total:,} bytes, {total / users:.0f} a user: {verdict}")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
