"""The back end's calls, the public events and the probes, against a real server process."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import HTTPError

from handlers import base
from session import keys
from session.protocol import MAX_DATA_BYTES
from tests.conftest import Connect, Servers
from tests.support.api import Answer, Api
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import API_KEY
from tests.support.waiting import eventually

CONCERT = {
    "title": "A concert",
    "venue": "Hall",
    "startsAt": 5,
    "capacity": 9,
    "admitPerSecond": 2.5,
    "admissionSeconds": 600,
    "holdSeconds": 100,
    "maxHoldSeconds": 150,
    "maxSeats": 2,
    "seats": ["A-1", "A-2"],
}


@pytest.fixture
def server(servers: Servers) -> ServerProcess:
    return servers()[0]


@pytest.fixture
def api(server: ServerProcess) -> Api:
    return Api(server)


def outcome(answer: Answer) -> tuple[int, Any]:
    """Status and, where there is one, the error's code; errors have one shape."""
    if answer.status < 400:
        return answer.status, None
    error = answer.json["error"]
    assert {"error"} == answer.json.keys()
    assert {"code", "message"} <= error.keys() <= {"code", "message", "details"}
    assert error["message"]
    return answer.status, error["code"]


# --- who may call ---


CALLS = [
    ("GET", "/api/events"),
    ("PUT", "/api/events/42"),
    ("GET", "/api/events/42"),
    ("DELETE", "/api/events/42"),
    ("GET", "/api/events/42/stats"),
    ("POST", "/api/rooms/event:42/messages"),
    ("GET", "/api/users/1"),
    ("POST", "/api/users/1/disconnect"),
    ("POST", "/api/users/1/revoke"),
    ("GET", "/api/nothing"),
]


async def test_the_back_end_alone_may_call(server: ServerProcess) -> None:
    """Without the key, or with another, every call is 401, be there such a call or not."""
    answers = [await Api(server, key)(*call, {}) for call in CALLS for key in (None, "another key", "")]

    assert {(401, "unauthorized")} == {outcome(answer) for answer in answers}


async def test_the_key_is_a_bearer_token(server: ServerProcess) -> None:
    """The scheme's name may be written as one likes; another scheme is none."""
    expected = {f"Bearer {API_KEY}": 200, f"bearer {API_KEY}": 200, f"Basic {API_KEY}": 401, API_KEY: 401}

    actual = {
        sent: (await Api(server, key=None).get("/api/events", Authorization=sent)).status for sent in expected
    }

    assert expected == actual


async def test_without_a_key_there_is_no_api(servers: Servers) -> None:
    """A server that was given none has no calls, whatever is sent; what everyone may see is there."""
    (server,) = servers(api_key="")

    answers = [await Api(server, key)(*call, {}) for call in CALLS for key in (None, "", API_KEY)]
    public = await Api(server, key=None).get("/events")

    assert {(404, "not_found")} == {outcome(answer) for answer in answers}
    assert 200 == public.status


def test_the_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a refusal takes must not tell how much of a guessed key was right."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return False

    monkeypatch.setattr(base.hmac, "compare_digest", compare)
    handler: Any = SimpleNamespace(
        services=SimpleNamespace(api_keys=["secret", "previous"]),
        request=SimpleNamespace(headers={"Authorization": "Bearer secret"}),
        set_header=lambda name, value: None,
    )

    with pytest.raises(HTTPError, match="401"):
        base.Handler.require_api_key(handler)

    assert [(b"secret", b"secret"), (b"secret", b"previous")] == compared


async def test_an_unknown_call_is_told_as_json(api: Api) -> None:
    """Errors have one shape, also of calls that there are not, and of methods."""
    answers = [await api.get("/api/nothing"), await api.get("/api"), await api.post("/api/events/42", {})]

    assert [(404, "not_found"), (404, "not_found"), (405, "method_not_allowed")] == [
        outcome(answer) for answer in answers
    ]
    assert "GET, DELETE, PUT" == answers[2].headers["allow"]


# --- events ---


async def test_an_event_lives_from_put_to_delete(api: Api) -> None:
    """201 when created, 200 when replaced, 204 when removed, 404 when not there."""
    statuses = [
        (await api.put("/api/events/42", CONCERT)).status,
        (await api.put("/api/events/42", CONCERT)).status,
        (await api.get("/api/events/42")).status,
        (await api.delete("/api/events/42")).status,
        (await api.delete("/api/events/42")).status,
        (await api.get("/api/events/42")).status,
        (await api.get("/events/42")).status,
        (await api.get("/api/events/42/stats")).status,
    ]

    assert [201, 200, 200, 204, 404, 404, 404, 404] == statuses


async def test_the_back_end_reads_what_it_put(api: Api) -> None:
    """All settings come back under the names that they were sent with; the list leaves the seats out."""
    await api.put("/api/events/42", CONCERT)

    one = await api.get("/api/events/42")
    all_of_them = await api.get("/api/events")

    assert {"id": "42", "seatCount": 2, **CONCERT} == one.json
    assert [{**one.json, "seats": None}] == [{**e, "seats": None} for e in all_of_them.json["events"]]
    assert "seats" not in all_of_them.json["events"][0]
    assert "no-store" == one.headers["cache-control"]


@pytest.mark.parametrize(
    "seating",
    [
        {},
        {"seats": ["B-2", "A-1"]},
        {"sections": [{"name": "VIP", "rows": 2, "seatsPerRow": 3, "price": 165000.5}]},
    ],
    ids=["no seats", "seats", "sections"],
)
async def test_what_was_read_can_be_put_again(api: Api, seating: dict[str, Any]) -> None:
    """An event goes through a GET and a PUT unchanged, whatever its seats were made from."""
    await api.put("/api/events/42", {"title": "A", **seating})
    before = await api.get("/api/events/42")

    again = await api.put("/api/events/42", before.json)
    after = await api.get("/api/events/42")

    assert 200 == again.status
    assert seating.items() <= after.json.items()
    assert before.json == after.json


async def test_all_servers_see_an_event_at_once(servers: Servers) -> None:
    """What one server was told, another knows as soon as the answer is there."""
    one, other = (Api(server) for server in servers(2))

    await one.put("/api/events/42", {"title": "First"})
    created = await other.get("/api/events")
    await other.delete("/api/events/42")
    removed = await one.get("/api/events")

    assert ["First"] == [event["title"] for event in created.json["events"]]
    assert [] == removed.json["events"]


async def test_a_bad_event_is_refused(api: Api) -> None:
    """No JSON is 400, a broken rule 422; nothing is created."""
    expected = {
        b"{": (400, "bad_json"),
        b"\xff": (400, "bad_json"),
        b'{"title":"\\ud800"}': (400, "bad_json"),
        b'{"unknown":' + b"[" * 100_000: (400, "bad_json"),
        b"": (422, "bad_message"),
        b"[]": (422, "bad_message"),
        b"{}": (422, "bad_message"),
        b'{"title":"A","seats":["A 1"]}': (422, "bad_message"),
        b'{"title":"A","holdSeconds":5,"maxHoldSeconds":4}': (422, "bad_message"),
    }

    actual = {body: outcome(await api.put("/api/events/42", body)) for body in expected}
    found = await api.get("/api/events")

    assert expected == actual
    assert {"events": []} == found.json


async def test_an_event_may_have_8_mib(api: Api) -> None:
    """So many bytes are still read."""
    body = b'{"title":"Big"}'.ljust(8 * 1024 * 1024)

    answer = await api.put("/api/events/42", body)

    assert 201 == answer.status


async def test_an_id_in_a_path_keeps_the_rule(api: Api) -> None:
    """It is decoded once and checked after that; what is no UTF-8 is no path."""
    expected = {
        "a-_Z9": 201,
        "x" * 64: 201,
        "%34%32": 201,
        "x" * 65: 422,
        "a%2Fb": 422,
        "a%0A": 422,
        "%20a": 422,
        "%EC%A2%8C": 422,
        "%2534": 422,
        "a:b": 422,
        "%FF": 400,
    }

    actual = {name: (await api.put(f"/api/events/{name}", {"title": "A"})).status for name in expected}
    found = await api.get("/api/events")

    assert expected == actual
    assert {"a-_Z9", "x" * 64, "42"} == {event["id"] for event in found.json["events"]}


async def test_stats_count_seats_and_connections_on_all_servers(servers: Servers, connect: Connect) -> None:
    """Available are all seats, null where there are none; connections are those in the event's room."""
    one, other = servers(2)
    api = Api(one)
    await api.put("/api/events/42", CONCERT)
    await api.put("/api/events/none", {"title": "Without seats"})
    for server, user in ((one, "a"), (other, "b")):
        await (await connect(server, user=user)).do("join-event", eventId="42")

    async def both() -> Any:
        stats = (await api.get("/api/events/42/stats")).json
        return stats if stats["connections"] == 2 else None

    stats = await eventually(both, "both connections count")
    without = (await api.get("/api/events/none/stats")).json

    zeros = {"waiting": 0, "admitted": 0, "held": 0, "sold": 0, "paused": False}
    assert {**zeros, "available": 2, "connections": 2} == stats
    assert {**zeros, "available": None, "connections": 0} == without


async def test_removing_an_event_resets_its_readers(
    server: ServerProcess, api: Api, connect: Connect
) -> None:
    """Who is in the room is told, and hears what comes after; what was before cannot be resumed."""
    await api.put("/api/events/42", {"title": "A"})
    reader = await connect(server)
    await reader.do("join-event", eventId="42")
    before = await api.publish("event:42", "old")
    await reader.expect_messages("event:42", 1)

    await api.delete("/api/events/42")
    reset = await reader.expect("room-reset", room="event:42")
    after = await api.publish("event:42", "new")
    heard = await reader.expect_messages("event:42", 1)
    late = await connect(server, user="2")
    since = {"epoch": before["epoch"], "offset": 0}
    joined = await late.do("join-event", eventId="42", since=since)

    assert before["epoch"] != reset["epoch"] == after["epoch"]
    assert ["new"] == heard
    assert (False, 0) == (joined["recovered"], joined["missed"])
    reader.assert_contiguous()


# --- what everyone may see ---


async def test_everyone_sees_the_events(server: ServerProcess, api: Api) -> None:
    """Without a key, without what is not theirs to know; a list without seat ids, an event with them."""
    await api.put("/api/events/42", CONCERT)
    public = Api(server, key=None)

    listed = await public.get("/events")
    one = await public.get("/events/42")

    shown = {
        "id": "42",
        "title": "A concert",
        "venue": "Hall",
        "startsAt": 5,
        "maxSeats": 2,
        "waitingRoom": True,
        "seatCount": 2,
    }
    assert {"events": [shown]} == listed.json
    assert {**shown, "seats": ["A-1", "A-2"]} == one.json


@pytest.mark.parametrize("path", ["/events", "/events/42"])
async def test_what_has_not_changed_is_not_sent_again(server: ServerProcess, api: Api, path: str) -> None:
    """An ETag names the content: 304 while it holds, another one when the event has changed."""
    await api.put("/api/events/42", {"title": "A"})
    public = Api(server, key=None)
    first = await public.get(path)
    etag = first.headers["etag"]

    same = await public.get(path, If_None_Match=etag)
    head = await public("HEAD", path)
    await api.put("/api/events/42", {"title": "B"})
    other = await public.get(path, If_None_Match=etag)

    assert "public, max-age=2" == first.headers["cache-control"]
    assert (304, b"") == (same.status, same.body)
    assert (200, b"", etag) == (head.status, head.body, head.headers["etag"])
    assert 200 == other.status
    assert etag != other.headers["etag"]


@pytest.mark.parametrize(("path", "status"), [("/events", 200), ("/events/42", 200), ("/events/43", 404)])
async def test_pages_of_any_site_may_show_what_there_is_to_see(
    server: ServerProcess, api: Api, path: str, status: int
) -> None:
    """A shop's page from another origin reads it as everyone does; nothing of the API is open so."""
    await api.put("/api/events/42", {"title": "A"})
    seen = await Api(server, key=None).get(path, Origin="https://shop.example")
    closed = await api.get("/api/events/42", Origin="https://shop.example")

    assert (status, "*") == (seen.status, seen.headers.get("access-control-allow-origin"))
    assert "access-control-allow-origin" not in closed.headers


# --- messages ---


async def test_a_message_reaches_the_room(server: ServerProcess, api: Api, connect: Connect) -> None:
    """201 says where it stands; the room hears it with that position. The path may encode the colon."""
    reader = await connect(server)
    joined = await reader.do("join-event", eventId="42")

    first = await api.post("/api/rooms/event:42/messages", {"data": {"n": [1, None, "좌석"]}})
    second = await api.post("/api/rooms/event%3A42/messages", {"data": None})
    heard = await reader.expect_messages("event:42", 2)

    assert (201, 201) == (first.status, second.status)
    assert {"room": "event:42", "epoch": first.json["epoch"], "offset": joined["offset"] + 1} == first.json
    assert first.json["offset"] + 1 == second.json["offset"]
    assert [{"n": [1, None, "좌석"]}, None] == heard


async def test_a_personal_message_reaches_that_user_alone(
    server: ServerProcess, api: Api, connect: Connect
) -> None:
    """On every connection of theirs, whatever characters their id has; nobody else hears of it."""
    name = "mina|x@y.z"
    hers = [await connect(server, user=name) for _ in range(2)]
    his = await connect(server, user="theo")

    told = await api.publish(f"user:{name}", "for her")
    await api.publish("user:theo", "for him")
    heard = [await client.expect_messages(f"user:{name}", 1) for client in hers]
    his_own = await his.expect_messages("user:theo", 1)

    assert f"user:{name}" == told["room"]
    assert [["for her"], ["for her"]] == heard
    assert ["for him"] == his_own
    assert ["for him"] == [frame["data"] for frame in his.frames if frame["type"] == "message"]


async def test_a_key_makes_a_message_go_out_once(servers: Servers) -> None:
    """Repeated with its key, on whatever server, it brings the first answer; without a key it is another."""
    one, other = (Api(server) for server in servers(2))

    first = await one.publish("event:42", "a", key="order-1")
    again = await other.publish("event:42", "a", key="order-1")
    plain = [(await one.publish("event:42", "a"))["offset"] for _ in range(2)]
    elsewhere = await one.publish("event:43", "a", key="order-1")

    assert first == again
    assert [first["offset"] + 1, first["offset"] + 2] == plain
    assert "event:43" == elsewhere["room"]


async def test_a_key_sent_twenty_times_at_once_is_one_message(servers: Servers, connect: Connect) -> None:
    """Over two servers; all get the same answer, and the room hears one of them."""
    a, b = servers(2)
    reader = await connect(a)
    await reader.do("join-event", eventId="42")

    answers = await asyncio.gather(
        *((Api(server).publish("event:42", n, key="order-1")) for n in range(10) for server in (a, b))
    )
    await Api(b).publish("event:42", "the next")
    heard = await reader.expect_messages("event:42", 2)

    assert [answers[0]] * 20 == answers
    assert "the next" == heard[1]
    assert [1, 2] == [frame["offset"] for frame in reader.frames if frame["type"] == "message"]


async def test_the_keys_of_users_are_others(server: ServerProcess, api: Api, connect: Connect) -> None:
    """A user cannot take a key of the back end's away by publishing with it first."""
    user = await connect(server, rooms=["chat:*"], publish=["chat:*"])
    theirs = await user.do("publish", room="chat:1", data="user", key="order-1")

    ours = await api.publish("chat:1", "back end", key="order-1")

    assert theirs["offset"] + 1 == ours["offset"]


async def test_an_idempotency_key_keeps_the_rule(api: Api) -> None:
    """1 to 128 visible characters; nothing is published under a bad one."""
    expected = {"k" * 128: 201, "!~": 201, "k" * 129: 422, "": 422, "a b": 422, "\xe9": 422}
    path = "/api/rooms/event:42/messages"

    actual = {key: (await api.post(path, {"data": 1}, Idempotency_Key=key)).status for key in expected}
    after = await api.publish("event:42", 2)

    assert expected == actual
    assert 3 == after["offset"]


async def test_a_bad_message_is_refused(api: Api) -> None:
    """The room's name and the size of the data have their rules; 64 KiB of JSON are still taken."""
    cases: list[tuple[str, Any, tuple[int, str | None]]] = [
        ("event", {"data": 1}, (422, "bad_message")),
        ("ev%20ent:1", {"data": 1}, (422, "bad_message")),
        ("event:a%2Fb", {"data": 1}, (422, "bad_message")),
        ("event:42%0A", {"data": 1}, (422, "bad_message")),
        ("event:42", {}, (422, "bad_message")),
        ("event:42", b"{", (400, "bad_json")),
        ("event:42", b'{"data":"\\ud800"}', (400, "bad_json")),
        ("event:42", {"data": "x" * (MAX_DATA_BYTES - 1)}, (422, "bad_message")),
        ("event:42", {"data": "x" * (MAX_DATA_BYTES - 2)}, (201, None)),
    ]

    actual = [outcome(await api.post(f"/api/rooms/{room}/messages", body)) for room, body, _ in cases]
    after = await api.publish("event:42", "next")

    assert [expected for _, _, expected in cases] == actual
    assert 2 == after["offset"]


async def test_a_body_over_the_limit_is_refused(api: Api) -> None:
    """128 KiB for all but events."""
    body = json.dumps({"data": 1}).encode() + b" " * 128 * 1024

    answer = await api.post("/api/rooms/event:42/messages", body)

    assert 413 == answer.status


# --- users ---


async def test_a_user_is_known_over_all_servers(servers: Servers, connect: Connect) -> None:
    """The session, and the connections wherever they are; 404 where nothing is known."""
    one, other = servers(2)
    first = await connect(one, user="mina@x:1")
    second = await connect(other, user="mina@x:1")
    await first.do("join-event", eventId="42")

    known = await Api(one).get("/api/users/mina%40x%3A1")
    unknown = await Api(one).get("/api/users/nobody")
    bad = await Api(one).get("/api/users/a%2Fb")

    assert "mina@x:1" == known.json["userId"]
    assert "42" == known.json["session"]["eventId"]
    assert {(c.connected["socketId"], c.connected["instance"]) for c in (first, second)} == {
        (c["socketId"], c["instance"]) for c in known.json["connections"]
    }
    assert [(404, "not_found"), (422, "bad_message")] == [outcome(unknown), outcome(bad)]


async def test_a_removed_user_is_closed_everywhere(servers: Servers, connect: Connect) -> None:
    """202, then 3003 on every server; others stay, and a new connection is let in."""
    one, other = servers(2)
    removed = [await connect(one, user="1"), await connect(other, user="1")]
    stays = await connect(other, user="2")

    answer = await Api(one).post("/api/users/1/disconnect")
    codes = [(await client.closed())[0] for client in removed]
    back = await connect(other, user="1")

    assert 202 == answer.status
    assert [3003, 3003] == codes
    assert "pong" == (await stays.do("ping"))["type"]
    assert "pong" == (await back.do("ping"))["type"]


BAD_REVOCATIONS: list[dict[str, Any]] = [
    {}, {"all": False}, {"jti": ""}, {"jti": "a b"}, {"sid": 7}, {"jti": "a", "sid": "s"},
    {"all": True, "jti": "a"}, {"jit": "a", "all": True}, {"jti": "a", "expiresAt": 1_700_000_000},
    {"jti": "a", "expiresAt": "tomorrow"},
]  # fmt: skip


async def test_a_revocation_says_what_it_means(api: Api, valkey: StoreProcess) -> None:
    """Neither nothing nor several things, no word that is mistaken, no end that has passed: 422, and nothing
    is revoked."""
    answers = [await api.post("/api/users/1/revoke", order) for order in BAD_REVOCATIONS]
    k = keys.user("1")

    assert {(422, "bad_message")} == {outcome(answer) for answer in answers}
    assert 0 == valkey.client.exists(k.revoked, k.cut)


# --- without the store ---


async def test_without_the_store_a_call_may_be_made_again(
    server: ServerProcess, api: Api, valkey: StoreProcess
) -> None:
    """503 says that it is not known what became of it, and when to ask again; then it is taken."""
    valkey.freeze()
    try:
        answer = await api.put("/api/events/42", {"title": "A"})
    finally:
        valkey.thaw()
    await eventually(lambda: server.ready_status() == 200, "the server is ready again")
    again = await api.put("/api/events/42", {"title": "A"})
    found = await api.get("/api/events")

    assert (503, "unavailable") == outcome(answer)
    assert answer.json["error"]["details"]["outcome"] in {"none", "unknown"}
    assert "1" == answer.headers["retry-after"]
    assert again.status in {200, 201}
    assert ["42"] == [event["id"] for event in found.json["events"]]
