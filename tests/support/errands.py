"""A little of everything that two servers do with a store, whatever that store is made of."""

import asyncio
from collections.abc import Sequence

from redis import Redis

from tests.conftest import Connect
from tests.support.api import Api
from tests.support.client import Client
from tests.support.sale import assert_agreement
from tests.support.servers import ServerProcess

PATIENCE = 40.0
SEATS = [f"{row}-{n}" for row in "AB" for n in range(1, 6)]


async def run_errands(
    store: "Redis", connect: Connect, a: ServerProcess, b: ServerProcess, event_id: str
) -> None:
    """Rooms and a resume on the other server, the line, seats to the booking, sessions, and an end to all."""
    body = {"title": "A concert", "capacity": 1, "seats": SEATS}
    assert (await Api(a).put(f"/api/events/{event_id}", body)).status in {200, 201}
    await _talk(connect, a, b, event_id)
    mina, noah = await connect(a, user=f"mina-{event_id}"), await connect(b, user=f"noah-{event_id}")
    assert (await mina.do("join-queue", eventId=event_id))["status"] == "admitted"
    assert (await noah.do("join-queue", eventId=event_id))["position"] == 1
    await noah.do("join-seats", eventId=event_id)
    held = await mina.do("hold-seats", eventId=event_id, seats=SEATS[:3])
    await mina.do("release-seats", eventId=event_id, seats=SEATS[2:3])
    booking = {"userId": f"mina-{event_id}", "seats": SEATS[:1]}
    booked = await Api(b).post(f"/api/events/{event_id}/bookings", booking, Idempotency_Key="order")
    assert (SEATS[:3], 201) == (held["held"], booked.status)
    # she comes to the other server, and has what she had
    after = await connect(b, user=f"mina-{event_id}", before=mina, replaces=mina.connected["socketId"])
    restored = await after.expect("session-restored", PATIENCE)
    assert ("admitted", SEATS[1:2]) == (restored["queue"]["status"], restored["seats"]["held"])
    assert (4000, "replaced") == await mina.closed(PATIENCE)
    await after.do("leave-queue", eventId=event_id)
    await noah.expect("queue-entry-allowed", PATIENCE)
    await assert_agreement(store, connect, b, event_id, noah)
    for client in (mina, after):
        client.assert_contiguous()
    await asyncio.gather(after.close(), noah.close())


async def _talk(connect: Connect, a: ServerProcess, b: ServerProcess, event_id: str) -> None:
    """A message published through one server reaches the other's; who was away gets what was missed."""
    room = f"event:{event_id}"
    here, there = await connect(a, user="here"), await connect(b, user="there")
    for client in (here, there):
        await client.do("join-event", eventId=event_id)
    await Api(b).publish(room, 1)
    for client in (here, there):
        assert [1] == await client.expect_messages(room, 1, PATIENCE)
    await here.drop()
    await Api(a).publish(room, 2)
    back = await connect(b, user="here", before=here)
    await Api(a).publish("user:here", "for you")
    assert [2] == await back.expect_messages(room, 1, PATIENCE)
    assert ["for you"] == await back.expect_messages("user:here", 1, PATIENCE)
    for client in (here, there, back):
        client.assert_contiguous()
        await client.drop()


class Crowd:
    """Three users in the middle of a sale, on two servers: one is in and holds seats, two wait, all watch."""

    def __init__(
        self, connect: Connect, a: ServerProcess, b: ServerProcess, event_id: str, clients: list[Client]
    ) -> None:
        self._connect = connect
        self._a, self._b = a, b
        self.event_id = event_id
        self.mina, self.noah, self.jisu = self.clients = clients
        self._published = 0

    @classmethod
    async def gather(
        cls,
        connect: Connect,
        a: ServerProcess,
        b: ServerProcess,
        event_id: str,
        names: Sequence[str] = ("mina", "noah", "jisu"),
    ) -> "Crowd":
        body = {"title": "A concert", "capacity": 1, "seats": SEATS}
        assert (await Api(a).put(f"/api/events/{event_id}", body)).status in {200, 201}
        clients = [await connect(s, user=u) for s, u in zip((a, b, a), names, strict=True)]
        for client in clients:
            for command in ("join-event", "join-queue", "join-seats"):
                await client.do(command, eventId=event_id)
        await clients[0].do("hold-seats", eventId=event_id, seats=SEATS[:2])
        crowd = cls(connect, a, b, event_id, clients)
        await crowd.hears()
        return crowd

    async def hears(self) -> None:
        """Everybody gets a message that is published now."""
        self._published += 1
        await Api(self._b).publish(f"event:{self.event_id}", self._published)
        for client in self.clients:
            assert [self._published] == await client.expect_messages(f"event:{self.event_id}", 1, PATIENCE)

    async def goes_on(self, store: "Redis", *, after_loss: bool = False) -> None:
        """Nobody has lost anything: she gives back what she holds and leaves, the next one is let in, and all
        have seen the same. Only where the store has lost its newest writes may rooms have been reset."""
        await self.hears()
        kept = await self.mina.do("release-seats", eventId=self.event_id, seats=SEATS[:1])
        assert SEATS[1:2] == kept["held"]
        await self.mina.do("leave-queue", eventId=self.event_id)
        await self.noah.expect("queue-entry-allowed", PATIENCE)
        await self.noah.do("hold-seats", eventId=self.event_id, seats=SEATS[:1])
        await assert_agreement(store, self._connect, self._a, self.event_id, *self.clients)
        told = [frame for client in self.clients for frame in client.frames]
        assert not [frame for frame in told if frame["type"] == "seats-expired"]
        # a room in which nothing was ever said may begin anew
        resets = [frame for frame in told if frame["type"] == "room-reset" and frame["offset"]]
        assert after_loss or not resets
