"""What does a line of 100,000 cost, of whom 5,000 are connected to this server?

Everyone joins through the real script, a hundred at a time; then the connected ones come to their places by
their own command, and 50 a second are let in. Run: ``.venv/bin/python -m bench.queue [--profile]``.
"""

import argparse
import asyncio
import sys
import time
from statistics import median
from unittest.mock import patch

from bench.server import Bench, Steps, profiled, run, verdict
from session import keys
from session.crowd import Crowd
from session.events import EventDraft
from session.sale import Who
from session.waiting_room import WAITING

EVENT = "queue-bench"
A_SECOND = 50
AT_ONCE = 100
SAMPLES = 200
REDIS_LIMIT = 0.05
"""Of one core, while the line moves."""
TICK_LIMIT_SECONDS = 0.05
"""A server's time for one round of positions, at the median."""


async def fill(bench: Bench, users: int) -> None:
    """All take their places."""
    rooms = bench.services.waiting_rooms
    names = (f"user-{n}" for n in range(users))

    async def join_one_after_the_other() -> None:
        for name in names:
            await rooms.join(EVENT, Who(name))

    before = time.perf_counter(), bench.redis_seconds(), time.process_time()
    with bench.counting() as calls:
        await asyncio.gather(*(join_one_after_the_other() for _ in range(AT_ONCE)))
    after = time.perf_counter(), bench.redis_seconds(), time.process_time()
    took, redis, server = (b - a for a, b in zip(before, after, strict=True))
    k = keys.sale(EVENT)
    weight = bench.weigh(k.present, k.absent, keys.here(EVENT, bench.services.leases.instance))
    figures = await rooms.figures(EVENT)
    print(
        f"{users:,} join: {users / took:,.0f} a second, each {calls.each('evalsha'):.0f} us in the script, "
        f"{redis / users * 1e6:.0f} us of Redis's CPU, {server / users * 1e6:.0f} us of the server's; "
        f"{weight / figures.total:.0f} bytes a waiter"
    )
    print(f"  a join: {calls.busiest(users)}; {figures.admitted:,} were let in meanwhile")


async def connect(bench: Bench, users: int, connected: int) -> None:
    """Some of them connect, from all over the line, and come to their places."""
    began = time.perf_counter()
    everyone = range(0, users, users // connected)[:connected]

    async def one(number: int) -> None:
        connection = await bench.connect(f"user-{number}")
        await bench.do(connection, "join-queue", eventId=EVENT)

    for start in range(0, connected, AT_ONCE):
        await asyncio.gather(*(one(number) for number in everyone[start : start + AT_ONCE]))
    print(f"{connected:,} connect and come to their places in {time.perf_counter() - began:.1f} s")


async def watch(bench: Bench, seconds: float) -> bool:
    """The line moves for a while, and everyone here is told so."""
    lobby, sink = bench.services.lobby, bench.sink
    count_one = lobby._count_one
    rounds: list[Steps] = []

    async def timed(crowd: Crowd) -> None:
        rounds.append(Steps(count_one(crowd)))
        await rounds[-1]

    def now() -> tuple[float, ...]:
        process = time.process_time()
        return time.perf_counter(), bench.redis_seconds(), process, sink.seconds, sink.frames, sink.bytes

    before, admitted = now(), (await bench.services.waiting_rooms.figures(EVENT)).admitted
    with bench.counting() as calls, patch.object(lobby, "_count_one", timed):
        await asyncio.sleep(seconds)
    took, *used = (b - a for a, b in zip(before, now(), strict=True))
    redis, server, sending, frames, sent = (value / took for value in used)
    admitted = (await bench.services.waiting_rooms.figures(EVENT)).admitted - admitted
    tick, longest = median(r.total for r in rounds), max(r.total for r in rounds)
    print(
        f"a second, for {took:.0f} s: {admitted / took:.0f} let in, {frames:,.0f} frames, {sent:,.0f} bytes"
    )
    print(f"  Redis: {redis * 1000:.1f} ms of CPU, {redis:.1%} of a core: {verdict(redis, REDIS_LIMIT)}")
    print(f"    most of it: {calls.busiest(took)}")
    print(
        f"  server: {server * 1000:.0f} ms of CPU, of which the kernel {sending * 1000:.0f} ms "
        "for what it sends"
    )
    print(
        f"    a round of positions: {tick * 1000:.1f} ms of CPU at the median of {len(rounds)}, at most "
        f"{longest * 1000:.1f} ms, in steps of at most {max(r.longest for r in rounds) * 1000:.1f} ms: "
        f"{verdict(tick, TICK_LIMIT_SECONDS)}"
    )
    return redis <= REDIS_LIMIT and tick <= TICK_LIMIT_SECONDS


async def check(bench: Bench) -> None:
    """What was told is what the store says, once nobody moves."""
    rooms = bench.services.waiting_rooms
    await rooms.pause(EVENT, True)
    await asyncio.sleep(2.5)
    users = bench.services.lobby._crowds[EVENT].users
    told = {user: waiter.told for user, waiter in users.items() if waiter.status == WAITING}
    waiting = list(told)[:: max(1, len(told) // SAMPLES)]
    places = await rooms.places(EVENT, waiting)
    wrong = sum(
        place is None or place.position != told[user] for user, place in zip(waiting, places, strict=True)
    )
    assert not wrong, f"{wrong} of {len(waiting)} positions are wrong"
    print(f"  {len(waiting)} positions compared with the store: all right")


def main() -> int:
    """Run it; returns 1 where a target was missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--users", type=int, default=100_000)
    options.add_argument("--connected", type=int, default=5_000)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--profile", action="store_true", help="say where the server's time goes")
    given = options.parse_args()

    async def bench(bench: Bench) -> bool:
        draft = EventDraft(title="A benchmark", capacity=given.users, admit_per_second=A_SECOND)
        await bench.services.events.put(EVENT, draft)
        await fill(bench, given.users)
        await connect(bench, given.users, given.connected)
        await asyncio.sleep(2)
        with profiled(given.profile):
            good = await watch(bench, given.seconds)
        await check(bench)
        return good

    return int(not run(bench))


if __name__ == "__main__":
    sys.exit(main())
