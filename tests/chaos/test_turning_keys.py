"""Keys are turned under a running sale: nobody is signed out, or loses a message, a place or a seat."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.issuers import Issuer
from tests.support.keys import Pair
from tests.support.sale import assert_agreement
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import API_KEY, SECRET, token
from tests.support.waiting import eventually

OLD_SECRET = "the secret that the shop has used for too long"
OLD_KEY = "the api key that somebody has written down"
LINE, HALL, ROOM = "line", "hall", "event:line"
PATIENCE = 30.0
"""Seconds: a loaded machine is no defect."""


class Guest:
    """Comes back with the token it has, and keeps account over all its connections."""

    def __init__(self, connect: Connect, name: str, place: int, seat: str) -> None:
        self._connect = connect
        self.name, self.place, self.seat = name, place, seat
        self.token = token(name, secret=OLD_SECRET)
        self.heard: list[Any] = []
        self.line: Client

    async def come(self, server: ServerProcess) -> None:
        self.line = await self._connect(server, token=self.token)
        await self.line.do("join-event", eventId=LINE)
        await self.line.do("join-queue", eventId=LINE)
        await self.line.do("join-seats", eventId=HALL)
        await self.line.do("hold-seats", eventId=HALL, seats=[self.seat])

    async def come_back(self, server: ServerProcess) -> None:
        """On another server, with all that was missed, the place and the seat."""
        self.heard += self.line.messages(ROOM)
        self.line.assert_contiguous()
        self.line = await self._connect(server, token=self.token, before=self.line)
        restored = await self.line.expect("session-restored", PATIENCE)
        assert [True] * len(restored["rooms"]) == [room["recovered"] for room in restored["rooms"]]
        assert (self.place, [self.seat]) == (restored["queue"]["position"], restored["seats"]["held"])

    async def renew(self) -> None:
        """A token of the secret of today, on the connection that stands."""
        self.token = token(self.name, secret=SECRET)
        await self.line.send("auth", token=self.token)
        await self.line.expect("authenticated", PATIENCE)


class Sale:
    """Two servers that are replaced one after another, and two guests who go where the other one is."""

    def __init__(self, servers: Servers, connect: Connect) -> None:
        self._servers = servers
        self.fleet = servers(2, jwt_secret=OLD_SECRET, api_key=OLD_KEY, drain_seconds=1)
        self.guests = [Guest(connect, "mina", 1, "A-1"), Guest(connect, "jun", 2, "A-2")]
        self.said = 0

    async def begin(self) -> None:
        api = Api(self.fleet[0], OLD_KEY)
        await api.put(f"/api/events/{LINE}", {"title": "A", "capacity": 9})
        await api.post(f"/api/events/{LINE}/queue", {"paused": True})
        await api.put(f"/api/events/{HALL}", {"title": "B", "seats": ["A-1", "A-2", "A-3"]})
        for guest in self.guests:
            await guest.come(self.fleet[0])

    async def say(self, server: ServerProcess, key: str) -> None:
        """Publish; both guests hear it."""
        await Api(server, key).publish(ROOM, self.said)
        self.said += 1
        for guest in self.guests:
            await guest.line.expect("message", PATIENCE, data=self.said - 1)

    async def replace(self, n: int, **options: Any) -> None:
        """Start a server anew with other options, as a rolling restart does; who is there goes elsewhere."""
        leaving, staying = self.fleet[n], self.fleet[1 - n]
        leaving.signal(signal.SIGTERM)
        for guest in self.guests:
            code, _ = await guest.line.closed(PATIENCE)
            assert code == 1012
            await guest.come_back(staying)
        await eventually(lambda: not leaving.is_running, "it has left", 60)
        (new,) = self._servers(1, ready=False, port=leaving.port, drain_seconds=1, **options)
        await eventually(lambda: new.ready_status() == 200, "it is back", 60)
        self.fleet[n] = new


@pytest.mark.timeout(300)
@pytest.mark.gen_test(timeout=280)
async def test_a_secret_and_an_api_key_are_turned(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """Two rolling restarts. While old and new servers stand side by side, tokens and calls of old keys are
    good on both; between them everyone renews on the open line; after the second the old ones are over. Each
    message was heard once, places and seats stayed."""
    sale = Sale(servers, connect)
    both = {"jwt_secret": SECRET, "jwt_previous_secret": OLD_SECRET}
    both |= {"api_key": API_KEY, "api_previous_key": OLD_KEY}
    await sale.begin()
    await sale.replace(0, **both)
    for server in sale.fleet:
        await sale.say(server, OLD_KEY)
    await sale.replace(1, **both)
    for server, key in zip(sale.fleet, (OLD_KEY, API_KEY), strict=True):
        await sale.say(server, key)
    for guest in sale.guests:
        await guest.renew()
    uses = [
        sale.fleet[0].metric(f'keepseat_previous_key_uses_total{{kind="{kind}"}}') for kind in ("jwt", "api")
    ]
    await sale.replace(0)
    await sale.say(sale.fleet[0], API_KEY)
    strangers = [
        await connect(sale.fleet[0], token=token("kim", secret=OLD_SECRET), wait=False),
        await connect(sale.fleet[1], token=token("kim", secret=OLD_SECRET)),
    ]
    refused = [(await Api(server, OLD_KEY).get("/api/events")).status for server in sale.fleet]
    for guest in sale.guests:
        guest.heard += guest.line.messages(ROOM)

    assert [2, 2] == [int(use) for use in uses]
    assert (3000, "token_invalid") == await strangers[0].closed(PATIENCE)
    assert [401, 200] == refused
    assert [list(range(sale.said))] * 2 == [guest.heard for guest in sale.guests]
    lines = [guest.line for guest in sale.guests]
    await assert_agreement(valkey.client, connect, sale.fleet[0], HALL, *lines)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Issuer()
    yield made
    made.stop()


async def test_a_key_set_is_turned(servers: Servers, connect: Connect, issuer: Issuer) -> None:
    """A key that is published is good at once on every server, the older one stays good beside it; and a
    connection of a key that was withdrawn stands until its token ends, or takes a new one."""
    first, second = (Pair(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))

    def publish(**pairs: Pair) -> None:
        issuer.body = json.dumps({"keys": [pair.jwk(kid=kid) for kid, pair in pairs.items()]}).encode()

    def signed(user: str, pair: Pair, kid: str) -> str:
        return token(user, secret=pair.private, algorithm="ES256", headers={"kid": kid})

    async def let_in(server: ServerProcess, text: str) -> Client:
        """A key set that comes slowly is waited for, as a client does that tries again."""
        while True:
            client = await connect(server, token=text, wait=False)
            if (await client.next(PATIENCE))["type"] == "connected":
                return client

    publish(one=first)
    fleet = servers(2, jwt_secret="", jwt_jwks_url=issuer.url)
    standing = [await let_in(server, signed("mina", first, "one")) for server in fleet]
    publish(one=first, two=second)
    come = [await let_in(server, signed("jun", second, "two")) for server in fleet]
    come += [await let_in(server, signed("kim", first, "one")) for server in fleet]
    publish(two=second)
    # who starts now has never heard of the first key
    (new,) = servers(1, jwt_secret="", jwt_jwks_url=issuer.url)
    come.append(await let_in(new, signed("jun", second, "two")))
    late = await connect(new, token=signed("mina", first, "one"), wait=False)
    refused = await late.closed(PATIENCE)
    await standing[0].send("auth", token=signed("mina", second, "two"))
    await standing[0].expect("authenticated", PATIENCE)
    answers = [await client.do("ping") for client in (*standing, *come)]

    assert (3000, "token_invalid") == refused
    assert ["pong"] * 7 == [answer["type"] for answer in answers]
