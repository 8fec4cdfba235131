"""What does a map of 50,000 seats cost, a third of them taken?

First many want seats at once on a server that knows nothing yet. Then users hold two seats each, through the
real script, and most of them book; then clients join the seats by their own command. Run:
``.venv/bin/python -m bench.seats [--profile]``.
"""

import argparse
import asyncio
import random
import secrets
import sys
import time

from bench.server import Bench, profiled, run, verdict
from session import keys
from session.connection import Connection
from session.events import EventDraft, Section
from session.protocol import Refused
from session.sale import Who
from session.store import Unavailable

EVENT = "seats-bench"
SECTIONS = ("FLOOR", "NORTH", "EAST", "SOUTH", "WEST")
ROWS = SEATS_A_ROW = 100
SEATS = len(SECTIONS) * ROWS * SEATS_A_ROW
TAKEN = SEATS // 3
BOOKED_OF_FIVE = 4
AT_ONCE = 50
EARLY = 200
FOLLOWING = 200
LATER_SECONDS = 1.1
"""A snapshot is kept for a second: one who comes later gets a new one."""
FRAME_LIMIT = 300_000
JOIN_LIMIT_SECONDS = 0.1


def weigh(bench: Bench) -> None:
    """Bytes in the store, while all that is taken is held."""
    k = keys.sale(EVENT)
    parts = {"map": k.map, "shown": k.shown, "settings and catalog": k.event, "holds": k.holds, "due": k.due}
    weights = {name: bench.weigh(key) for name, key in parts.items()}
    each = ", ".join(f"{name} {weight / SEATS:.1f}" for name, weight in weights.items())
    holders = (weights["holds"] + weights["due"]) / (TAKEN // 2)
    print(f"  bytes a seat: {sum(weights.values()) / SEATS:.1f}: {each} ({holders:.0f} a holder)")


async def sell(bench: Bench) -> None:
    """A third of the seats is taken, two by two, all over the house."""
    seats = bench.services.seats
    pairs = [
        (f"{section}-{row}-{seat}", f"{section}-{row}-{seat + 1}")
        for section in SECTIONS
        for row in range(1, ROWS + 1)
        for seat in range(1, SEATS_A_ROW, 2)
    ]
    chosen = random.sample(pairs, TAKEN // 2)
    numbered = enumerate(chosen)

    async def hold_one_after_the_other() -> None:
        for number, pair in numbered:
            await seats.hold(EVENT, Who(f"user-{number}"), pair)

    cpu, began = bench.redis_seconds(), time.perf_counter()
    with bench.counting() as calls:
        await asyncio.gather(*(hold_one_after_the_other() for _ in range(AT_ONCE)))
    took, cpu = time.perf_counter() - began, bench.redis_seconds() - cpu
    print(
        f"{len(chosen):,} hold two seats: {len(chosen) / took:,.0f} a second, each "
        f"{calls.each('evalsha'):.0f} us in the script, {cpu / len(chosen) * 1e6:.0f} us of Redis's CPU"
    )
    print(f"  a hold: {calls.busiest(len(chosen))}")
    weigh(bench)
    for start in range(0, len(chosen), AT_ONCE):
        users = range(start, min(len(chosen), start + AT_ONCE))
        booked = (n for n in users if n % 5 < BOOKED_OF_FIVE)
        await asyncio.gather(
            *(seats.book(EVENT, f"user-{n}", chosen[n], secrets.token_hex(8)) for n in booked)
        )


async def rush(bench: Bench) -> bool:
    """Many hold at once on a server that has not read the list of seats yet, as when a sale begins."""
    seats = bench.services.seats
    seats._catalogs.clear()

    async def hold(number: int) -> bool:
        try:
            await seats.hold(EVENT, Who(f"early-{number}"), [f"FLOOR-1-{number % SEATS_A_ROW + 1}"])
        except Unavailable:
            return False
        except Refused:
            pass
        return True

    began = time.perf_counter()
    answered = await asyncio.gather(*(hold(number) for number in range(EARLY)))
    took, late = time.perf_counter() - began, answered.count(False)
    found = "ok" if not late else f"MISSED, {late} were told that the store did not answer"
    print(f"{EARLY} hold at once on a server that has not read the list of seats: {took:.2f} s: {found}")
    await asyncio.gather(*(seats.release(EVENT, Who(f"early-{number}")) for number in range(EARLY)))
    await seats.read(EVENT)  # whatever became of them, the list is read now
    return not late


async def join(bench: Bench, connection: Connection) -> tuple[float, float]:
    """Join the seats once: seconds until the answer was sent, and of this process's CPU."""
    cpu, began = time.process_time(), time.perf_counter()
    await bench.do(connection, "join-seats", eventId=EVENT)
    return time.perf_counter() - began, time.process_time() - cpu


async def watch(bench: Bench) -> bool:
    """Clients come: the first one, one who finds a snapshot made, one for whom a new one is made."""
    # the first one on a server that has sold nothing yet
    bench.services.seats._catalogs.clear()
    clients = [await bench.connect(f"watcher-{n}") for n in range(FOLLOWING)]
    cases = {"the first": await join(bench, clients[0])}
    frame = len(bench.sink.last)
    began = time.perf_counter()
    each = [await join(bench, client) for client in clients[1:]]
    cases["the slowest of 20 who follow"] = max(each[:20])
    many = time.perf_counter() - began
    await asyncio.sleep(LATER_SECONDS)
    cases["one a second later"] = await join(bench, clients[0])
    good = frame < FRAME_LIMIT
    print(f"a snapshot: {frame:,} bytes: {verdict(frame, FRAME_LIMIT)}")
    for name, (took, cpu) in cases.items():
        good &= took < JOIN_LIMIT_SECONDS
        print(
            f"  join-seats, {name}: {took * 1000:.1f} ms, {cpu * 1000:.1f} ms of the server's CPU: "
            f"{verdict(took, JOIN_LIMIT_SECONDS)}"
        )
    print(f"  {len(each)} one after the other: {many / len(each) * 1000:.1f} ms each")
    return good


def main() -> int:
    """Run it; returns 1 where a target was missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--profile", action="store_true", help="say where the server's time goes")
    given = options.parse_args()

    async def bench(bench: Bench) -> bool:
        sections = [Section(name=name, rows=ROWS, seats_per_row=SEATS_A_ROW) for name in SECTIONS]
        await bench.services.events.put(EVENT, EventDraft(title="A benchmark", sections=sections))
        good = await rush(bench)
        await sell(bench)
        with profiled(given.profile):
            return await watch(bench) and good

    return int(not run(bench))


if __name__ == "__main__":
    sys.exit(main())
