"""The door: who is let in by which road, who is refused with which word, and what closes a connection."""

import asyncio
import contextlib
import itertools
import json
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import OUTPUTS, Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.servers import ServerProcess, server_with_store
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.tokens import SECRET
from tests.support.tokens import token as make_token
from tests.support.waiting import eventually

ROADS = ("query", "header", "frame")
OTHER_SECRET = "another secret, of which the server knows nothing"


@pytest.fixture(scope="module")
def gate_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for most of this file, on a store of its own."""
    with server_with_store(
        tmp_path_factory.mktemp("gate"), message_rate=5, message_burst=30, auth_timeout=60
    ) as server:
        yield server


@pytest.fixture
def gate(request: pytest.FixtureRequest, gate_process: ServerProcess) -> ServerProcess:
    """That server; what it said is shown where a test fails."""
    request.node.stash[OUTPUTS] = [gate_process]
    return gate_process


users = (f"visitor-{n}" for n in itertools.count())


@pytest.fixture
def user() -> str:
    """A user of whom nothing is known."""
    return next(users)


async def refusal(client: Client) -> tuple[int, str]:
    """How a refused client was sent away; it must have heard one error and nothing else."""
    code, reason = await client.closed()
    assert ["error"] == [frame["type"] for frame in client.frames], client.frames
    error = client.frames[0]
    assert reason == error["code"]
    assert error["message"]
    assert not error["retryable"]
    return code, reason


# --- let in ---


@pytest.mark.parametrize("via", ROADS)
async def test_a_good_token_lets_in(gate: ServerProcess, connect: Connect, user: str, via: str) -> None:
    """By each road; the server says who, where and until when."""
    token = make_token(user, role="admin", lifetime=1000)
    client = await connect(gate, via=via, token=token)
    hello = client.connected
    claims = jwt.decode(token, options={"verify_signature": False})

    assert {
        "type": "connected",
        "userId": user,
        "role": "admin",
        "tokenExpiresAt": claims["exp"] * 1000,
        "pingIntervalMs": 25_000,
        "protocol": 1,
    } == {
        name: hello[name] for name in hello if name not in {"socketId", "instance", "serverTime", "userRoom"}
    }
    assert abs(hello["serverTime"] - time.time() * 1000) < 5000
    assert (f"user:{user}", 0) == (hello["userRoom"]["room"], hello["userRoom"]["offset"])
    assert hello["userRoom"]["epoch"]
    assert hello["instance"] in gate.output
    assert "id" not in hello


async def test_the_answer_to_a_first_frame_carries_its_id(
    gate: ServerProcess, connect: Connect, user: str
) -> None:
    """It is a command like all others, also where it is refused."""
    good, bad = await connect(gate, via="none", wait=False), await connect(gate, via="none", wait=False)
    answer = await good.call("auth", token=make_token(user))
    refused = await bad.call("auth", token="no token at all")

    assert ("connected", user) == (answer["type"], answer["userId"])
    assert ("error", "token_invalid") == (refused["type"], refused["code"])
    assert (3000, "token_invalid") == await bad.closed()


@pytest.mark.parametrize(
    ("claims", "user_id", "role"),
    [
        ({"sub": "a|b:c@d.e_f-g"}, "a|b:c@d.e_f-g", "user"),
        ({"sub": 123}, "123", "user"),
        ({"sub": None, "userId": "u-1"}, "u-1", "user"),
        ({"sub": None, "userId": 7}, "7", "user"),
        ({"sub": "s", "userId": "u"}, "s", "user"),
        ({"sub": "x" * 128}, "x" * 128, "user"),
        ({"sub": "s", "role": "vip"}, "s", "vip"),
        ({"sub": "s", "aud": "somebody", "iss": "anybody"}, "s", "user"),
        ({"sub": "s", "exp": time.time() + 86_400.5}, "s", "user"),
    ],
)
async def test_the_user_is_who_the_token_says(
    gate: ServerProcess, connect: Connect, claims: dict[str, Any], user_id: str, role: str
) -> None:
    """`sub`, else `userId`, each a string or an integer; the role, else `user`."""
    client = await connect(gate, token=make_token(**claims))

    assert (user_id, role) == (client.connected["userId"], client.connected["role"])


async def test_the_roads_have_an_order(gate: ServerProcess, connect: Connect, user: str) -> None:
    """Query before header; who is in by either does not wait for a frame. An empty token is none."""
    good, bad = make_token(user), make_token("other", secret=OTHER_SECRET)
    header = {"Authorization": f"Bearer {make_token('other')}"}
    by_query = await connect(gate, via="query", token=good, headers=header)
    refused = await connect(gate, via="query", token=bad, headers=header, wait=False)
    by_header = await connect(gate, via="header", token=good, query={"token": ""})
    lower = await connect(gate, via="none", headers={"authorization": f"bearer {good}"})
    by_frame = await connect(gate, token=good, query={"token": ""}, headers={"Authorization": "Basic dTpw"})

    assert [user] * 4 == [c.connected["userId"] for c in (by_query, by_header, lower, by_frame)]
    assert (3000, "token_invalid") == await refusal(refused)


async def test_the_query_can_be_switched_off(servers: Servers, connect: Connect) -> None:
    """Then the parameter is ignored, good or bad: other roads are open."""
    (a,) = servers(query_token="false")
    nobody = await connect(a, via="query", wait=False)
    await nobody.send("ping")
    header = await connect(a, user="2", via="header", query={"token": "rubbish"})
    frame = await connect(a, user="3", query={"token": make_token("4")})

    assert (3000, "token_required") == await refusal(nobody)
    assert ("2", "3") == (header.connected["userId"], frame.connected["userId"])


# --- refused ---


def _unsigned(user: str) -> str:
    claims = {"sub": user, "exp": int(time.time() + 100)}
    return jwt.encode(claims, "", algorithm="none")


def _with_hs384(user: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyJWT finds the secret short for it, which is not the point here
        return make_token(user, algorithm="HS384")


def _with_another_payload(user: str) -> str:
    header, _, signature = make_token(user).split(".")
    payload = make_token("admin").split(".")[1]
    return f"{header}.{payload}.{signature}"


BAD: dict[str, Callable[[str], str]] = {
    "signed with another key": lambda user: make_token(user, secret=OTHER_SECRET),
    "not signed": _unsigned,
    "another algorithm": lambda user: make_token(user, algorithm="HS512", secret=SECRET * 2),
    "the right key, another algorithm": _with_hs384,
    "another's claims": _with_another_payload,
    "cut off": lambda user: make_token(user)[:-10],
    "no token": lambda user: "this is no token",
    "two parts": lambda user: make_token(user).rpartition(".")[0],
    "not ASCII": lambda user: "뮤지컬.뮤지컬.뮤지컬",
    "no expiry": lambda user: make_token(user, exp=None),
    "an expiry that is a word": lambda user: make_token(user, exp="tomorrow"),
    "an expiry in milliseconds": lambda user: make_token(user, exp=int(time.time() * 1000)),
    "no user": lambda user: make_token(None),
    "an empty user": lambda user: make_token(""),
    "a user of odd letters": lambda user: make_token("a b"),
    "a user too long": lambda user: make_token("x" * 129),
    "a user that is a list": lambda user: make_token(None, userId=["1"]),
    "another purpose": lambda user: make_token(user, purpose="entry"),
    "an empty purpose": lambda user: make_token(user, purpose=""),
    "not yet valid": lambda user: make_token(user, nbf=int(time.time() + 60)),
    "rooms that are no list": lambda user: make_token(user, rooms="chat:*"),
}


@pytest.mark.parametrize("via", ROADS)
@pytest.mark.parametrize("bad", sorted(BAD))
async def test_a_bad_token_is_invalid(
    gate: ServerProcess, connect: Connect, user: str, bad: str, via: str
) -> None:
    """One error, then 3000 with the same word, by each road."""
    if (via, bad) == ("header", "not ASCII"):
        return  # no client would send it
    client = await connect(gate, via=via, token=BAD[bad](user), wait=False)

    assert (3000, "token_invalid") == await refusal(client)


@pytest.mark.parametrize("via", ROADS)
async def test_an_expired_token(gate: ServerProcess, connect: Connect, user: str, via: str) -> None:
    """Its own word: the client gets a new one and comes back."""
    client = await connect(gate, via=via, token=make_token(user, lifetime=-7), wait=False)

    assert (3000, "token_expired") == await refusal(client)


@pytest.mark.parametrize("via", ROADS)
async def test_a_revoked_token(gate: ServerProcess, connect: Connect, user: str, via: str) -> None:
    """Signed out: the sign-in's other tokens too, but not another sign-in of the same user."""
    claims = {"sid": f"sign-in-{via}"}
    answer = await Api(gate, key=make_token(user, **claims)).post("/auth/logout")
    client = await connect(gate, via=via, token=make_token(user, lifetime=99, **claims), wait=False)
    other = await connect(gate, via=via, token=make_token(user, sid="another"))

    assert 204 == answer.status
    assert (3000, "token_revoked") == await refusal(client)
    assert user == other.connected["userId"]


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"ping"}',
        '{"type":"join-event","eventId":"1"}',
        '{"type":"nothing-known"}',
        '{"type":"connected"}',
        "{}",
        "[]",
        "no JSON",
        "",
    ],
)
async def test_the_first_frame_must_be_auth(gate: ServerProcess, connect: Connect, frame: str) -> None:
    """Whatever else it is, good or broken."""
    client = await connect(gate, via="none", wait=False)
    await client.socket.send(frame)

    assert (3000, "token_required") == await refusal(client)


async def test_what_comes_with_the_first_frame_is_not_run(
    gate: ServerProcess, connect: Connect, user: str
) -> None:
    """Commands sent behind a bad token are not answered; those behind a good one are, in order."""
    bad, good = await connect(gate, via="none", wait=False), await connect(gate, via="none", wait=False)
    for client, secret in ((bad, OTHER_SECRET), (good, SECRET)):
        await client.send("auth", token=make_token(user, secret=secret))
        await client.send("ping", t=1)
        await client.send("ping", t=2)
    await good.expect("pong", t=2)

    assert (3000, "token_invalid") == await refusal(bad)
    assert ["connected", "pong", "pong"] == [frame["type"] for frame in good.frames]


@pytest.mark.parametrize("resume", [[], {"event:1": 5}, {"event:1": {"epoch": "e", "offset": -1}}])
async def test_a_bad_resume_in_the_first_frame(
    gate: ServerProcess, connect: Connect, user: str, resume: Any
) -> None:
    """It is said what is wrong; the client may ask again."""
    client = await connect(gate, via="none", wait=False)
    answer = await client.call("auth", token=make_token(user), resume=resume)
    again = await client.call("auth", token=make_token(user))

    assert ("error", "bad_message") == (answer["type"], answer["code"])
    assert "resume" in answer["message"]
    assert "connected" == again["type"]


@pytest.mark.parametrize("resume", ["[]", "{", "", '{"event:1":{"epoch":"e","offset":-1}}'])
async def test_a_bad_resume_in_the_query(
    gate: ServerProcess, connect: Connect, user: str, resume: str
) -> None:
    """It cannot be asked again on this line."""
    client = await connect(gate, user=user, via="query", query={"resume": resume}, wait=False)
    code, reason = await client.closed()

    assert (1008, "bad_message") == (code, reason)
    assert ["error"] == [frame["type"] for frame in client.frames]
    assert client.frames[0]["message"].startswith("resume: ")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"lifetime": -100}, "token_expired"),
        ({"secret": OTHER_SECRET}, "token_invalid"),
        ({"via": "none"}, "auth_timeout"),
    ],
)
async def test_refusals_are_counted(
    servers: Servers, connect: Connect, how: dict[str, Any], reason: str
) -> None:
    """By reason; none of them is a connection."""
    # nobody who has a token is too slow with it
    (a,) = servers(auth_timeout=2 if reason == "auth_timeout" else 60)
    await refusal(await connect(a, wait=False, **how))
    counted = a.metrics()

    assert 0 == counted["keepseat_connections"]
    assert 0 == counted["keepseat_connections_opened_total"]
    assert 1 == counted['keepseat_connections_closed_total{code="3000"}']
    assert 1 == counted.get(f'keepseat_refusals_total{{reason="{reason}"}}')


@pytest.mark.parametrize("via", ROADS)
async def test_issuer_and_audience(servers: Servers, connect: Connect, via: str) -> None:
    """Where they are configured they are demanded."""
    (a,) = servers(jwt_issuer="https://shop.example", jwt_audience="tickets")
    right = {"iss": "https://shop.example", "aud": ["other", "tickets"]}
    client = await connect(a, via=via, **right)
    wrong: list[dict[str, Any]] = [
        {}, {**right, "iss": "https://shop.example/"}, {**right, "aud": "other"}, {**right, "aud": []},
        {"iss": right["iss"]}, {"aud": right["aud"]},
    ]  # fmt: skip
    refused = [await connect(a, via=via, wait=False, **claims) for claims in wrong]

    assert "1" == client.connected["userId"]
    assert [(3000, "token_invalid")] * len(wrong) == [await refusal(each) for each in refused]


@pytest.mark.parametrize("via", ROADS)
async def test_coming_back_by_each_road(gate: ServerProcess, connect: Connect, user: str, via: str) -> None:
    """`resume` and `replaces` go along: the position is taken up, and the old line is closed."""
    room = f"event:{user}"
    old = await connect(gate, user=user, via=via)
    await old.do("join-event", eventId=user)
    await Api(gate).publish(room, 1)
    await old.expect_messages(room, 1)
    position = old.resume()
    await Api(gate).publish(room, 2)
    new = await connect(gate, user=user, via=via, resume=position, replaces=old.connected["socketId"])
    restored = await new.expect("session-restored")
    heard = await new.expect_messages(room, 1)

    assert (4000, "replaced") == await old.closed()
    assert {room: (True, 1), f"user:{user}": (True, 0)} == {
        r["room"]: (r["recovered"], r["missed"]) for r in restored["rooms"]
    }
    assert [2] == heard
    new.assert_contiguous()


# --- origin ---


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({}, None),
        ({}, "own"),
        ({"Sec-Fetch-Site": "same-origin"}, "own"),
        ({"Sec-Fetch-Site": "same-origin"}, "https://behind.a.balancer.example"),
        ({"Sec-Fetch-Site": "none"}, None),
    ],
)
async def test_the_same_origin_is_let_in(
    gate: ServerProcess, connect: Connect, user: str, headers: dict[str, str], origin: str | None
) -> None:
    """By what the browser says of itself, or where Origin is Host; what is no browser sends none."""
    client = await connect(gate, user=user, headers=headers, origin=gate.url if origin == "own" else origin)

    assert user == client.connected["userId"]


async def status_of_upgrade(server: ServerProcess, **headers: str) -> int:
    """The status of an upgrade by hand, with a Host of its own."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    request = ["GET /ws HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *lines]  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write("\r\n".join([*request, "", ""]).encode())
    async with asyncio.timeout(5):
        status = await reader.readline()
    writer.close()
    return int(status.split()[1])


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("shop.example", "https://shop.example", 101),
        ("Shop.Example:8443", "https://shop.example:8443", 101),
        ("shop.example", "https://evil.example", 403),
        ("shop.example", "https://shop.example:8443", 403),
        ("shop.example", "https://shop.example.evil.example", 403),
    ],
)
async def test_the_origin_is_compared_with_the_host(
    gate: ServerProcess, host: str, origin: str, status: int
) -> None:
    """As a balancer that ends TLS passes it on: name and port."""
    assert status == await status_of_upgrade(gate, Host=host, Origin=origin)


FOREIGN = "https://evil.example"


@pytest.mark.parametrize("via", ROADS)
@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({}, FOREIGN),
        ({}, "null"),
        ({}, "http://127.0.0.1"),
        ({}, "http://127.0.0.1.evil.example"),
        ({"Sec-Fetch-Site": "cross-site"}, FOREIGN),
        ({"Sec-Fetch-Site": "same-site"}, "https://sub.shop.example"),
        ({"Sec-Fetch-Site": "cross-site"}, "http://127.0.0.1"),
        ({"X-Forwarded-Host": "evil.example"}, FOREIGN),
    ],
)
async def test_a_foreign_origin_is_refused(
    gate: ServerProcess, connect: Connect, user: str, headers: dict[str, str], origin: str, via: str
) -> None:
    """With 403, before the upgrade, however good the token."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(gate, user=user, via=via, headers=headers, origin=origin)

    assert 403 == caught.value.response.status_code


@pytest.mark.parametrize("origin", ["https://shop.example", "HTTPS://Shop.Example", "http://localhost:3000"])
async def test_origins_can_be_allowed(servers: Servers, connect: Connect, origin: str) -> None:
    """Those named, to the letter, scheme and port; no others."""
    (a,) = servers(allowed_origins="https://shop.example, http://localhost:3000/")
    client = await connect(a, origin=origin, headers={"Sec-Fetch-Site": "cross-site"})
    near = ["http://shop.example", "https://shop.example:8443", "https://a.shop.example", "http://localhost"]
    statuses = []
    for other in near:
        with pytest.raises(InvalidStatus) as caught:
            await connect(a, origin=other)
        statuses.append(caught.value.response.status_code)

    assert "1" == client.connected["userId"]
    assert [403] * len(near) == statuses


async def test_all_origins_can_be_allowed(servers: Servers, connect: Connect) -> None:
    """By a star."""
    (a,) = servers(allowed_origins="*")
    client = await connect(a, origin=FOREIGN, headers={"Sec-Fetch-Site": "cross-site"})

    assert "1" == client.connected["userId"]


# --- time ---


async def test_who_says_nothing_is_sent_away(servers: Servers, connect: Connect) -> None:
    """Within the deadline a token may come, after it the line is closed."""
    (a,) = servers(auth_timeout=3)
    started = time.monotonic()
    silent = await connect(a, via="none", wait=False)
    in_time = await connect(a, via="none", wait=False)
    await in_time.do("auth", token=make_token("2"))
    ended = await refusal(silent)
    took = time.monotonic() - started

    assert (3000, "auth_timeout") == ended
    assert 2.9 < took < 5
    assert "pong" == (await in_time.call("ping"))["type"]


async def test_broken_frames_do_not_lengthen_the_deadline(servers: Servers, connect: Connect) -> None:
    """Only a token counts."""
    (a,) = servers(auth_timeout=3)
    client = await connect(a, via="none", wait=False)
    for _ in range(3):
        await client.call("auth")

    assert (3000, "auth_timeout") == await client.closed(7)


async def test_a_token_ends_while_connected(gate: ServerProcess, connect: Connect, user: str) -> None:
    """`token-expiring` comes at once where less than a minute is left; at `exp` the line is closed."""
    client = await connect(gate, user=user, lifetime=4)
    warned = await client.expect("token-expiring")
    ended = await client.closed()
    late = time.time() - client.connected["tokenExpiresAt"] / 1000

    assert client.connected["tokenExpiresAt"] == warned["expiresAt"]
    assert (3000, "token_expired") == ended
    assert "token_expired" == client.frames[-1]["code"]
    assert -0.1 < late < 2


async def test_a_token_that_is_a_little_late(gate: ServerProcess, connect: Connect, user: str) -> None:
    """Clocks differ: within the leeway of 5 s it is good, and no longer."""
    client = await connect(gate, user=user, lifetime=-1)
    ended = await client.closed()
    late = time.time() - client.connected["tokenExpiresAt"] / 1000

    assert (3000, "token_expired") == ended
    assert 4 < late < 7


async def test_it_is_told_a_minute_before(gate: ServerProcess, connect: Connect, user: str) -> None:
    """Not sooner: a client that has time is not asked."""
    client = await connect(gate, user=user, lifetime=64)
    await client.call("ping")
    at_once = [frame for frame in client.frames if frame["type"] == "token-expiring"]
    warned = await client.expect("token-expiring")
    left = warned["expiresAt"] / 1000 - time.time()

    assert [] == at_once
    assert 58 < left <= 60.1


async def test_renewing_on_the_open_line(gate: ServerProcess, connect: Connect, user: str) -> None:
    """The rooms stay; the new expiry and the new patterns hold from then on."""
    client = await connect(gate, user=user, lifetime=5, rooms=["chat:old"], publish=["chat:old"])
    await client.do("join-room", room="chat:old")
    await client.expect("token-expiring")
    answer = await client.call(
        "auth", token=make_token(user, lifetime=1000, rooms=["chat:new"], publish=["chat:*"])
    )
    joined = await client.call("join-room", room="chat:new")
    refused = await client.call("join-room", room="chat:other")
    published = await client.call("publish", room="chat:old", data="still here")
    heard = await client.expect_messages("chat:old", 1)
    await eventually(
        lambda: time.time() * 1000 > client.connected["tokenExpiresAt"] + 500, "the old one is over"
    )
    alive = await client.call("ping")

    assert "authenticated" == answer["type"]
    assert abs(answer["tokenExpiresAt"] - (time.time() + 1000) * 1000) < 20_000
    assert ("room-joined", "forbidden", "published") == (
        joined["type"], refused["code"], published["type"]
    )  # fmt: skip
    assert ["still here"] == heard
    assert "pong" == alive["type"]
    assert 1 == len([frame for frame in client.frames if frame["type"] == "token-expiring"])


@pytest.mark.parametrize("via", ROADS)
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda user: make_token("somebody-else"), "user_mismatch"),
        (lambda user: make_token(user, lifetime=-10), "token_expired"),
        (lambda user: make_token(user, secret=OTHER_SECRET), "token_invalid"),
        (lambda user: make_token(user, purpose="entry"), "token_invalid"),
    ],
    ids=["another user", "expired", "another key", "another purpose"],
)
async def test_renewing_with_the_wrong_token(
    gate: ServerProcess, connect: Connect, user: str, make: Callable[[str], str], word: str, via: str
) -> None:
    """Closes the line, with the answer before, by whatever road it was opened."""
    client = await connect(gate, user=user, via=via)
    answer = await client.call("auth", token=make(user))

    assert ("error", word) == (answer["type"], answer["code"])
    assert (3000, word) == await client.closed()


async def test_renewing_a_revoked_sign_in(gate: ServerProcess, connect: Connect, user: str) -> None:
    """It may not come back by this door, and its open lines are closed."""
    signed_out = await connect(gate, user=user, sid="s1")
    other = await connect(gate, user=user, sid="s2")
    await Api(gate, key=make_token(user, sid="s1")).post("/auth/logout")
    ended = await signed_out.closed()
    answer = await other.call("auth", token=make_token(user, sid="s1"))

    assert (3000, "token_revoked") == ended
    assert ("error", "token_revoked") == (answer["type"], answer["code"])
    assert (3000, "token_revoked") == await other.closed()


# --- frames ---


@pytest.mark.parametrize("signed_in", [True, False])
@pytest.mark.parametrize(
    ("payload", "as_text", "code"),
    [(b"\x00\x01", False, 1003), (b'{"type":"ping","t":"\xff"}', True, 1007), (b"x" * 65_537, True, 1009)],
    ids=["binary", "not UTF-8", "too big"],
)
async def test_what_is_no_frame_of_ours(
    gate: ServerProcess, connect: Connect, user: str, payload: bytes, as_text: bool, code: int,
    signed_in: bool,
) -> None:  # fmt: skip
    """Closed with the code that says what was wrong, signed in or not."""
    client = await connect(gate, user=user, via="frame" if signed_in else "none", wait=signed_in)
    await client.socket.send(payload, text=as_text)

    assert code == (await client.closed())[0]


@pytest.mark.parametrize("pieces", [1, 20])
async def test_a_flood_is_cut_with_its_code(
    gate: ServerProcess, connect: Connect, user: str, pieces: int
) -> None:
    """900 kB, whole or in pieces: the code arrives though the client is still sending."""
    client = await connect(gate, user=user)
    with contextlib.suppress(ConnectionClosed):
        await client.socket.send(["x" * (900_000 // pieces)] * pieces)

    assert 1009 == (await client.closed())[0]


async def test_the_largest_frame(gate: ServerProcess, connect: Connect, user: str) -> None:
    """64 KiB to the byte are a frame like any other."""
    client = await connect(gate, user=user)
    frame = json.dumps({"type": "ping", "id": 99, "t": ""})
    await client.socket.send(frame.replace('""', '"' + "x" * (65_536 - len(frame)) + '"'))
    answer = await client.expect("pong", id=99)

    assert 65_536 - len(frame) == len(answer["t"])


async def test_a_fragmented_frame_is_one(gate: ServerProcess, connect: Connect, user: str) -> None:
    """And its parts count together."""
    client = await connect(gate, user=user)
    await client.socket.send(['{"type":"pi', 'ng","id":99', "}"])
    answer = await client.expect("pong", id=99)
    await client.socket.send(["x" * 40_000, "x" * 40_000])

    assert "pong" == answer["type"]
    assert 1009 == (await client.closed())[0]


# --- too much ---


async def test_who_asks_too_fast_is_told(gate: ServerProcess, connect: Connect, user: str) -> None:
    """The error carries the id and says when; after so long it works again, and nothing was lost."""
    client = await connect(gate, user=user)
    for n in range(35):
        await client.send("ping", id=f"p{n}")
    answers = [(await client._take(lambda f, n=n: f.get("id") == f"p{n}", f"p{n}", 5)) for n in range(35)]
    limited = [answer for answer in answers if answer["type"] == "error"]
    pause = max(answer["details"]["retryAfterMs"] for answer in limited)
    started = time.monotonic()
    await eventually(lambda: time.monotonic() > started + pause / 1000, "the pause is over")
    again = await client.call("ping")

    assert 36 == len([frame for frame in client.frames if "id" in frame])
    assert ["pong"] * 30 == [answer["type"] for answer in answers[:30]]
    assert 3 <= len(limited) <= 5
    assert {("rate_limited", True)} == {(a["code"], a["retryable"]) for a in limited}
    assert 0 < pause <= 201
    assert "pong" == again["type"]


@pytest.mark.parametrize(
    ("frame", "word"),
    [('{"type":"ping"}', "rate_limited"), ("no JSON", "bad_json"), ('{"type":"x"}', "unknown_type")],
)
async def test_who_goes_on_is_closed(
    gate: ServerProcess, connect: Connect, user: str, frame: str, word: str
) -> None:
    """With 1008; a new connection is served."""
    client = await connect(gate, user=user)
    for _ in range(100):
        await client.socket.send(frame)
    ended = await client.closed()
    errors = [frame["code"] for frame in client.frames if frame["type"] == "error"]
    again = await connect(gate, user=user)

    assert (1008, word) == ended
    assert {word} == set(errors)
    assert 20 <= len(errors) <= 22
    assert "pong" == (await again.call("ping"))["type"]


async def test_some_mistakes_are_forgiven(gate: ServerProcess, connect: Connect, user: str) -> None:
    """A client with a few broken frames is told of each, and stays."""
    client = await connect(gate, user=user)
    for _ in range(10):
        await client.socket.send("no JSON")
        await client.expect("error", code="bad_json")

    assert "pong" == (await client.call("ping"))["type"]


async def test_the_eleventh_costs_the_first_its_place(servers: Servers, connect: Connect) -> None:
    """Over all servers, the oldest goes; another user's connections do not count."""
    a, b = servers(2)
    other = await connect(a, user="2")
    clients = [await connect((a, b)[n % 2]) for n in range(10)]
    full = [client.is_open for client in clients]
    eleventh = await connect(b)
    first = await clients[0].closed()
    twelfth = await connect(b)
    second = await clients[1].closed()
    for client in (other, *clients[2:], eleventh, twelfth):
        assert "pong" == (await client.call("ping"))["type"]

    assert [True] * 10 == full
    assert [(4000, "replaced")] * 2 == [first, second]


async def test_a_full_server(servers: Servers, connect: Connect) -> None:
    """1013: elsewhere, or later; when one has gone there is room again."""
    (a,) = servers(max_connections=2)
    clients = [await connect(a, user=str(n)) for n in range(2)]
    third = await connect(a, via="none", wait=False)
    ended = await third.closed()
    await clients[0].close()
    a.wait_metric("keepseat_connections", 1)
    again = await connect(a, user="3")

    assert (1013, "unavailable") == ended
    assert ("error", "unavailable", True) == tuple(
        third.frames[0][name] for name in ("type", "code", "retryable")
    )
    assert "3" == again.connected["userId"]


async def test_strangers_of_one_address(servers: Servers, connect: Connect) -> None:
    """Behind a trusted balancer each address may have so many without a token; who signs in makes room."""
    (a,) = servers(trusted_proxies="127.0.0.0/8", max_unauthenticated_per_address=2)

    def of(address: str) -> dict[str, str]:
        # a client may say what it likes; two balancers have appended whom they saw
        return {"X-Forwarded-For": f"6.6.6.6, {address}, 127.0.0.9", "X-Real-Ip": "5.5.5.5"}

    strangers = [await connect(a, via="none", wait=False, headers=of("1.1.1.1")) for _ in range(2)]
    third = await connect(a, via="none", wait=False, headers=of("1.1.1.1"))
    elsewhere = await connect(a, user="2", headers=of("2.2.2.2"))
    ended = await third.closed()
    await strangers[0].do("auth", token=make_token("1"))
    again = await connect(a, user="3", headers=of("1.1.1.1"))

    assert (1013, "unavailable") == ended
    assert ("2", "3") == (elsewhere.connected["userId"], again.connected["userId"])
    assert strangers[1].is_open


async def test_addresses_that_are_only_claimed(servers: Servers, connect: Connect) -> None:
    """Without trusted balancers the header says nothing: all are of the peer's address."""
    (a,) = servers(max_unauthenticated_per_address=2)
    strangers = [
        await connect(a, via="none", wait=False, headers={"X-Forwarded-For": f"{n}.1.1.1"}) for n in range(3)
    ]

    assert (1013, "unavailable") == await strangers[2].closed()
    assert [True, True] == [client.is_open for client in strangers[:2]]


async def test_who_does_not_answer_pings(servers: Servers, connect: Connect) -> None:
    """4001, in time; who does answer stays, and how long that took is counted."""
    # who answers has time for it, also where this process stands still for a while
    (a,) = servers(ping_interval=0.5, ping_timeout=3)
    dead, alive = await connect(a), await connect(a, user="2")
    dead.pause()
    await eventually(lambda: a.metric('keepseat_connections_closed_total{code="4001"}') == 1, "it is closed")
    dead.unpause()
    await eventually(lambda: a.metric("keepseat_ping_seconds_count") >= 2, "pings are measured")

    assert "pong" == (await alive.call("ping"))["type"]
    assert 500 == alive.connected["pingIntervalMs"]
    assert (await dead.closed())[0] in {4001, 1006}


async def test_while_the_store_is_away(servers: Servers, connect: Connect, tmp_path: Path) -> None:
    """`unavailable` and 1013 by each road; a bad token is a bad token all the same."""
    store = StoreProcess(valkey_binary(), tmp_path / "store")
    try:
        (a,) = servers(redis_url=store.url)
    finally:
        store.kill()
    good = [await connect(a, via=via, wait=False) for via in ROADS]
    bad = [await connect(a, via=via, wait=False, secret=OTHER_SECRET) for via in ROADS]
    away = await asyncio.gather(*(client.closed() for client in good))
    refused = await asyncio.gather(*(refusal(client) for client in bad))

    assert [(1013, "unavailable")] * 3 == away
    assert [(3000, "token_invalid")] * 3 == refused
    assert {("error", "unavailable", True)} == {
        (frame["type"], frame["code"], frame["retryable"]) for client in good for frame in client.frames
    }


# --- what the log says ---


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_token_is_ever_logged(servers: Servers, connect: Connect, log_format: str) -> None:
    """Good or bad, by whatever road, broken in whatever way; nor the secret, nor the API key."""
    (a,) = servers(log_format=log_format, drain_seconds=1)
    tokens = [
        make_token("1"), make_token("2", lifetime=-100), make_token("3", secret=OTHER_SECRET),
        make_token("4", algorithm="HS512", secret=SECRET * 2), _unsigned("5"),
    ]  # fmt: skip
    for token in tokens:
        for via in ROADS:
            await connect(a, via=via, token=token, wait=False)
        await Api(a, key=token).get(f"/api/events?token={token}")
        await Api(a, key=token).get(f"/nowhere?token={token}")
    for query in (
        {"resume": "{"},
        {"token": tokens[0] + "\udcff"},
        {"token": tokens[0], "replaces": "\udcff"},
    ):
        odd = await raw_query(connect, a, {"token": tokens[0], **query})
        await odd.closed()
    with pytest.raises(InvalidStatus):
        await connect(a, via="query", token=tokens[0], origin=FOREIGN)
    await Api(a).get("/api/events")
    a.terminate()
    secrets = [part for token in tokens for part in token.split(".")[1:] if part]

    assert "listens on" in a.output
    assert [] == [secret for secret in secrets if secret[:20] in a.output]
    assert "eyJ" not in a.output
    assert SECRET not in a.output
    assert "the api key" not in a.output


async def test_no_token_is_logged_while_leaving(servers: Servers, connect: Connect) -> None:
    """Who comes then is told 503, and the log has nothing of the query."""
    (a,) = servers(drain_seconds=20)
    here = await connect(a)
    # it answers no goodbye, or the server would have left a moment after it, which may be at once
    here.pause()
    a.signal(signal.SIGTERM)
    await eventually(lambda: a.ready_status() == 503, "it is leaving")
    with pytest.raises(InvalidStatus) as caught:
        await connect(a, via="query")
    await here.drop()
    a.wait()

    assert 503 == caught.value.response.status_code
    assert "leaving" in a.output
    assert "eyJ" not in a.output
    assert "token=" not in a.output


async def raw_query(connect: Connect, server: ServerProcess, query: dict[str, str]) -> Client:
    """Connect with a query that is not UTF-8 where it has a lone surrogate."""
    words = "&".join(f"{n}={quote(v.encode('utf-8', 'surrogateescape'))}" for n, v in query.items())
    return await connect(f"{server.ws_url}?{words}", via="none", wait=False)


@pytest.mark.parametrize(
    ("query", "ended"),
    [({"token": "\udcff"}, (3000, "token_invalid")), ({"resume": "\udcff"}, (1008, "bad_message"))],
    ids=["token", "resume"],
)
async def test_a_query_that_is_not_utf_8(
    gate: ServerProcess, connect: Connect, user: str, query: dict[str, str], ended: tuple[int, str]
) -> None:
    """Is the client's mistake, and is told as such."""
    client = await raw_query(connect, gate, {"token": make_token(user), **query})

    assert ended == await client.closed()
    assert "Traceback" not in gate.output


async def test_many_at_once(gate: ServerProcess, connect: Connect, user: str) -> None:
    """A hundred users in one moment, each by some road; every one is who its token says."""
    names = [f"{user}-{n}" for n in range(100)]
    clients = await asyncio.gather(
        *(connect(gate, user=name, via=ROADS[n % 3]) for n, name in enumerate(names))
    )

    assert names == [client.connected["userId"] for client in clients]
    assert 100 == len({client.connected["socketId"] for client in clients})
