"""A server is frozen for a moment, for nearly as long as its lease, and for longer; meanwhile its users have
come to another. What it then reads from its sockets changes nothing."""

import asyncio
from dataclasses import dataclass, field

from session import keys
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client, Frame
from tests.support.sale import assert_agreement
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

LINE, HALL = "line", "hall"
SHORT_SECONDS, LONG_SECONDS = 1.0, 9.0
"""Both less than the 10 s of a lease."""
STALLED = "keepseat_loop_stall_seconds_total"


@dataclass
class User:
    """Somebody with a place, a seat and a session on a server that will be frozen."""

    name: str
    server: ServerProcess
    place: int = 0
    lines: list[Client] = field(default_factory=list)
    restored: Frame = field(default_factory=dict)

    async def come(self, connect: Connect) -> None:
        client: Client = await connect(self.server, user=self.name)
        self.lines.append(client)
        await client.do("join-event", eventId=LINE)
        self.place = (await client.do("join-queue", eventId=LINE))["position"]
        await client.do("hold-seats", eventId=HALL, seats=[self.name])

    async def change_everything(self) -> None:
        """Nobody reads it yet."""
        for command in ("leave-queue", "leave-event"):
            await self.lines[0].send(command, eventId=LINE)
        await self.lines[0].send("release-seats", eventId=HALL)
        await self.lines[0].send("update-session", data={"stale": True})

    async def move(self, connect: Connect, server: ServerProcess, *, replacing: bool) -> None:
        old = self.lines[0].connected["socketId"] if replacing else None
        client: Client = await connect(server, user=self.name, replaces=old)
        self.lines.append(client)
        self.restored = await client.expect("session-restored")

    async def assert_unharmed(self) -> None:
        """Nothing of what was said on the old line has happened, and nobody was told that it had."""
        client, session = self.lines[-1], self.restored["session"]
        assert (LINE, LINE, [self.name], {}) == (
            session["eventId"], session["queueEventId"], session["selectedSeats"], session["data"],
        )  # fmt: skip
        assert ("waiting", self.place) == (
            self.restored["queue"]["status"],
            self.restored["queue"]["position"],
        )
        again = await client.do("join-queue", eventId=LINE)
        held = await client.do("hold-seats", eventId=HALL, seats=[self.name])
        data = (await client.do("update-session", data={}))["data"]
        assert (self.place, [self.name], {}) == (again["position"], held["held"], data)
        assert not {"queue-left", "seats-released", "event-left"} & {f["type"] for f in self.lines[0].frames}


async def test_what_a_frozen_server_had_in_its_buffers_changes_nothing(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """For 1 s, 9 s, and until the others have buried it: places, seats and sessions stand; connections are
    closed, and it goes on under a new name."""
    *frozen, rest = servers(4)
    users = [User(name, server) for name, server in zip(("1-s", "9-s", "long"), frozen, strict=True)]
    # stays on the frozen server: nobody replaces this connection
    stayer = User("stayer", frozen[2])
    api = Api(rest)
    await api.put(f"/api/events/{LINE}", {"title": "A", "capacity": 1})
    await api.put(f"/api/events/{HALL}", {"title": "B", "seats": [u.name for u in (*users, stayer)]})
    await (await connect(rest, user="inside")).do("join-queue", eventId=LINE)
    watcher = await connect(rest, user="watcher")
    await watcher.do("join-seats", eventId=HALL)
    for user in (*users, stayer):
        await user.come(connect)
    for server in frozen:
        server.freeze()
    for user in (*users, stayer):
        await user.change_everything()
    for user in users:
        await user.move(connect, rest, replacing=True)

    await asyncio.sleep(SHORT_SECONDS)
    frozen[0].thaw()
    await asyncio.sleep(LONG_SECONDS - SHORT_SECONDS)
    frozen[1].thaw()
    buried = stayer.lines[0].connected["instance"]
    await eventually(lambda: valkey.client.zscore(keys.LEASES, buried) is None, "it is buried", 60)
    # it lasts 20 s: a server that sleeps for longer must not need it
    valkey.client.delete(keys.sale(LINE).fence, keys.sale(HALL).fence)
    frozen[2].thaw()
    closed = {user.name: await user.lines[0].closed(30) for user in (*users, stayer)}
    await stayer.move(connect, rest, replacing=False)

    assert (4000, "replaced") == closed["1-s"]
    assert (1012, "restart") == closed["stayer"]
    # whether it first hears of the one thing or of the other
    assert {closed["9-s"], closed["long"]} <= {(4000, "replaced"), (1012, "restart")}
    for user in (*users, stayer):
        await user.assert_unharmed()
    await eventually(lambda: frozen[2].ready_status() == 200, "it is ready again", 30)
    newcomer = await connect(frozen[2], user="newcomer")
    assert newcomer.connected["instance"] != buried
    assert frozen[0].metric(STALLED) > SHORT_SECONDS / 2
    assert frozen[2].metric(STALLED) > LONG_SECONDS
    assert "this process stood still for" in frozen[2].output
    await assert_agreement(valkey.client, connect, rest, HALL, watcher)
