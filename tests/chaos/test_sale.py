"""Servers and stores die in the middle of a sale: no place is lost, no seat has two holders."""

import asyncio
import contextlib
import random
import signal
from pathlib import Path
from typing import Any

from session import keys
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.sale import assert_agreement, holds
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.waiting import eventually

EVENT = "42"
CROWD, SEATS = 300, [f"{row}-{n}" for row in "ABCDEF" for n in range(1, 11)]
FIGHT_SECONDS = 12.0


async def put(server: ServerProcess, **settings: Any) -> None:
    answer = await Api(server).put(f"/api/events/{EVENT}", {"title": "A concert", "seats": SEATS, **settings})
    assert answer.status in {200, 201}, answer


# --- a crowd ---


class Buyer:
    """Does what buyers do, and comes back on another server whenever its line ends."""

    def __init__(self, name: str, servers: list[ServerProcess], dice: random.Random) -> None:
        self._name = name
        self._servers = servers
        self._dice = dice
        self._client: Client | None = None
        self.booked: list[str] = []

    async def run(self, end: float) -> None:
        """Buy until that moment of the loop's clock."""
        loop = asyncio.get_running_loop()
        while loop.time() < end:
            with contextlib.suppress(Exception):  # whatever a dying server does to a client
                async with asyncio.timeout(4):
                    await self._act(await self._connected())
                    continue
            await self.leave()

    async def leave(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                await self._client.drop()
            self._client = None

    async def _connected(self) -> Client:
        if self._client is None or not self._client.is_open:
            self._client = await Client.connect(self._dice.choice(self._servers), user=self._name)
        return self._client

    async def _act(self, client: Client) -> None:
        what = self._dice.random()
        if what < 0.5:
            await client.call("hold-seats", timeout=3, eventId=EVENT, seats=self._dice.sample(SEATS, 2))
        elif what < 0.7:
            await client.call("hold-best", timeout=3, eventId=EVENT, count=self._dice.randint(1, 4))
        elif what < 0.8:
            await client.call("release-seats", timeout=3, eventId=EVENT)
        elif what < 0.85:
            await client.call("extend-hold", timeout=3, eventId=EVENT)
        elif what < 0.88:
            await self._book(client)
        else:
            await asyncio.sleep(self._dice.random())

    async def _book(self, client: Client) -> None:
        held = (await client.call("release-seats", timeout=3, eventId=EVENT, seats=[SEATS[0]]))["held"]
        if held:
            body = {"userId": self._name, "seats": held[:1]}
            answer = await Api(self._dice.choice(self._servers)).post(f"/api/events/{EVENT}/bookings", body)
            if answer.status == 201:
                self.booked += answer.json["seats"]


async def test_a_crowd_fights_for_the_seats(servers: Servers, connect: Connect, valkey: StoreProcess) -> None:
    """300 users on three servers for 60 seats, one server killed and one frozen: no seat is sold or held
    twice, all holds end, and everyone who watches sees the same."""
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    fleet = servers(3)
    await put(fleet[0], holdSeconds=3)
    victims = dice.sample(fleet, 2)
    (rest,) = (server for server in fleet if server not in victims)
    watcher = await connect(rest, user="watcher")
    await watcher.do("join-seats", eventId=EVENT)
    buyers = [Buyer(f"buyer-{n}", fleet, random.Random(seed + n)) for n in range(CROWD)]
    end = asyncio.get_running_loop().time() + FIGHT_SECONDS
    fighting = [asyncio.create_task(buyer.run(end)) for buyer in buyers]

    await asyncio.sleep(dice.uniform(2, 4))
    victims[0].kill()
    victims[1].freeze()
    await asyncio.sleep(dice.uniform(2, 5))
    victims[1].thaw()
    victims[0].start()
    await asyncio.gather(*fighting)
    await asyncio.gather(*(buyer.leave() for buyer in buyers))
    await eventually(lambda: not holds(valkey.client, EVENT), "every hold has ended")

    booked = [seat for buyer in buyers for seat in buyer.booked]
    assert len(set(booked)) == len(booked), "a seat was sold twice"
    assert len(watcher.frames) > 20
    late = await connect(victims[1], user="late")
    await late.do("join-seats", eventId=EVENT)
    await assert_agreement(valkey.client, connect, rest, EVENT, watcher, late)
    sold = {seat for seat, state in watcher.boards[EVENT].items() if state == "sold"}
    assert set(booked) <= sold


# --- places ---


async def test_the_fiftieth_in_line_is_the_fiftieth_elsewhere(servers: Servers, connect: Connect) -> None:
    """Its server is killed with all who stand there; it comes to another, and nobody has taken its place."""
    a, b = servers(2)
    await put(a, capacity=1)
    line = [await connect(a, user=f"user-{n}") for n in range(56)]
    for client in line:
        await client.do("join-queue", eventId=EVENT)
    fiftieth = await line[50].do("join-queue", eventId=EVENT)
    a.kill()

    back = await connect(b, user="user-50", before=line[50])
    restored = await back.expect("session-restored")
    newcomer = await connect(b, user="newcomer")
    last = await newcomer.do("join-queue", eventId=EVENT)

    assert 50 == fiftieth["position"]
    assert ("waiting", 50, 55) == tuple(restored["queue"][k] for k in ("status", "position", "total"))
    assert 56 == last["position"]
    room = next(room for room in restored["rooms"] if room["room"] == f"queue:{EVENT}")
    assert room["recovered"]


async def test_a_dead_servers_users_are_passed_over_in_the_end(servers: Servers, connect: Connect) -> None:
    """Nobody says goodbye for them: when the server is known to be dead their graces begin, and whoever is
    there is let in."""
    a, b = servers(2, entry_grace=1)
    await put(a, capacity=1)
    admitted, waiting = await connect(a, user="admitted"), await connect(a, user="waiting")
    for client in (admitted, waiting):
        await client.do("join-queue", eventId=EVENT)
    noah = await connect(b, user="noah")
    assert 2 == (await noah.do("join-queue", eventId=EVENT))["position"]
    a.kill()

    await noah.expect("queue-entry-allowed", timeout=40)
    figures = (await Api(b).get(f"/api/events/{EVENT}/stats")).json

    assert (1, 1) == (figures["waiting"], figures["admitted"])


async def test_a_thawed_server_undoes_no_place_and_no_hold(servers: Servers, connect: Connect) -> None:
    """The old connection stands on a frozen server, with `leave-queue` and `release-seats` in its buffer; the
    user has come elsewhere in its stead. After the thaw they change nothing."""
    a, b = servers(2)
    await put(a, capacity=1)
    before = await connect(a, user="mina")
    await before.do("join-queue", eventId=EVENT)
    await before.do("hold-seats", eventId=EVENT, seats=["A-1", "A-2"])
    a.freeze()
    await before.send("leave-queue", eventId=EVENT)
    await before.send("release-seats", eventId=EVENT)
    after = await connect(b, user="mina", replaces=before.connected["socketId"])
    restored = await after.expect("session-restored")
    a.thaw()

    assert (4000, "replaced") == await before.closed(20)
    held = await after.do("hold-seats", eventId=EVENT, seats=["A-1"])
    again = await after.do("join-queue", eventId=EVENT)
    assert ("admitted", ["A-1", "A-2"]) == (restored["queue"]["status"], restored["seats"]["held"])
    assert ("admitted", ["A-1", "A-2"]) == (again["status"], held["held"])


async def test_who_is_sent_away_by_a_deploy_keeps_everything(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """SIGTERM: the server reports its users absent before it goes, and leaves no trace in the line."""
    a, b = servers(2, drain_seconds=2)
    await put(a, capacity=1)
    mina, noah = await connect(a, user="mina"), await connect(a, user="noah")
    for client in (mina, noah):
        await client.do("join-queue", eventId=EVENT)
    await mina.do("hold-seats", eventId=EVENT, seats=["A-1"])
    a.signal(signal.SIGTERM)
    await mina.closed(10)
    await noah.closed(10)
    assert a.wait() == 0

    k = keys.sale(EVENT)
    assert ["noah"] == valkey.client.zrange(k.absent, 0, -1)
    assert set() == valkey.client.smembers(k.instances)
    back = [await connect(b, user=user) for user in ("noah", "mina")]
    told = [await client.expect("session-restored") for client in back]
    assert ("waiting", 1) == (told[0]["queue"]["status"], told[0]["queue"]["position"])
    assert ("admitted", ["A-1"]) == (told[1]["queue"]["status"], told[1]["seats"]["held"])


# --- the store ---


async def test_what_a_store_has_lost_is_put_back(servers: Servers, connect: Connect, tmp_path: Path) -> None:
    """It comes back without its newest writes: places get their old numbers, admissions and holds stand
    again, for everyone who is connected; who came later stays behind them."""
    store = StoreProcess(valkey_binary(), tmp_path / "store")
    try:
        a, b = servers(2, redis_url=store.url)
        await put(a, capacity=2)
        await Api(a).put("/api/events/open", {"title": "Open", "seats": ["A-1", "A-2"]})
        old = [await connect(a, user=f"old-{n}") for n in range(3)]
        for client in old:
            await client.do("join-queue", eventId=EVENT)
        await old[1].do("leave-queue", eventId=EVENT)
        await old[2].expect("queue-entry-allowed")
        await old[0].do("leave-queue", eventId=EVENT)
        store.client.save()
        # all of this is in the tail that is lost
        new = [await connect(s, user=f"new-{n}") for n, s in enumerate((a, b, a, b))]
        for client in new:
            await client.do("join-queue", eventId=EVENT)
        held = await new[3].do("hold-seats", eventId="open", seats=["A-1", "A-2"])
        k = keys.sale(EVENT)
        places = store.client.zrange(k.present, 0, -1, withscores=True)
        store.kill()
        store.start()

        await eventually(
            lambda: store.client.zrange(k.present, 0, -1, withscores=True) == places, "the places are back"
        )
        await eventually(lambda: holds(store.client, "open"), "the hold is back")
        late = await connect(b, user="late")
        await eventually(lambda: b.ready_status() == 200, "the store is there again")
        last = await late.do("join-queue", eventId=EVENT)

        async def is_known() -> bool:
            session = (await Api(a).get("/api/users/new-3")).json.get("session")
            return session is not None and bool(session["selectedSeats"]) and session["queueEventId"] == EVENT

        await eventually(is_known, "the session is back")
        restored = await connect(a, user="new-3")
        told = await restored.expect("session-restored")

        assert {"old-2", "new-0"} == set(store.client.zrange(k.admitted, 0, -1))
        assert ["new-1", "new-2", "new-3"] == [name for name, _ in places]
        assert 4 == last["position"]
        assert ("waiting", 3) == (told["queue"]["status"], told["queue"]["position"])
        assert (held["held"], held["holdExpiresAt"]) == (
            told["seats"]["held"],
            told["seats"]["holdExpiresAt"],
        )
        for client in (*old, *new):
            assert client.is_open
            assert not [
                f for f in client.frames if f.get("reason") == "expired" or f["type"] == "seats-expired"
            ]
            client.assert_contiguous()
        for client in new[1:]:
            positions = [f["position"] for f in client.frames if "position" in f]
            assert sorted(positions, reverse=True) == positions
        await assert_agreement(store.client, connect, b, "open")
    finally:
        store.kill()
