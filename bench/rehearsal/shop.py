"""The back end of the rehearsal: it makes the event, opens and closes the sale, announces, takes money."""

import asyncio
import contextlib
import http.client
from collections.abc import Iterable
from typing import Any

from bench.rehearsal.house import House
from bench.rehearsal.promises import Findings, Promise
from bench.rehearsal.record import Record
from tests.support.api import Answer, Api

RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""A call that is not answered in so long is given up: the deployment is down."""
ANNOUNCE_SECONDS = 1.0
AT_A_TIME = 500
"""Seats in one call, when they are given back."""


class Down(Exception):  # noqa: N818 - an outcome
    """The deployment does not do what it is asked."""


class Shop:
    """Each call is made again until it has an answer, with the same key where it has one."""

    def __init__(self, api: Api, house: House, record: Record, findings: Findings) -> None:
        self._api = api
        self._house = house
        self.event = house.event
        self._record = record
        self._findings = findings
        self._path = f"/api/events/{house.event}"
        self._is_hushed = False
        self.announced = 0
        """Numbers 1 to this were announced, each in a message of the event's room."""

    async def build(self) -> None:
        """Make the event; nobody is let in yet.

        Raises:
            Down: it cannot be made.
        """
        answer = await self._call("PUT", self._path, self._house.settings)
        if answer.status not in {200, 201}:
            raise Down(f"the event cannot be made: {answer.status} {answer.body[:200].decode()}")
        await self.pause(True)

    async def pause(self, is_paused: bool) -> None:
        """Let nobody in, or let people in."""
        await self._call("POST", f"{self._path}/queue", {"paused": is_paused})

    async def book(self, user: str, seats: set[str]) -> bool:
        """Take money for what a user holds: whether it was still held."""
        body = {"userId": user, "seats": sorted(seats)}
        answer = await self._call("POST", f"{self._path}/bookings", body, Idempotency_Key=user)
        is_booked = answer.status == 201
        self._findings.check(Promise.SEAT, is_booked, f"{user} held {seats}, and could not pay: {answer}")
        return is_booked

    async def announce(self) -> None:
        """A numbered message each second, until `hush`."""
        while not self._is_hushed:
            await self._announce_next()
            await asyncio.sleep(ANNOUNCE_SECONDS)

    def hush(self) -> None:
        """Announce no more, but for what is under way."""
        self._is_hushed = True

    async def _announce_next(self) -> None:
        number = self.announced + 1
        body = {"data": {"n": number, "at": self._record.now}}
        key = f"{self.event}-{number}"
        await self._call("POST", f"/api/rooms/event:{self.event}/messages", body, Idempotency_Key=key)
        self.announced = number

    async def stats(self) -> dict[str, int] | None:
        """How the sale stands; None where that is not to be had now."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = await self._api.get(f"{self._path}/stats")
            if answer.status == 200:
                return {name: value for name, value in answer.json.items() if isinstance(value, int)}
        return None

    async def tear_down(self, sold: Iterable[str]) -> None:
        """Leave nothing behind: give back what was sold, and delete the event.

        Raises:
            Down: it is still there.
        """
        seats = sorted(sold)
        for at in range(0, len(seats), AT_A_TIME):
            await self._call("DELETE", f"{self._path}/bookings", {"seats": seats[at : at + AT_A_TIME]})
        answer = await self._call("DELETE", self._path)
        if answer.status != 204:
            raise Down(f"the event {self.event} cannot be deleted: {answer.status}")

    async def _call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    with contextlib.suppress(OSError, http.client.HTTPException):
                        answer = await self._api(method, path, body, **headers)
                        if answer.status < 500:
                            return answer
                        self._record.refused(f"HTTP {answer.status}")
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            raise Down(f"{method} {path} has had no answer for {PATIENCE_SECONDS:g} s") from None
