"""A WebSocket's request that is as it should be is answered without Tornado's HTTP, and means the same."""

import itertools
import socket
import timeit
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, parse_request_start_line

from handlers.upgrade import MORE_FOLLOWS, parse
from handlers.wire import prepare
from tests.conftest import OUTPUTS
from tests.support.raw import Raw, close_frame, command, upgrade
from tests.support.servers import ServerProcess, server_with_store
from tests.support.tokens import token

OURS = "https://tickets.example"
users = (f"comer-{n}" for n in itertools.count())
GOODBYE = close_frame(1000)


@pytest.fixture(scope="module")
def door_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for this file, behind a proxy on this machine."""
    with server_with_store(
        tmp_path_factory.mktemp("door"), allowed_origins=OURS, trusted_proxies="127.0.0.0/8",
        max_unauthenticated_per_address=4,
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def door(request: pytest.FixtureRequest, door_process: ServerProcess) -> ServerProcess:
    """That server; what it said is shown where a test fails."""
    request.node.stash[OUTPUTS] = [door_process]
    return door_process


async def answer(server: ServerProcess, path: str, behind: bytes, headers: dict[str, str]) -> Any:
    """What is said to a request with ``behind`` in the same segment, but for what each answer has of its own:
    the status, the fields of a handshake, the text of a refusal, the frames. And whether Tornado said it."""
    raw = await Raw.dial(server)
    raw.write(upgrade(path, **headers) + behind)
    status, fields = await raw.response()
    of_tornado = "server" in fields
    if status != 101:
        text = await raw.reader.readexactly(int(fields.get("content-length", "0")))
        raw.drop()
        return of_tornado, (status, fields.get("sec-websocket-version"), text)
    end = await raw.ended()
    said = [heard.json for heard in raw.heard if heard.opcode == 1]
    shape = [{name: frame[name] for name in ("type", "code", "id") if name in frame} for frame in said]
    handshake = {name: fields[name] for name in fields if name not in {"server", "date"}}
    return of_tornado, (status, handshake, shape, end)


def asked(road: str) -> tuple[str, bytes, dict[str, str]]:
    """Path, first frames and headers of a request, by what is special about it."""
    user = next(users)
    good = token(user)
    frames = command("ping", id=1) + GOODBYE
    return {
        "token in the query": (f"/ws?token={good}", frames, {}),
        "and who comes back": (f"/ws?token={good}&resume=%7B%7D&replaces=x", frames, {}),
        "token in the header": ("/ws", frames, {"Authorization": f"Bearer {good}"}),
        "token in a frame": ("/ws", command("auth", id="a", token=good) + frames, {}),
        "as a browser": (
            f"/ws?token={good}", frames,
            {"Origin": OURS, "Cookie": "a=b", "Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket",
             "User-Agent": "Mozilla/5.0 (X11; Linux)",
             "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        ),
        "of the same origin": (f"/ws?token={good}", frames, {"Origin": "http://127.0.0.1"}),
        "fetched from here": (
            f"/ws?token={good}", frames, {"Sec-Fetch-Site": "same-origin", "Origin": "https://else.example"},
        ),
        "a subprotocol": (f"/ws?token={good}", frames, {"Sec-WebSocket-Protocol": "chat, v2"}),
        "a bad token": ("/ws?token=nonsense", b"", {}),
        "a token that is no text": ("/ws?token=%ff%fe", b"", {}),
        "a bad resume": (f"/ws?token={good}&resume=%7B", b"", {}),
        "a parameter that is no text": (f"/ws?token={good}&replaces=%ff", b"", {}),
        "a foreign origin": (f"/ws?token={good}", b"", {"Origin": "https://else.example"}),
        "a cross-site origin": ("/ws", b"", {"Origin": "https://x.example", "Sec-Fetch-Site": "cross-site"}),
        "an origin that is none": ("/ws", b"", {"Origin": "http://[x"}),
        "another version": ("/ws", b"", {"Sec-WebSocket-Version": "8"}),
        "no version": ("/ws", b"", {"Sec-WebSocket-Version": ""}),
        "no key": ("/ws", b"", {"Sec-WebSocket-Key": ""}),
        "a bad key": ("/ws", b"", {"Sec-WebSocket-Key": "c2hvcnQ="}),
        "no upgrade": ("/ws", b"", {"Upgrade": ""}),
        "no connection": ("/ws", b"", {"Connection": "keep-alive"}),
        "no host": ("/ws", b"", {"Host": ""}),
        "two hosts": ("/ws", b"", {"Host": "a, b"}),
        "another path": ("/wsx", b"", {}),
    }[road]  # fmt: skip


GRANTED = [
    "token in the query", "and who comes back", "token in the header", "token in a frame", "as a browser",
    "of the same origin", "fetched from here", "a subprotocol", "a bad token", "a token that is no text",
    "a bad resume", "a parameter that is no text",
]  # fmt: skip
REFUSED = {
    "a foreign origin": 403, "a cross-site origin": 403, "an origin that is none": 403, "no key": 400,
    "another version": 426, "no version": 426, "a bad key": 400, "no upgrade": 400, "no connection": 400,
    "no host": 400, "two hosts": 400, "another path": 404,
}  # fmt: skip


@pytest.mark.parametrize("road", GRANTED)
async def test_what_is_granted_at_once_is_what_tornado_grants(door: ServerProcess, road: str) -> None:
    """The same handshake and the same frames; those that came in one segment with the request are heard."""
    at_once = await answer(door, *asked(road))
    path, behind, headers = asked(road)
    by_tornado = await answer(door, path, behind, headers | {"Expect": "nothing"})

    assert (False, True) == (at_once[0], by_tornado[0])
    assert by_tornado[1] == at_once[1]
    assert 101 == at_once[1][0]


@pytest.mark.parametrize(("road", "status"), REFUSED.items())
async def test_what_is_refused_is_refused_as_ever(door: ServerProcess, road: str, status: int) -> None:
    """By Tornado: there is one place where refusals are worded."""
    _, (said, _, _) = await answer(door, *asked(road))

    assert status == said


async def test_the_address_is_the_clients(door: ServerProcess) -> None:
    """It stands behind the trusted proxy's: there may be so many of each who have not signed in."""
    full = {"X-Forwarded-For": "10.0.0.1, 127.0.0.9"}
    first = [await Raw.open(door, "/ws", **full) for _ in range(4)]
    refused = await Raw.open(door, "/ws", **full)
    other = await Raw.open(door, "/ws", X_Forwarded_For="10.0.0.2")
    other.write(command("auth", token=token(next(users))))

    assert (1013, "unavailable") == await refused.ended()
    assert "connected" == (await other.hear()).json["type"]
    for raw in (*first, other):
        raw.drop()


async def test_a_request_in_pieces_is_one(door: ServerProcess) -> None:
    """However it is cut: it is Tornado's where its head has not come whole."""
    whole = upgrade(f"/ws?token={token(next(users))}") + command("ping", id=1)
    for cut in (1, 8, 100, len(whole) - 60, len(whole) - 5):
        raw = await Raw.dial(door)
        raw.write(whole[:cut])
        await raw.writer.drain()
        raw.write(whole[cut:])
        status, _ = await raw.response()

        assert (101, "pong") == (status, (await raw.answer(1))["type"])
        raw.drop()


def test_what_is_kept_back_goes_alone_where_nothing_follows() -> None:
    """The store may take its time: the handshake does not wait for it, the system sees to that."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        prepare(listening)
        with socket.create_connection(listening.getsockname()) as theirs:
            theirs.settimeout(30)
            ours, _ = listening.accept()
            with ours:
                ours.send(b"granted", MORE_FOLLOWS)

                assert b"granted" == theirs.recv(100)


# --- the form ---

PIECES = st.sampled_from(
    ["GET /ws", "GET /ws?a=b", "POST /ws", " ", "  ", "HTTP/1.1", "HTTP/1.0", "\r\n", "\n", "\r", ":", ",",
     "\t", "\0", "é", "Host: a", "Host: b:1", "Upgrade: websocket", "Connection: Upgrade", "X-Y: z",
     "Sec-WebSocket-Version: 13", "Content-Length: 1", "Transfer-Encoding: chunked"],
)  # fmt: skip
WHOLE = upgrade("/ws?token=a").decode()


@given(
    st.lists(PIECES, max_size=3), st.lists(st.integers(0, len(WHOLE)), min_size=3, max_size=3), st.booleans()
)
def test_what_is_read_at_once_tornado_reads_alike(pieces: list[str], places: list[int], cut: bool) -> None:
    """Whatever stands in a request: it is left to Tornado, or means what it means to Tornado."""
    text = WHOLE
    for piece, place in zip(pieces, places, strict=False):
        text = text[:place] + piece + text[place + len(piece) * cut :]
    found = parse(text.encode("latin-1"), "1.2.3.4")
    if found is None:
        return
    request, size = found
    head = text[:size]
    line, _, rest = head.partition("\r\n")
    fields = HTTPHeaders.parse(rest.removesuffix("\r\n"))
    theirs = HTTPServerRequest(headers=fields, start_line=parse_request_start_line(line))

    assert head.endswith("\r\n\r\n")
    assert "\r\n\r\n" not in head[:-1]
    assert ("GET", "/ws", "HTTP/1.1") == (theirs.method, theirs.path, theirs.version)
    assert theirs.query_arguments == request.query_arguments
    assert dict(fields.get_all()) == {name: request.headers.get(name) for name in fields}
    assert not {"Content-Length", "Transfer-Encoding"} & set(fields)


@pytest.mark.parametrize(
    "odd",
    [
        WHOLE.replace("GET", "get"), WHOLE.replace("1.1", "1.0"), WHOLE.replace("\r\n", "\n"), WHOLE[:-1], "",
        "\r\n" + WHOLE, WHOLE.replace("Upgrade: websocket", "Upgrade: h2c"), WHOLE.replace("/ws", "/wsx", 1),
        WHOLE.replace("/ws", "//ws", 1), WHOLE.replace("/ws", "http://a/ws", 1),
        WHOLE.replace(" 13", " 13\r\n more"), WHOLE.replace("Host: ", "Host : "),
        WHOLE.replace("Host", "Content-Length: 0\r\nHost"),
        WHOLE.replace("Host", "Host: b\r\nHost"), WHOLE.replace("token=a", "&" * 200),
        WHOLE.replace("=a", "=\xe9"),
    ],
)  # fmt: skip
def test_what_is_unusual_is_left_to_tornado(odd: str) -> None:
    """A reader of one form only cannot be talked into another."""
    assert parse(WHOLE.encode(), "")
    assert parse(odd.encode("latin-1"), "") is None


def test_no_head_is_dear() -> None:
    """However much space there is in a field, reading it costs about what as many letters cost."""

    def cost(filling: str) -> float:
        head = WHOLE.replace("Host", f"X: a{filling * 8000}b\r\nHost", 1).encode()
        assert parse(head, "")
        return min(timeit.repeat(lambda: parse(head, ""), number=1, repeat=20))

    # by a rule that tries each space anew it is some thousand times as much
    assert cost(" ") < 50 * cost("a")
