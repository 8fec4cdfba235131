"""One buyer's way through the sale: waits, is let in, holds, pays or changes its mind, and goes."""

import asyncio
import random

from bench.rehearsal.account import Account, Place
from bench.rehearsal.house import House
from bench.rehearsal.presence import Presence, Surroundings
from bench.rehearsal.shop import Shop

PING_SECONDS = 5.0
"""Who has nothing to do says `ping` so often."""
THINK_SECONDS = (0.5, 2.0)
UNKNOWN_SECONDS = 3.0
"""After an outcome that is not known, what was asked may still happen for so long."""
MOST_TRIES = 4
"""Then a buyer gives up: others are faster."""
MOST_SEATS = 4
PAYING, FORGETTING = 0.6, 0.2
"""The shares that pay, and that go and leave their hold as it is; the others change their minds."""


class Buyer:
    """A user; a step is one command at most, and what comes next goes by what the user was told, so that a
    line may end at any point. ``watches``: it looks at the seats all the time."""

    def __init__(
        self, around: Surroundings, shop: Shop, house: House, account: Account, token: str, *, watches: bool
    ) -> None:
        self.account = account
        self.is_at_rest = False
        """It only listens."""
        self.watches = watches
        self._around = around
        self._shop = shop
        self._event = house.event
        self._seats = house.seats
        self._dice = random.Random(account.user)
        self.presence = Presence(around, account, token, self._dice)
        self._tries = 0
        self._is_finished = False
        self._is_over = False

    async def run(self) -> None:
        """Live, until cancelled."""
        try:
            while True:
                await self.presence.come()
                await self._step()
        finally:
            self.presence.leave()

    def stop(self) -> None:
        """End what is begun, then only listen."""
        self._is_over = True
        self.presence.stir()

    @property
    def _looks(self) -> bool:
        return f"seats:{self._event}" in self.account.positions

    async def _step(self) -> None:
        account, presence = self.account, self.presence
        if f"event:{self._event}" not in account.positions:
            await presence.call("join-event", eventId=self._event)
        elif self.watches and not self._looks:
            await presence.call("join-seats", eventId=self._event)
        elif self._is_over:
            self.is_at_rest = True
            await self._listen()
        elif account.place is Place.WAITING:
            await self._listen()
        elif account.place is Place.ADMITTED:
            await self._be_inside()
        elif not self._is_finished:
            await presence.call("join-queue", eventId=self._event)
        elif self._looks and not self.watches:
            await presence.call("leave-seats", eventId=self._event)
        else:
            await self._listen()

    async def _listen(self) -> None:
        await self.presence.rest(PING_SECONDS * self._dice.uniform(0.5, 1.5))
        if self.presence.is_here:
            await self.presence.call("ping")

    async def _be_inside(self) -> None:
        if self._is_finished:
            await self._leave()
        elif not self._looks:
            await self.presence.call("join-seats", eventId=self._event)
        else:
            await asyncio.sleep(self._dice.uniform(*THINK_SECONDS))
            if self.presence.is_here and not self._is_over:
                await (self._decide() if self.account.held else self._hold())

    async def _leave(self) -> None:
        self.account.leaves()
        answer = await self.presence.call("leave-queue", eventId=self._event)
        if answer is not None and answer["type"] == "error":
            self.account.has_left()

    async def _hold(self) -> None:
        """The best, or some that look free."""
        count = self._dice.randint(1, MOST_SEATS)
        start = self._dice.randrange(len(self._seats))
        some = [s for s in self._seats[start : start + count] if s not in self.account.board]
        if some and self._dice.random() < 0.6:
            answer = await self.presence.call("hold-seats", eventId=self._event, seats=some)
        else:
            answer = await self.presence.call("hold-best", eventId=self._event, count=count)
        if answer is None:
            await self._look_again()
        elif answer["type"] == "error":
            self._try_again()

    async def _look_again(self) -> None:
        """Nobody knows what came of the last command: once nothing can come of it any more, ask what is held.
        Who has lost the line is told so on coming back."""
        await asyncio.sleep(UNKNOWN_SECONDS)
        answer = None
        while answer is None and self.presence.is_here:
            answer = await self.presence.call("join-seats", eventId=self._event)

    async def _decide(self) -> None:
        wish = self._dice.random()
        if wish < PAYING:
            seats = self.account.pays()
            if await self._shop.book(self.account.user, seats):
                self.account.has_paid(seats)
            self._is_finished = True
        elif wish < PAYING + FORGETTING:
            self._is_finished = True
        else:
            self.account.releases()
            if await self.presence.call("release-seats", eventId=self._event) is None:
                await self._look_again()
            self._try_again()

    def _try_again(self) -> None:
        self._tries += 1
        self._is_finished = self._tries >= MOST_TRIES
