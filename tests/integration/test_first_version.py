"""What the first version of this system got wrong, each as a test that would fail again.

The first version was a Socket.IO server with a hand-written session manager. What concerned its page is in
``tests/browser``.
"""

import time
from pathlib import Path

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.client import Client
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.tokens import token
from tests.support.waiting import eventually


async def test_a_session_is_created_by_the_first_command(servers: Servers, connect: Connect) -> None:
    """Its update did nothing where no session existed, so none ever did: first join, kill, reconnect
    elsewhere, restored."""
    a, b = servers(2)
    client = await connect(a, user="mina")
    await client.do("join-event", eventId="123")
    a.kill()
    restored = await (await connect(b, user="mina")).expect("session-restored")

    assert "123" == restored["session"]["eventId"]


async def test_selected_seats_are_not_what_the_client_says(servers: Servers, connect: Connect) -> None:
    """Its `selectedSeats` was whatever the client had sent: a client's own data never shows there."""
    (a,) = servers()
    client = await connect(a)
    await client.do("update-session", data={"selectedSeats": ["A-1"], "eventId": "9"})
    restored = await (await connect(a)).expect("session-restored")

    assert [] == restored["session"]["selectedSeats"]
    assert restored["session"]["eventId"] is None
    assert {"selectedSeats": ["A-1"], "eventId": "9"} == restored["session"]["data"]


async def test_identity_comes_from_the_token_alone(servers: Servers, connect: Connect) -> None:
    """Clients sent their own userId: whatever a message says, the user is who the token names."""
    (a,) = servers()
    client = await connect(a, user="mina")
    await client.send("join-event", eventId="1", userId="eve", id=1)
    await client.expect("event-joined")
    api = Api(a)

    assert 200 == (await api.get("/api/users/mina")).status
    assert 404 == (await api.get("/api/users/eve")).status


async def test_a_token_is_looked_at_again(servers: Servers, connect: Connect) -> None:
    """It never looked at a token after the handshake: an expired one ends the connection."""
    (a,) = servers()
    client = await connect(a, lifetime=2)
    started = time.monotonic()
    closed = await client.closed(timeout=6)

    assert (3000, "token_expired") == closed
    assert time.monotonic() - started < 4


async def test_refusals_are_machine_codes(servers: Servers, connect: Connect) -> None:
    """Its client compared message texts, and a capital letter made the sign-in page unreachable."""
    (a,) = servers()
    client = await connect(a, token=token("1", secret="x" * 40), wait=False)
    error = await client.expect("error")

    assert "token_invalid" == error["code"]
    assert (3000, "token_invalid") == await client.closed()


async def test_the_user_count_is_of_all_servers(servers: Servers, connect: Connect) -> None:
    """Its room-info counted the connections of one server."""
    a, b = servers(2)
    clients = [await connect(server, user=str(n)) for n, server in enumerate((a, b, b))]
    counts = [(await client.do("join-event", eventId="9"))["userCount"] for client in clients]
    await clients[0].expect("room-info", userCount=3)

    assert 1 == counts[0]


async def test_a_store_that_is_away_is_told(tmp_path: Path, servers: Servers, connect: Connect) -> None:
    """It went on alone without a word: /readyz turns red, commands say unavailable, connections stay, and
    afterwards nothing is missing."""
    store = StoreProcess(valkey_binary(), tmp_path / "store", appendonly="yes", appendfsync="always")
    try:
        (a,) = servers(redis_url=store.url)
        client = await connect(a)
        await client.do("join-event", eventId="123")
        store.kill()
        answer = await client.call("join-event", eventId="124")
        await eventually(lambda: a.ready_status() == 503, "the server is not ready", 6)
        refused = await connect(a, user="2", wait=False)
        turned_away = await refused.closed()

        store.start()
        await eventually(lambda: a.ready_status() == 200, "the server is ready again", 10)
        await client.do("join-event", eventId="123")
        await Api(a).publish("event:123", "back")
        heard = await client.expect_messages("event:123", 1)

        assert ("error", "unavailable", True) == (answer["type"], answer["code"], answer["retryable"])
        assert answer["details"]["outcome"] in {"none", "unknown"}
        assert (1013, "unavailable") == turned_away
        assert ["back"] == heard
        client.assert_contiguous()
    finally:
        store.kill()


def test_no_default_secret(tmp_path: Path) -> None:
    """Its secret was `your-secret-key-change-in-production`: a short one is refused, none means demo mode
    with a generated one, which is never the same twice."""
    short = ServerProcess(tmp_path / "short.log", jwt_secret="your-secret-key")
    short.start()
    status = short.wait()
    made = []
    for n in range(2):
        demo = ServerProcess(tmp_path / f"{n}.log", jwt_secret="", data_dir=str(tmp_path / f"var{n}"))
        demo.start()
        demo.wait_ready()
        demo.terminate()
        made.append((tmp_path / f"var{n}" / "jwt-secret").read_text())

    assert 2 == status
    assert "keepseat: --jwt-secret: must have at least 32 bytes\n" == short.output
    assert made[0] != made[1]


# --- the waiting room and the seats ---


async def line_of(connect: Connect, server: ServerProcess, count: int) -> list[Client]:
    """So many users in line, in this order."""
    clients = [await connect(server, user=f"user-{n}") for n in range(count)]
    for client in clients:
        await client.do("join-queue", eventId="42")
    return clients


async def test_everyone_is_let_in_once_whoever_looks(servers: Servers, connect: Connect) -> None:
    """Nobody called its queue processor, and two servers that did each removed what the other had read: up to
    all of them were lost. Three servers look at one line: each user is let in, once, and in order."""
    a, b, c = servers(3)
    api = Api(a)
    await api.put("/api/events/42", {"title": "A", "capacity": 1})
    line = await line_of(connect, b, 30)
    await connect(c, user="watcher")
    await api.put("/api/events/42", {"title": "A", "capacity": 100, "admitPerSecond": 20})

    for client in line[1:]:
        await client.expect("queue-entry-allowed")

    kinds = [[f["type"] for f in client.frames].count("queue-entry-allowed") for client in line]
    assert [0] + [1] * 29 == kinds
    assert 30 == (await api.get("/api/events/42/stats")).json["admitted"]


async def test_joining_again_moves_nobody_to_the_back(servers: Servers, connect: Connect) -> None:
    """It wrote the place anew at each join, with the server's own clock for a number."""
    a, b = servers(2)
    await Api(a).put("/api/events/42", {"title": "A", "capacity": 1})
    line = await line_of(connect, a, 4)
    tab = await connect(b, user="user-1")

    places = [await client.do("join-queue", eventId="42") for client in (line[1], tab, line[2])]

    assert [1, 1, 2] == [place["position"] for place in places]


async def test_nobody_lengthens_anothers_admission(servers: Servers, connect: Connect) -> None:
    """All its admissions were one key with one life: each newcomer lengthened everyone's."""
    (a,) = servers()
    await Api(a).put("/api/events/42", {"title": "A", "capacity": 100, "admissionSeconds": 4})
    first = await connect(a, user="first")
    mine = await first.do("join-queue", eventId="42")
    later = await connect(a, user="later")
    other = await later.do("join-queue", eventId="42")
    again = await first.do("join-queue", eventId="42")

    left = await first.expect("queue-left")

    assert mine["expiresAt"] == again["expiresAt"] < other["expiresAt"]
    assert "expired" == left["reason"]


async def test_the_restored_session_says_where_in_line(servers: Servers, connect: Connect) -> None:
    """It promised the same place and did not say which."""
    a, b = servers(2)
    await Api(a).put("/api/events/42", {"title": "A", "capacity": 1})
    line = await line_of(connect, a, 6)
    await line[5].drop()

    restored = await (await connect(b, user="user-5")).expect("session-restored")

    assert ("42", "waiting", 5) == tuple(restored["queue"][k] for k in ("eventId", "status", "position"))
    assert "42" == restored["session"]["queueEventId"]


async def test_restored_seats_are_those_that_are_held(servers: Servers, connect: Connect) -> None:
    """What is over while the user is away is not shown as its own; the limit is four, as the docs say."""
    a, b = servers(2)
    seats = [f"A-{n}" for n in range(1, 9)]
    await Api(a).put("/api/events/42", {"title": "A", "seats": seats, "holdSeconds": 4})
    client, other = await connect(a, user="mina"), await connect(b, user="watcher")
    await other.do("join-seats", eventId="42")
    five = await client.call("hold-seats", eventId="42", seats=seats[:5])
    await client.do("hold-seats", eventId="42", seats=seats[:4])
    await client.drop()
    await other.expect("seats-updated", seats=dict.fromkeys(seats[:4], "available"))

    restored = await (await connect(b, user="mina")).expect("session-restored")

    assert "too_many_seats" == five["code"]
    assert ([], None) == (restored["session"]["selectedSeats"], restored["seats"])
