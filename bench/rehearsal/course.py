"""The course of a rehearsal: ramp, opening, cuts, a deploy, and the end."""

import asyncio
import random
import time
from collections import Counter
from typing import NamedTuple

from bench.rehearsal.account import Account, Holders, Place
from bench.rehearsal.buyer import Buyer
from bench.rehearsal.closing import Closing
from bench.rehearsal.cluster import Cluster
from bench.rehearsal.house import House
from bench.rehearsal.line import Target
from bench.rehearsal.presence import Surroundings
from bench.rehearsal.promises import Findings, Promise
from bench.rehearsal.record import Record, Sample
from bench.rehearsal.shop import Down, Shop
from tests.support.api import Api

COMING_PER_SECOND = 50
RAMP_PATIENCE_SECONDS = 60.0
"""The sale opens so long after the last one began to come, whoever is not there yet."""
WATCHING = 20
"""One of so many looks at the seats all the time."""
CUT_SHARE = 0.5
"""So many of the buyers lose their line, spread over the sale."""
TUNNEL_SHARE = 0.2
"""So many lose it at one moment: a train enters a tunnel."""
TUNNEL_AT, DEPLOY_AT, CUTS_UNTIL = 0.2, 0.4, 0.9
"""Shares of the sale."""
LAG_SECONDS = 0.05
SAMPLE_SECONDS = 1.0


class Plan(NamedTuple):
    """What is rehearsed: each user's token, how long after the opening, in which house."""

    tokens: dict[str, str]
    seconds: float
    house: House


class Rehearsal:
    """One. ``cluster`` is None where the deployment is somebody's own."""

    def __init__(self, plan: Plan, url: str, api_key: str, cluster: Cluster | None) -> None:
        self._plan = plan
        self._cluster = cluster
        self.record, self.findings = Record(), Findings()
        around = Surroundings(Target.of(url), self.record, self.findings)
        self._shop = Shop(Api(url, api_key), plan.house, self.record, self.findings)
        holders, event = Holders(self.findings), plan.house.event
        self._buyers = [
            Buyer(
                around,
                self._shop,
                plan.house,
                Account(user, event, holders, self.findings),
                token,
                watches=n % WATCHING == 0,
            )
            for n, (user, token) in enumerate(plan.tokens.items())
        ]
        guest, token = next(iter(plan.tokens.items()))
        fresh = Account(guest, event, holders, self.findings)
        self._closing = Closing(around, self._shop, self._buyers, fresh, token)
        self._dice = random.Random(len(self._buyers))

    async def run(self) -> None:
        """From the making of the event to its end.

        Raises:
            Down: the deployment does not answer.
        """
        await self._shop.build()
        try:
            await self._take_place()
        except ExceptionGroup as group:
            if (down := group.subgroup(Down)) is None:
                raise
            raise Down(f"{down.exceptions[0]}") from group
        finally:
            if self._cluster is None:
                # also where somebody has interrupted it: nothing stays on a deployment that goes on
                await self._shop.tear_down({seat for b in self._buyers for seat in b.account.sold})
        if self._cluster is not None:
            problem = self._cluster.check_store(self._plan.house.event)
            self.findings.check(Promise.HOLDER, not problem, problem)

    async def _take_place(self) -> None:
        used = time.process_time()
        async with asyncio.TaskGroup() as group:
            announcing = group.create_task(self._shop.announce())
            living = [group.create_task(work) for work in (self._watch_lag(), self._sample())]
            await self._ramp(group, living)
            await self._sell()
            await self._closing.come_to_rest()
            self._shop.hush()
            await announcing
            await self._closing.check()
            for task in living:
                task.cancel()
        self.record.cpu_seconds = time.process_time() - used

    async def _ramp(self, group: asyncio.TaskGroup, living: "list[asyncio.Task[None]]") -> None:
        self.record.mark("the first come")
        for buyer in self._buyers:
            living.append(group.create_task(buyer.run()))
            await asyncio.sleep(1 / COMING_PER_SECOND)
        end = self.record.now + RAMP_PATIENCE_SECONDS
        while self.record.now < end and any(b.account.place is Place.OUTSIDE for b in self._buyers):
            await asyncio.sleep(LAG_SECONDS)

    async def _sell(self) -> None:
        self.record.mark("the sale opens")
        await self._shop.pause(False)
        await asyncio.gather(
            self._cut_lines(), self._tunnel(), self._deploy(), asyncio.sleep(self._plan.seconds)
        )
        self.record.mark("the sale ends")
        await self._shop.pause(True)
        for buyer in self._buyers:
            buyer.stop()

    # --- what happens to it ---

    async def _cut_lines(self) -> None:
        count = round(len(self._buyers) * CUT_SHARE)
        for buyer in self._dice.sample(self._buyers, count):
            await asyncio.sleep(self._plan.seconds * CUTS_UNTIL / count)
            buyer.presence.cut()

    async def _tunnel(self) -> None:
        await asyncio.sleep(self._plan.seconds * TUNNEL_AT)
        lost = self._dice.sample(self._buyers, round(len(self._buyers) * TUNNEL_SHARE))
        self.record.mark(f"{len(lost)} lines are cut")
        for buyer in lost:
            buyer.presence.cut()

    async def _deploy(self) -> None:
        if self._cluster is not None:
            await asyncio.sleep(self._plan.seconds * DEPLOY_AT)
            statuses = await self._cluster.deploy(self.record.mark)
            for name, status in statuses.items():
                self.findings.check(Promise.LEAVING, status == 0, f"server {name} ended with {status}")
            self.record.mark("all are replaced")

    # --- what is measured ---

    async def _watch_lag(self) -> None:
        """How late this process is itself: what it measures cannot be better."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.record.lags.add(self.record.now, loop.time() - due)

    async def _sample(self) -> None:
        """How things stand; admissions are held against the capacity."""
        capacity = self._plan.house.capacity
        while True:
            sale = await self._shop.stats()
            here = Counter(buyer.account.instance for buyer in self._buyers if buyer.presence.is_here)
            self.record.samples.append(Sample(self.record.now, dict(here), sale))
            if sale is not None:
                inside = sale["admitted"]
                self.findings.check(Promise.CAPACITY, inside <= capacity, f"{inside} were in, of {capacity}")
            await asyncio.sleep(SAMPLE_SECONDS)
