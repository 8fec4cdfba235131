"""What must hold when a rehearsal has come to rest."""

import asyncio
import random
from collections.abc import Callable, Sequence

from bench.rehearsal.account import Account, Place
from bench.rehearsal.buyer import Buyer
from bench.rehearsal.presence import Presence, Surroundings
from bench.rehearsal.promises import Promise
from bench.rehearsal.shop import Shop

REST_SECONDS = 90.0
"""Who is not back and at rest by then does not come back."""
PAUSE_SECONDS = 0.1


class Closing:
    """Compares what the buyers know with each other, with the store's counts, and with what a fresh
    connection is told."""

    def __init__(
        self, around: Surroundings, shop: Shop, buyers: Sequence[Buyer], fresh: Account, token: str
    ) -> None:
        self._around = around
        self._findings = around.findings
        self._shop = shop
        self._buyers = buyers
        self._fresh = fresh
        self._token = token

    async def come_to_rest(self) -> None:
        """Wait until everybody has ended what was begun, and is here."""
        await eventually(lambda: all(map(is_calm, self._buyers)))
        for buyer in self._buyers:
            is_back = is_calm(buyer)
            self._findings.check(Promise.ENTRY, is_back, f"{buyer.account.user} is not back in the end")

    async def check(self) -> None:
        """All of it, after the last message was announced."""
        await self._check_messages()
        await self._check_boards()
        await self._check_counts()
        self._check_positions()

    async def _check_messages(self) -> None:
        last = self._shop.announced
        await eventually(lambda: all(heard(buyer.account) == last for buyer in self._buyers))
        for buyer in self._buyers:
            account = buyer.account
            self._findings.check(
                Promise.MESSAGE, heard(account) == last, f"{account.user}: heard {heard(account)} of {last}"
            )

    async def _check_boards(self) -> None:
        fresh, event = self._fresh, self._shop.event
        presence = Presence(self._around, fresh, self._token, random.Random(event))
        room = f"seats:{event}"
        answer = None
        while answer is None:
            await presence.come()
            answer = await presence.call("join-seats", eventId=event)
        watchers = [buyer.account for buyer in self._buyers if buyer.watches]

        def sees_the_same(watcher: Account) -> bool:
            at = watcher.positions.get(room)
            return at == fresh.positions[room] and watcher.board == fresh.board

        await eventually(lambda: all(map(sees_the_same, watchers)))
        for watcher in watchers:
            differs = set(watcher.board.items()) ^ set(fresh.board.items())
            at = f"at {watcher.positions.get(room)}, not {fresh.positions[room]}; differs in {differs}"
            self._findings.check(Promise.BOARD, sees_the_same(watcher), f"{watcher.user} is {at}")
        presence.leave()

    async def _check_counts(self) -> None:
        """Also that no two stand at one position: the positions of those who wait are 1 to so many."""
        counted: dict[str, int] = {}

        async def agree() -> bool:
            counted.update(await self._shop.stats() or {})
            return told(self._buyers).items() <= counted.items() and self._are_in_a_row()

        end = asyncio.get_running_loop().time() + REST_SECONDS
        while not await agree() and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(PAUSE_SECONDS * 5)
        for name, count in told(self._buyers).items():
            was = f"{name}: users were told {count}, the store has {counted.get(name)}"
            self._findings.check(Promise.COUNT, counted.get(name) == count, was)

    def _check_positions(self) -> None:
        self._findings.check(Promise.ORDER, self._are_in_a_row(), "the positions are not 1 to the last")

    def _are_in_a_row(self) -> bool:
        accounts = (buyer.account for buyer in self._buyers)
        positions = sorted(a.position for a in accounts if a.place is Place.WAITING)
        return positions == list(range(1, len(positions) + 1))


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds, or `REST_SECONDS` are over: what does not hold then is found by who asks."""
    end = asyncio.get_running_loop().time() + REST_SECONDS
    while not condition() and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(PAUSE_SECONDS)


def is_calm(buyer: Buyer) -> bool:
    """It has ended what it had begun, and is connected."""
    return buyer.is_at_rest and buyer.presence.is_here


def heard(account: Account) -> int:
    """The last of the numbered messages that a user has had."""
    return account.numbers[-1] if account.numbers else 0


def told(buyers: Sequence[Buyer]) -> dict[str, int]:
    """What all users together were told, as the stats name it."""
    accounts = [buyer.account for buyer in buyers]
    return {
        "waiting": sum(a.place is Place.WAITING for a in accounts),
        "admitted": sum(a.place is Place.ADMITTED for a in accounts),
        "held": sum(len(a.held) for a in accounts),
        "sold": sum(len(a.sold) for a in accounts),
    }
