"""A crowd for the demo: buyers who queue, hold, change their minds, pay and go, for as long as it runs.

They are real clients of a running demo server: sign in by name, wait in the line of `demo-musical`, choose
seats. They come in waves, so that there is a line again and again, and the fuller the house, the fewer of
them pay, so that the sale never ends. Run: ``make demo-crowd``, or ``.venv/bin/python -m bench.crowd
[--url http://127.0.0.1:8000] [--buyers 60]``; Ctrl-C ends it, and gives back what the buyers hold.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any

from websockets.exceptions import WebSocketException

from tests.support.api import Api
from tests.support.client import Client, Frame

EVENT = "demo-musical"
WAVE_SECONDS = 20.0
THINK_SECONDS = (2.0, 7.0)
PATIENCE_SECONDS = 600.0
"""For a place in the house; a token is good for longer."""
MOST_SEATS = 4
PAYING = 0.5
"""The share that pays while the house is empty."""
NEVER_SOLD = 0.1
"""The share of the seats that nobody of the crowd pays for."""
OPENING_SECONDS = 5.0
GOODBYE_SECONDS = 3.0
LINE_SECONDS = 1.0


class Trouble(Exception):  # noqa: N818 - what befell a buyer
    """The server said what it should not have."""


class House:
    """The seats that there are, in order."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.sections: list[str] = [section["name"] for section in event["sections"]]
        self.seats = [
            f"{s['name']}-{row}-{seat}"
            for s in event["sections"]
            for row in range(1, s["rows"] + 1)
            for seat in range(1, s["seatsPerRow"] + 1)
        ]


class Tally:
    """What the crowd is doing, and has done."""

    def __init__(self) -> None:
        self.waiting = 0
        self.choosing: dict[Client, None] = {}
        self.orders = self.bought = self.released = self.late = 0
        self.troubles: list[str] = []

    def line(self, house: House) -> str:
        """All of it in one line; what is taken is what one of those who choose has been told."""
        seen = "nobody looks"
        if self.choosing:
            taken = [*taken_by(next(iter(self.choosing)).frames).values()]
            seen = f"{taken.count('held')} held, {taken.count('sold')} sold of {len(house.seats)}"
        return (
            f"{self.waiting} wait, {len(self.choosing)} choose | {seen} | {self.orders} orders of "
            f"{self.bought} seats, {self.released} changed their minds, {self.late} were too late, "
            f"{len(self.troubles)} troubles"
        )


def taken_by(frames: Iterable[Frame]) -> dict[str, str]:
    """Seat -> ``held`` or ``sold``, as a client's frames tell."""
    taken: dict[str, str] = {}
    for frame in frames:
        if "snapshot" in frame:
            taken = {seat: word for word in ("held", "sold") for seat in frame["snapshot"][word]}
        elif frame["type"] == "seats-updated":
            taken |= frame["seats"]
    return {seat: word for seat, word in taken.items() if word != "available"}


class Visit:
    """One buyer's way through the sale, under a new name."""

    def __init__(self, url: str, house: House, tally: Tally, name: str, pace: float) -> None:
        self._url = url
        self._api = Api(url, key=None)
        self._house = house
        self._tally = tally
        self._name = name
        self._pace = pace

    async def go(self) -> None:
        """From the sign-in to the goodbye."""
        login = await self._api.post("/auth/login", {"name": self._name})
        if login.status != 200:
            raise Trouble(f"login: {login.status}")
        self._token = login.json["token"]
        async with self._connected() as client:
            await self._wait(client)
            self._tally.choosing[client] = None
            try:
                await self._choose(client)
            finally:
                del self._tally.choosing[client]
            if client.violations:
                raise Trouble(client.violations[0])

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        client = await Client.connect(f"ws{self._url.removeprefix('http')}/ws", token=self._token)
        try:
            yield client
        finally:
            with contextlib.suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    # also where it was interrupted: nothing is kept for who does not come back
                    await client.send("release-seats", eventId=EVENT)
                    await client.send("leave-queue", eventId=EVENT)
                    await client.close()

    async def _wait(self, client: Client) -> None:
        joined = await client.do("join-queue", eventId=EVENT)
        if joined["status"] == "admitted":
            return
        self._tally.waiting += 1
        try:
            await client.expect("queue-entry-allowed", PATIENCE_SECONDS, eventId=EVENT)
        finally:
            self._tally.waiting -= 1

    async def _choose(self, client: Client) -> None:
        await client.do("join-seats", eventId=EVENT)
        for _ in range(random.randint(1, 3)):
            await self._think()
            held = await self._hold(client)
            if not held:
                continue
            await self._think()
            if random.random() < 0.2:
                await client.do("extend-hold", eventId=EVENT)
                await self._think()
            if random.random() < self._wish_to_pay(client):
                await self._pay(held)
                return
            await client.do("release-seats", eventId=EVENT)
            self._tally.released += 1

    async def _think(self) -> None:
        await asyncio.sleep(random.uniform(*THINK_SECONDS) * self._pace)

    def _wish_to_pay(self, client: Client) -> float:
        free = 1 - len(taken_by(client.frames)) / len(self._house.seats)
        return PAYING * max(0.0, free - NEVER_SOLD) / (1 - NEVER_SOLD)

    async def _hold(self, client: Client) -> list[str]:
        """The best, or some that look free; none where others were faster."""
        count = random.randint(1, MOST_SEATS)
        some = self._some(client, count)
        if some and random.random() < 0.6:
            answer = await client.call("hold-seats", eventId=EVENT, seats=some)
        else:
            section = random.choice([*self._house.sections, None])
            answer = await client.call("hold-best", eventId=EVENT, count=count, section=section)
        if answer["type"] == "seats-held":
            held: list[str] = answer["held"]
            return held
        if answer["code"] != "seat_unavailable":
            raise Trouble(f"hold: {answer['code']}: {answer['message']}")
        self._tally.late += 1
        return []

    def _some(self, client: Client, count: int) -> list[str]:
        taken, seats = taken_by(client.frames), self._house.seats
        start = random.randrange(len(seats) - count)
        return [seat for seat in seats[start : start + count] if seat not in taken]

    async def _pay(self, seats: list[str]) -> None:
        answer = await self._api.post(
            "/demo/bookings",
            {"eventId": EVENT, "seats": seats},
            Authorization=f"Bearer {self._token}",
            Idempotency_Key=secrets.token_hex(8),
        )
        if answer.status != 201:
            raise Trouble(f"payment: {answer.status} {answer.json}")
        self._tally.orders += 1
        self._tally.bought += len(seats)


class Crowd:
    """Buyers who come again and again."""

    def __init__(self, url: str, house: House, pace: float) -> None:
        self._url = url
        self._house = house
        self._pace = pace
        self._names = (f"crowd-{secrets.token_hex(3)}-{n}" for n in itertools.count(1))
        self.tally = Tally()

    async def run(self, buyers: int) -> None:
        """Say each second what is going on, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(buyers):
                group.create_task(self._come_again_and_again())
            loop = asyncio.get_running_loop()
            began = loop.time()
            while True:
                await asyncio.sleep(LINE_SECONDS)
                print(f"{loop.time() - began:5.0f} s | {self.tally.line(self._house)}", flush=True)

    async def _come_again_and_again(self) -> None:
        wave = WAVE_SECONDS * self._pace
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(random.uniform(0, wave / 10))
            try:
                await Visit(self._url, self._house, self.tally, next(self._names), self._pace).go()
            except (Trouble, AssertionError, WebSocketException, OSError) as error:
                self.tally.troubles.append(f"{type(error).__name__}: {str(error)[:300]}")
                print(f"trouble: {self.tally.troubles[-1]}", file=sys.stderr)
            await asyncio.sleep(wave - loop.time() % wave)


async def open_house(url: str) -> House:
    """The seats of the event, as soon as it is there.

    Raises:
        TimeoutError: it is not.
    """
    async with asyncio.timeout(OPENING_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                answer = await Api(url, key=None).get(f"/events/{EVENT}")
                if answer.status == 200:
                    return House(answer.json)
            await asyncio.sleep(0.2)


async def crowd(url: str, buyers: int, seconds: float, pace: float) -> int:
    """Run a crowd until the time is over, or somebody interrupts; 1 where anything went wrong."""
    try:
        house = await open_house(url)
    except TimeoutError:
        print(f"there is no {EVENT} at {url}: is a demo running there (`make run`)?", file=sys.stderr)
        return 1
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    here = Crowd(url, house, pace)
    running = asyncio.create_task(here.run(buyers))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopped}, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, stopped):
        task.cancel()
    await asyncio.gather(running, stopped, return_exceptions=True)
    tally = here.tally
    print(f"gone: {tally.orders} orders of {tally.bought} seats, {len(tally.troubles)} troubles")
    return int(bool(tally.troubles))


def main() -> int:
    """Run a crowd; returns 1 where anything went wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--url", default="http://127.0.0.1:8000")
    options.add_argument("--buyers", type=int, default=60)
    options.add_argument("--seconds", type=float, default=0, help="end by itself; 0: run until Ctrl-C")
    options.add_argument("--pace", type=float, default=1, help="0.1: everyone is ten times as fast")
    given = options.parse_args()
    return asyncio.run(crowd(given.url.rstrip("/"), given.buyers, given.seconds, given.pace))


if __name__ == "__main__":
    sys.exit(main())
