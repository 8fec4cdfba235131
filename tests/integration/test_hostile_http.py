"""HTTP as attackers write it: refused cheaply, with the fitting status, and never with a stack trace."""

import asyncio
import itertools
import json
from collections.abc import Iterator

import pytest

from tests.conftest import OUTPUTS, Connect
from tests.support.api import Api
from tests.support.health import Rest, memory_of, trouble
from tests.support.raw import Raw, upgrade
from tests.support.servers import ServerProcess, server_with_store
from tests.support.tokens import API_KEY
from tests.support.tokens import token as make_token

MIB = 2**20
KEY = f"Authorization: Bearer {API_KEY}\r\n".encode()
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
ICON = b"/static/favicon.svg"
NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

names = (f"guest-{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def shop_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for this file, with the demo's sign-in, on a store of its own."""
    with server_with_store(tmp_path_factory.mktemp("shop"), demo="true") as server:
        yield server


@pytest.fixture
def shop(request: pytest.FixtureRequest, shop_process: ServerProcess) -> ServerProcess:
    """That server; what it said is shown where a test fails."""
    request.node.stash[OUTPUTS] = [shop_process]
    return shop_process


def request(
    head: bytes = b"", body: bytes = b"", method: bytes = b"GET", path: bytes = b"/healthz",
    host: bytes = b"Host: x\r\n", version: bytes = b"HTTP/1.1",
) -> bytes:  # fmt: skip
    """A request, with whatever is wrong about it."""
    return b"%b %b %b\r\n%b%b\r\n%b" % (method, path, version, host, head, body)


def post(head: bytes, body: bytes = b"", path: bytes = b"/auth/login") -> bytes:
    return request(head, body, b"POST", path)


def deep(field: bytes) -> bytes:
    """A body of 40,009 bytes."""
    return b'{"%b":' % field + b"[" * 20_000 + b"]" * 20_000 + b"}"


async def statuses(server: ServerProcess, said: bytes, most: int = 3) -> list[int]:
    """What is answered, in order; 0 where the line has been closed."""
    raw = await Raw.dial(server)
    raw.write(said)
    found: list[int] = []
    while len(found) < most and 0 not in found:
        status, headers = await raw.response()
        found.append(status)
        if status not in {0, 101} and "content-length" in headers:
            await raw.reader.readexactly(int(headers["content-length"]))
    raw.drop()
    return found


# --- one request or two? ---

SMUGGLED = {
    "both lengths": post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + NEXT),
    "both, chunks first": post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + NEXT),
    "two lengths": post(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{} " + NEXT),
    "two lengths in one": post(b"Content-Length: 2, 3\r\n", b"{} " + NEXT),
    "a signed length": post(b"Content-Length: +2\r\n", b"{}" + NEXT),
    "a negative length": post(b"Content-Length: -2\r\n", b"{}" + NEXT),
    "a hexadecimal length": post(b"Content-Length: 0x2\r\n", b"{}" + NEXT),
    "a length of 5,000 digits": post(b"Content-Length: " + b"9" * 5000 + b"\r\n", NEXT),
    "another coding": post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n" + NEXT),
    "two codings": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + NEXT),
    "a coding twice": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n" + NEXT),
    "a blank before the colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + NEXT),
    "a folded header": post(b"Content-Length:\r\n 2\r\n", b"{}" + NEXT),
    "a chunk that is no number": post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n" + NEXT),
    "a chunk with a sign": post(b"Transfer-Encoding: chunked\r\n", b"+2\r\n{}\r\n0\r\n\r\n" + NEXT),
    "a chunk without its end": post(b"Transfer-Encoding: chunked\r\n", b"2\r\n{}XX0\r\n\r\n" + NEXT),
    "a chunk of an exabyte": post(b"Transfer-Encoding: chunked\r\n", b"fffffffffffffff\r\n{}" + NEXT),
    "no host": request(host=b"") + NEXT,
    "two hosts": request(b"Host: y\r\n") + NEXT,
    "a host with a path": request(host=b"Host: x/y\r\n") + NEXT,
    "a host with a user": request(host=b"Host: u@x\r\n") + NEXT,
    "a host with a quote": request(host=b'Host: x"\r\n') + NEXT,
    "a line without a colon": request(b"X-A\r\n") + NEXT,
    "a zero byte": request(b"X-A: b\0c\r\n") + NEXT,
    "a bare carriage return": request(b"X-A: b\rX-B: c\r\n") + NEXT,
    "a blank in the path": request(path=b"/healthz /x") + NEXT,
    "HTTP/0.9": b"GET /healthz\r\n\r\n" + NEXT,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT,
    "too many fields": request(path=b"/healthz?" + b"a&" * 5000) + NEXT,
}


async def test_what_could_be_two_requests_is_none(shop: ServerProcess) -> None:
    """One 400, and the line is closed: what stands behind it is never taken for a request."""
    found = dict(
        zip(
            SMUGGLED, await asyncio.gather(*(statuses(shop, said) for said in SMUGGLED.values())), strict=True
        )
    )

    assert {name: [400, 0] for name in SMUGGLED} == found
    assert [] == trouble(shop)


CUT = {
    "a head over 64 KiB": request(b"X: " + b"a" * 70_000 + b"\r\n"),
    "a head without an end": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000,
    "a chunk's extension without an end": post(b"Transfer-Encoding: chunked\r\n", b"2;" + b"x" * 1000),
}


@pytest.mark.parametrize("name", CUT)
async def test_what_has_no_end_is_cut(shop: ServerProcess, name: str) -> None:
    """Before it costs more than its limit."""
    assert [0] == await statuses(shop, CUT[name])


async def test_requests_in_one_go_are_answered_in_order(shop: ServerProcess) -> None:
    """200 of them, the last of which closes the line."""
    said = NEXT * 198 + request(path=b"/nowhere") + request(b"Connection: close\r\n")

    assert [200] * 198 + [404, 200, 0] == await statuses(shop, said, 300)


# --- what is asked ---

ASKED = {
    **{
        f"method {m}": (request(method=m.encode()), 405)
        for m in (
            "POST",
            "PUT",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "CONNECT",
            "PATCH",
            "get",
            "_execute",
            "X" * 999,
        )
    },
    "a method on the socket": (upgrade().replace(b"GET", b"POST", 1), 405),
    "another's URL": (request(path=b"http://evil.example/healthz"), 404),
    "a path of two slashes": (request(path=b"//evil.example/healthz"), 404),
    "a broken URL": (request(path=b"http://[/healthz"), 404),
    "an id that is not UTF-8": (request(path=b"/events/%ff"), 400),
    "an id of raw bytes": (request(path=b"/events/\xff"), 422),
    "an id with a slash": (request(path=b"/events/..%2f..%2fetc"), 422),
    "a query of 60,000 letters": (request(path=b"/events?token=" + b"a" * 60_000), 200),
    "no WebSocket": (request(path=b"/ws"), 400),
    "another upgrade": (upgrade(Upgrade="h2c"), 400),
    "no upgrade": (upgrade(Connection="keep-alive"), 400),
    "no key": (upgrade(Sec_WebSocket_Key=""), 400),
    "half a key": (upgrade(Sec_WebSocket_Key="dGhlIHNhbXBs"), 400),
    "a key that is none": (upgrade(Sec_WebSocket_Key="!" * 24), 400),
    "an old version": (upgrade(Sec_WebSocket_Version="8"), 426),
    "HTTP/1.0": (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
    **{
        f"origin {o!r}": (upgrade(Origin=o), 403)
        for o in (
            "http://[::1",
            "http://x:99999999",
            "null",
            "//",
            "http://[v1.x]",
            "x" * 5000,
            "https://x.evil",
        )
    },
    "a broken origin at the sign-in": (post(b"Origin: http://[::1\r\nContent-Length: 2\r\n", b"{}"), 403),
    "another origin at the sign-in": (post(b"Origin: https://evil\r\nContent-Length: 2\r\n", b"{}"), 403),
    "a form": (post(b"Content-Type: text/plain\r\nContent-Length: 2\r\n", b"{}"), 422),
    "a form of 50,000 fields": (
        post(
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n", b"a&" * 50_000
        ),
        400,
    ),
    "a form in parts without a border": (
        post(b"Content-Type: multipart/form-data\r\nContent-Length: 2\r\n", b"{}"),
        400,
    ),
    "nothing": (post(b"Content-Length: 0\r\n"), 422),
    "20,000 brackets": (post(b"Content-Length: 20000\r\n", b"[" * 20_000), 422),
    "a deep name": (
        post(b"Content-Length: 40009\r\n", deep(b"name")),
        422,
    ),
    "a deep message": (
        post(
            KEY + b"Content-Length: 40009\r\n",
            deep(b"data"),
            b"/api/rooms/event:1/messages",
        ),
        400,
    ),
    "a body that is not UTF-8": (post(b"Content-Length: 12\r\n", b'{"name":"\xff"}'), 400),
    "a range of nothing": (
        request(b"Range: bytes=-99999999999999999999\r\n", path=ICON),
        200,
    ),
    "many ranges": (
        request(b"Range: bytes=" + b"0-0," * 9000 + b"1-1\r\n", path=ICON),
        200,
    ),
    "8,000 cookies": (
        post(b"Cookie: " + b'a="\\;' * 8000 + b"\r\nContent-Length: 0\r\n", path=b"/auth/refresh"),
        401,
    ),
    "a key of odd letters": (request(b"Authorization: Bearer \xff\xfe\r\n", path=b"/api/events"), 401),
}


async def test_odd_requests_have_a_fitting_answer(shop: ServerProcess) -> None:
    """A client's mistake is told as one."""
    found = await asyncio.gather(*(statuses(shop, said, 1) for said, _ in ASKED.values()))

    assert {n: s for n, (_, s) in ASKED.items()} == {n: f[0] for n, f in zip(ASKED, found, strict=True)}
    assert [] == trouble(shop)


REFUSED_UPGRADES = {
    "bad_request": request(path=b"/ws"),
    "upgrade_required": upgrade(Sec_WebSocket_Version="8"),
    "forbidden": upgrade(Origin="https://evil.example"),
    "method_not_allowed": upgrade().replace(b"GET", b"POST", 1),
}


async def test_a_refused_upgrade_is_an_error_like_all_others(shop: ServerProcess) -> None:
    """JSON with a code, for who reads what went wrong by machine."""
    found = {}
    for said in REFUSED_UPGRADES.values():
        raw = await Raw.dial(shop)
        raw.write(said)
        _, headers = await raw.response()
        body = json.loads(await raw.reader.readexactly(int(headers["content-length"])))
        found[body["error"]["code"]] = headers
        raw.drop()

    assert [*REFUSED_UPGRADES] == [*found]
    assert {"application/json; charset=utf-8"} == {headers["content-type"] for headers in found.values()}
    assert "13" == found["upgrade_required"]["sec-websocket-version"]
    assert "GET" == found["method_not_allowed"]["allow"]


OUTSIDE = [
    b"/static/../server.py", b"/static/%2e%2e/server.py", b"/static/..%2fserver.py", b"/static//etc/passwd",
    b"/static/....//server.py", b"/static/page/..%5c..%5cserver.py", b"/static/\xc0\xae\xc0\xae/server.py",
    b"/static/style.css%00.js", b"/static/.", b"/static/./../server.py", b"/var/jwt-secret", b"/.git/config",
]  # fmt: skip


async def test_no_path_leads_outside(shop: ServerProcess) -> None:
    """However it is written, with no client in between that would tidy it up."""
    found = await asyncio.gather(*(statuses(shop, request(path=path), 1) for path in OUTSIDE))
    served = [path for path, (status,) in zip(OUTSIDE, found, strict=True) if status < 400]

    assert [] == served
    assert [] == trouble(shop)


async def test_nothing_of_a_request_is_written_into_a_header(shop: ServerProcess) -> None:
    """No line break of a client's becomes one of ours, and no origin or host is reflected."""
    evil = b"%0d%0aX-Evil:%20yes"
    for path in (b"/nowhere" + evil, b"/static/a" + evil, b"/ws?token=" + evil):
        raw = await Raw.dial(shop)
        raw.write(request(b"Origin: https://evil.example\r\n", path=path, host=b"Host: evil.example\r\n"))
        status, headers = await raw.response()
        raw.drop()

        assert 400 <= status < 500
        assert not {"x-evil", "location", "access-control-allow-origin"} & headers.keys()


async def test_a_header_that_is_wrong_is_not_logged(shop: ServerProcess) -> None:
    """A token may be in it."""
    token = make_token(next(names))
    for head in (b"Authorization: Bearer %b\0\r\n", b"Cookie: a=%b\x7f\r\n", b"Content-Length: %b\r\n"):
        await statuses(shop, request(head % token.encode()), 1)
    await statuses(shop, upgrade(f"/ws?token={token}", Sec_WebSocket_Key="x"), 1)
    await statuses(shop, upgrade(f"/ws?token={token}", Origin="http://[::1"), 1)

    assert token.split(".")[1] not in shop.output


# --- bodies ---


async def test_large_bodies_of_strangers_are_not_kept(shop: ServerProcess, connect: Connect) -> None:
    """15 MiB each, for what wants 8 with a key and 128 KiB without: read, thrown away and refused. Others are
    served, and the memory stays small."""
    rest, before = Rest(shop), memory_of(shop)
    piece = b"x" * 65_536
    raws = []
    event = b"/api/events/1"
    for path, head in ((b"/auth/login", b""), (event, b""), (event, KEY), (b"/ws", b"")) * 4:
        raw = await Raw.dial(shop)
        method = b"PUT" if path == event else b"POST"
        raw.write(request(head + b"Content-Length: %d\r\n" % (15 * MIB), b"", method, path))
        raws.append(raw)
    inside = await connect(shop, user=next(names))
    most = 0
    for _ in range(14 * 16):  # all but the last MiB
        for raw in raws:
            raw.write(piece)
            await raw.writer.drain()
        most = max(most, memory_of(shop) - before)
    assert "pong" == (await inside.call("ping", timeout=60))["type"]
    for raw in raws:
        raw.write(piece * 16)
    found = [(await raw.response())[0] for raw in raws]
    for raw in raws:
        raw.drop()
    await inside.close()

    assert [413, 401, 413, 405] * 4 == found
    # four have the key, and may have 8 MiB each; all sixteen were 240 MiB
    assert most < 100 * MIB
    await rest.assert_regained()


async def test_a_body_that_nobody_would_read_is_refused_before_it_is_sent(shop: ServerProcess) -> None:
    """And the line is closed."""
    said = request(KEY + b"Content-Length: 17000000\r\n", b"", b"PUT", b"/api/events/1")

    assert [413, 0] == await statuses(shop, said)


async def test_the_back_end_may_send_an_event_of_8_mib_in_pieces(shop: ServerProcess) -> None:
    """In chunks too, with the key; the rest is refused with its status."""
    seats = ",".join(f'"seat-{n}"' for n in range(90_000)).encode()
    body = b'{"title":"Large","seats":[' + seats + b"]" + b" " * 5_000_000 + b"}"
    pieces = [body[n : n + 60_000] for n in range(0, len(body), 60_000)]
    too_many = [b" " * 60_000] * 150 + pieces

    def put(head: bytes, pieces: list[bytes]) -> bytes:
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        chunked = head + b"Transfer-Encoding: chunked\r\n"
        return request(chunked, chunks + b"0\r\n\r\n", b"PUT", b"/api/events/large")

    with_key = await statuses(shop, put(KEY, pieces), 1)
    without = await statuses(shop, put(b"", pieces), 1)
    too_large = await statuses(shop, put(KEY, too_many), 1)

    assert ([201], [401], [413]) == (with_key, without, too_large)
    assert 204 == (await Api(shop).delete("/api/events/large")).status
