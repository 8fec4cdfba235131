"""RFC 6455 and JSON at their worst: each broken frame has its close code, each odd command its answer."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from session.protocol import Close
from tests.conftest import OUTPUTS, Connect
from tests.support.api import Api
from tests.support.health import Rest, trouble
from tests.support.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Raw,
    close_frame,
    command,
    frame,
    upgrade,
)
from tests.support.servers import ServerProcess, server_with_store
from tests.support.waiting import eventually

PING_1 = '{"type":"ping","id":1}'
MANY = 10_000

names = (f"framer-{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def hall_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for this file, on a store of its own, that forgives much."""
    with server_with_store(tmp_path_factory.mktemp("hall"), message_burst=1000) as server:
        yield server


@pytest.fixture
def hall(request: pytest.FixtureRequest, hall_process: ServerProcess) -> ServerProcess:
    """That server; what it said is shown where a test fails."""
    request.node.stash[OUTPUTS] = [hall_process]
    return hall_process


@pytest.fixture
def user() -> str:
    """A user of whom nothing is known."""
    return next(names)


# --- frames that are none ---

BROKEN: dict[str, tuple[bytes, Close]] = {
    "not masked": (frame(PING_1, masked=False), Close.PROTOCOL_ERROR),
    "not masked, empty": (frame(masked=False), Close.PROTOCOL_ERROR),
    "an unmasked ping": (frame(b"", PING, masked=False), Close.PROTOCOL_ERROR),
    "compressed": (frame(PING_1, reserved=4), Close.PROTOCOL_ERROR),
    "a compressed bomb": (frame(b"\x00" * 60_000, reserved=4), Close.PROTOCOL_ERROR),
    "second reserved bit": (frame(PING_1, reserved=2), Close.PROTOCOL_ERROR),
    "third reserved bit": (frame(PING_1, reserved=1), Close.PROTOCOL_ERROR),
    "a control frame with a reserved bit": (frame(b"", PING, reserved=4), Close.PROTOCOL_ERROR),
    **{f"opcode {n}": (frame(PING_1, n), Close.PROTOCOL_ERROR) for n in (3, 4, 5, 6, 7, 11, 12, 15)},
    "a ping of 126 bytes": (frame(b"x" * 126, PING), Close.PROTOCOL_ERROR),
    "a pong of 70,000 bytes": (frame(b"x" * 70_000, PONG), Close.PROTOCOL_ERROR),
    "a goodbye of 126 bytes": (frame(b"\x03\xe8" + b"x" * 124, CLOSE), Close.PROTOCOL_ERROR),
    "a piece of a ping": (frame(b"x", PING, fin=False), Close.PROTOCOL_ERROR),
    "a piece of a goodbye": (frame(b"\x03\xe8", CLOSE, fin=False), Close.PROTOCOL_ERROR),
    "a continuation of nothing": (frame(PING_1, CONTINUATION), Close.PROTOCOL_ERROR),
    "a continuation behind a ping": (
        frame(b"", PING) + frame("x", CONTINUATION, fin=False),
        Close.PROTOCOL_ERROR,
    ),
    "a message within a message": (frame("{", fin=False) + frame(PING_1), Close.PROTOCOL_ERROR),
    "a length in too many bytes": (frame(PING_1, size_bytes=2), Close.PROTOCOL_ERROR),
    "a length in far too many bytes": (frame("x" * 200, size_bytes=8), Close.PROTOCOL_ERROR),
    "a negative length": (frame(PING_1, length=2**63, size_bytes=8), Close.PROTOCOL_ERROR),
    "half a close code": (frame(b"\x03", CLOSE), Close.PROTOCOL_ERROR),
    **{
        f"close code {n}": (close_frame(n), Close.PROTOCOL_ERROR)
        for n in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535)
    },
    "a reason that is not UTF-8": (close_frame(1000, b"\xff\xfe"), Close.NOT_UTF8),
    "a text that is not UTF-8": (frame(b'{"type":"\xc3\x28"}'), Close.NOT_UTF8),
    "a surrogate in UTF-8": (frame(b'{"type":"\xed\xa0\x80"}'), Close.NOT_UTF8),
    "a long form of a slash": (frame(b'{"type":"\xc0\xaf"}'), Close.NOT_UTF8),
    "half a character": (frame(b'{"type":"\xe2\x82'), Close.NOT_UTF8),
    "pieces that are not UTF-8 together": (
        frame(b'{"t":"\xe2', fin=False) + frame(b'\x28\xa1"}', CONTINUATION),
        Close.NOT_UTF8,
    ),
    "binary": (frame(b"\x00\xff", BINARY), Close.UNSUPPORTED),
    "binary in pieces": (
        frame(b"\x00", BINARY, fin=False) + frame(b"\xff", CONTINUATION),
        Close.UNSUPPORTED,
    ),
    "a claim of 64 KiB and a byte": (frame(b"x", length=65_537, size_bytes=8), Close.TOO_BIG),
    "a claim of half the address space": (frame(b"x", length=2**63 - 1, size_bytes=8), Close.TOO_BIG),
    "pieces that are too big together": (
        frame(b"x" * 40_000, fin=False) + frame(b"x" * 25_537, CONTINUATION, fin=False),
        Close.TOO_BIG,
    ),
}


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "unknown"])
async def test_each_broken_frame_has_its_code(hall: ServerProcess, user: str, signed_in: bool) -> None:
    """The code arrives, with a word for whoever wrote that client, and nothing behind it; all at once."""

    async def end(name: str) -> int:
        data, _ = BROKEN[name]
        raw = await (Raw.sign_in(hall, f"{user}-{name.replace(' ', '-').replace(',', '')}")
                     if signed_in else Raw.open(hall))  # fmt: skip
        raw.write(data)
        code, reason = await raw.ended()
        assert reason, name
        return code

    ended = dict(zip(BROKEN, await asyncio.gather(*map(end, BROKEN)), strict=True))

    assert {name: int(code) for name, (_, code) in BROKEN.items()} == ended
    assert [] == trouble(hall)


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
async def test_a_goodbye_is_answered_with_its_code(hall: ServerProcess, user: str, code: int | None) -> None:
    """And what comes behind it is not run."""
    raw = await Raw.sign_in(hall, user, publish=["chat:*"])
    raw.write(close_frame(code, b"" if code is None else "갑니다".encode()))
    raw.write(command("publish", room=f"chat:{user}", data="too late", id=1))
    ended = await raw.ended()
    published = await Api(hall).publish(f"chat:{user}", "the first")

    assert (1005 if code is None else code, "") == ended
    assert 1 == published["offset"]


async def test_codes_of_clients_are_one_label(hall: ServerProcess, user: str) -> None:
    """However many codes there are, the metrics do not grow with them."""
    for code in (3999, 4321, 4999):
        raw = await Raw.sign_in(hall, user)
        raw.write(close_frame(code))
        await raw.ended()
    codes = {name for name in hall.metrics() if name.startswith("keepseat_connections_closed_total")}

    assert 'keepseat_connections_closed_total{code="other"}' in codes
    assert not any(str(code) in name for name in codes for code in (3999, 4321, 4999))


async def test_compression_stays_off(hall: ServerProcess) -> None:
    """It is offered in vain, in whatever words; so no frame is a bomb."""
    for offer in ("permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame, ;;=, x; y=z"):
        raw = await Raw.dial(hall)
        raw.write(upgrade(Sec_WebSocket_Extensions=offer, Sec_WebSocket_Protocol="soap, wamp"))
        status, headers = await raw.response()
        raw.drop()

        assert 101 == status
        assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & headers.keys()


# --- frames that are odd, and good ---


async def test_a_message_in_ten_thousand_pieces(hall: ServerProcess, user: str) -> None:
    """Some of them empty, with pings in between, is one command; the pings are answered meanwhile."""
    raw = await Raw.sign_in(hall, user)
    text = json.dumps({"type": "ping", "id": 1, "t": "x" * (MANY // 2)}).encode()
    pieces = [text[n : n + 1] for n in range(len(text))] + [b""] * (MANY - len(text))
    raw.write(frame(pieces[0], fin=False))
    for n, piece in enumerate(pieces[1:-1]):
        raw.write(frame(piece, CONTINUATION, fin=False))
        if n % 1000 == 0:
            raw.write(frame(str(n), PING))
            await raw.writer.drain()
    raw.write(frame(pieces[-1], CONTINUATION))
    answer = await raw.answer(1)
    pongs = [heard.payload for heard in raw.heard if heard.opcode == PONG]

    assert "x" * (MANY // 2) == answer["t"]
    assert pongs
    raw.drop()


async def test_a_character_may_be_cut(hall: ServerProcess, user: str) -> None:
    """A piece need not be UTF-8; the whole is."""
    raw = await Raw.sign_in(hall, user)
    text = '{"type":"ping","id":1,"t":"좌석 🎫"}'.encode()
    for n, byte in enumerate(text):
        raw.write(
            frame(bytes((byte,)), CONTINUATION if n else TEXT, fin=n == len(text) - 1),
        )

    assert "좌석 🎫" == (await raw.answer(1))["t"]
    raw.drop()


async def test_control_frames_of_every_length(hall: ServerProcess, user: str) -> None:
    """A ping comes back with what it carried, up to 125 bytes; a pong that nobody asked for is nothing."""
    raw = await Raw.sign_in(hall, user)
    for size in (0, 1, 124, 125):
        raw.write(frame(b"y" * size, PONG), frame(b"x" * size, PING))
        assert (PONG, b"x" * size) == tuple(await raw.hear())
    raw.write(frame(PING_1))

    assert "pong" == (await raw.answer(1))["type"]
    raw.drop()


async def test_a_frame_that_comes_byte_by_byte(hall: ServerProcess, user: str) -> None:
    """Is a frame: whatever the network cuts, it is put together again."""
    raw = await Raw.sign_in(hall, user)
    for byte in frame(PING_1) + command("ping", id=2, t="x" * 130):
        raw.write(bytes((byte,)))
        await raw.writer.drain()
        await asyncio.sleep(0)

    assert ["pong", "pong"] == [(await raw.answer(n))["type"] for n in (1, 2)]
    raw.drop()


# --- too many of them ---

FLOODS = {
    "pings": frame(b"x" * 125, PING),
    "pongs": frame(b"", PONG),
    "empty pieces": frame(b"", CONTINUATION, fin=False),
}


async def test_floods_of_small_frames_are_cut(hall: ServerProcess, connect: Connect, user: str) -> None:
    """Frames that are no commands are counted too: over 20,000 at once, 1008. Others are served meanwhile,
    and nothing is left of it."""
    rest = Rest(hall)

    async def flood(name: str) -> tuple[int, str]:
        raw = await Raw.sign_in(hall, f"{user}-{name.replace(' ', '-')}")
        if "pieces" in name:
            raw.write(frame("{", fin=False))
        for _ in range(250):
            raw.write(FLOODS[name] * 100)
        return await raw.ended()

    other = await connect(hall, user=user)
    floods = [asyncio.create_task(flood(name)) for name in FLOODS]
    answered = 0
    while not all(task.done() for task in floods) and answered < 200:
        assert "pong" == (await other.call("ping", timeout=30))["type"]
        answered += 1
    ended = await asyncio.gather(*floods)
    await other.close()

    assert [(1008, "rate_limited")] * len(FLOODS) == ended
    assert answered
    await rest.assert_regained()


@pytest.mark.parametrize("how", ["refused", "closing"])
async def test_who_goes_on_behind_the_end(hall: ServerProcess, user: str, how: str) -> None:
    """Nothing that comes behind a close frame, of theirs or ours, is answered, and the line ends."""
    raw = await (Raw.open(hall) if how == "refused" else Raw.sign_in(hall, user))
    end = frame(PING_1) if how == "refused" else close_frame(1000)
    raw.write(end, *(command("ping", id=n) + frame(b"x", PING) for n in range(100)))
    code, _ = await raw.ended()

    # what was still under way when the line was closed may cost the peer our last word
    assert code in {"refused": {3000}, "closing": {1000, 1006}}[how]
    assert not any(heard.opcode == PONG for heard in raw.heard)
    assert not any(heard.json["type"] == "pong" for heard in raw.heard if heard.opcode == TEXT)


# --- JSON ---

DEEP = {
    "arrays": '{"type":"ping","id":1,"t":' + "[" * MANY + "]" * MANY + "}",
    "objects": '{"type":"ping","id":1,"t":' + '{"a":' * MANY + "1" + "}" * MANY + "}",
    "in data": '{"type":"update-session","id":1,"data":{"a":' + "[" * MANY + "]" * MANY + "}}",
    "in an unknown field": '{"type":"ping","id":1,"who":' + "[" * MANY + "]" * MANY + "}",
    "in the type": '{"type":' + "[" * MANY + "]" * MANY + "}",
    "unclosed": '{"type":' + "[" * 60_000,
}
NO_JSON = {
    "NaN": '{"type":"ping","id":1,"t":NaN}',
    "Infinity": '{"type":"ping","id":1,"t":-Infinity}',
    "a byte order mark": "\ufeff" + PING_1,
    "two commands": PING_1 * 2,
    "a comment": PING_1 + "// hello",
    "single quotes": PING_1.replace('"', "'"),
    "a trailing comma": '{"type":"ping",}',
    "a control character": '{"type":"ping","t":"\n"}',
    "a leading zero": '{"type":"ping","id":007}',
    "hexadecimal": '{"type":"ping","id":0x7}',
    "an empty frame": "",
    "a zero byte": "\x00",
}
ODD: dict[str, tuple[str, str, Any]] = {
    "no object": ("[" * 60_000, "bad_message", None),
    "a deep id": ('{"type":"ping","id":' + "[" * MANY + "]" * MANY + "}", "bad_message", None),
    "a float too large": ('{"type":"ping","id":1e999}', "bad_message", None),
    "an id of 5,000 digits": ('{"type":"ping","id":' + "9" * 5000 + "}", "bad_message", None),
    "an id with a fraction": ('{"type":"ping","id":1.5}', "bad_message", None),
    "a true id": ('{"type":"ping","id":true}', "bad_message", None),
    "an event id too large": ('{"type":"join-event","id":1,"eventId":1e999}', "bad_message", 1),
    "an event id of 5,000 digits": (
        '{"type":"join-event","id":1,"eventId":' + "9" * 5000 + "}",
        "bad_message",
        1,
    ),
    "an offset of 100 digits": (
        '{"type":"join-event","id":1,"eventId":1,"since":{"epoch":"e","offset":' + "9" * 100 + "}}",
        "bad_message",
        1,
    ),
    "a count too large": (
        '{"type":"hold-best","id":1,"eventId":1,"count":' + "9" * 30 + "}",
        "bad_message",
        1,
    ),
    "a count of a thousand million seats": (
        '{"type":"hold-seats","id":1,"eventId":1,"seats":[' + ",".join(['"A"'] * 1001) + "]}",
        "bad_message",
        1,
    ),
    "a type of 60,000 letters": ('{"type":"' + "x" * 60_000 + '","id":1}', "unknown_type", 1),
    "an id within an id": ('{"type":"ping","id":{"id":1}}', "bad_message", None),
    "a room of 60,000 letters": (
        '{"type":"join-room","id":1,"room":"chat:' + "x" * 60_000 + '"}',
        "bad_message",
        1,
    ),
    "a room with a line break": ('{"type":"join-room","id":1,"room":"chat:a\\n"}', "bad_message", 1),
    "a zero byte in a name": ('{"type":"join-event","id":1,"eventId":"a\\u0000"}', "bad_message", 1),
    "a lone surrogate": ('{"type":"ping","id":1,"t":"\\ud800"}', "bad_json", 1),
    "the prototype": ('{"type":"__proto__","id":1,"__class__":{}}', "unknown_type", 1),
}


async def ask(server: ServerProcess, user: str, texts: dict[str, str]) -> dict[str, list[Any]]:
    """Send each text on one connection; what was heard up to the answer to a ping behind it."""
    raw = await Raw.sign_in(server, user)
    heard: dict[str, list[Any]] = {}
    for n, (name, text) in enumerate(texts.items()):
        before = len(raw.heard)
        raw.write(frame(text), command("ping", id=f"behind-{n}"))
        await raw.answer(f"behind-{n}")
        heard[name] = [each.json for each in raw.heard[before:-1] if each.opcode == TEXT]
    raw.drop()
    return heard


@pytest.mark.parametrize("texts", [DEEP, NO_JSON], ids=["too deep", "no JSON"])
async def test_what_is_no_json_is_told(hall: ServerProcess, user: str, texts: dict[str, str]) -> None:
    """One error without an id, and the line stays."""
    heard = {
        name: [(f["type"], f["code"], f.get("id")) for f in frames]
        for name, frames in (await ask(hall, user, texts)).items()
    }

    assert {name: [("error", "bad_json", None)] for name in texts} == heard
    assert [] == trouble(hall)


async def test_odd_values_are_told(hall: ServerProcess, user: str) -> None:
    """One error, with the id where it is one, of a length that a log can bear."""
    heard = await ask(hall, user, {name: text for name, (text, _, _) in ODD.items()})
    told = {name: [(f["code"], f.get("id")) for f in frames] for name, frames in heard.items()}

    assert {name: [(code, cid)] for name, (_, code, cid) in ODD.items()} == told
    assert 500 > max(len(f["message"]) for frames in heard.values() for f in frames)
    assert [] == trouble(hall)


@pytest.mark.parametrize(
    "value",
    ["1e999", "-1E+400", "9" * 4000, "0." + "3" * 5000, "-0", "1.50", "[" * 400 + "]" * 400, '"\\u0000"',
     '{"a":1,"a":2}', '"\\ud83c\\udfab"'],
)  # fmt: skip
async def test_any_json_value_goes_through(hall: ServerProcess, user: str, value: str) -> None:
    """`t`, `data` of messages and of sessions are the client's: they come back as they went."""
    raw = await Raw.sign_in(hall, user, publish=["chat:*"], rooms=["chat:*"])
    room = f"chat:{user}"
    raw.write(
        frame(f'{{"type":"ping","id":1,"t":{value}}}'),
        frame(f'{{"type":"update-session","id":2,"data":{{"v":{value}}}}}'),
        command("join-room", room=room, id=3),
        frame(f'{{"type":"publish","room":"{room}","id":4,"data":{value}}}'),
    )
    for n in (1, 2, 3, 4):
        await raw.answer(n)
    while not any(b'"type":"message"' in heard.payload for heard in raw.heard):
        await raw.hear()
    with_value = [heard for heard in raw.heard if f":{value}".encode() in heard.payload]

    assert 3 == len(with_value)
    raw.drop()
    again = await Raw.sign_in(hall, user)
    assert f'"v":{value}'.encode() in (await again.hear()).payload
    again.drop()


@pytest.mark.parametrize("command_id", ["x" * 64, "좌" * 64, "", 0, -1, 2**53, -(2**63), 2**64 - 1])
async def test_the_largest_ids_come_back(hall: ServerProcess, user: str, command_id: Any) -> None:
    """In good answers and in errors."""
    raw = await Raw.sign_in(hall, user)
    raw.write(command("ping", id=command_id), command("leave-room", id=command_id, room="chat:x"))
    good, bad = await raw.answer(command_id), await raw.answer(command_id)

    assert ("pong", "error") == (good["type"], bad["type"])
    raw.drop()


async def test_doubled_keys_have_one_answer(hall: ServerProcess, user: str) -> None:
    """Whichever of them is meant: one answer, with one of the ids."""
    heard = await ask(
        hall,
        user,
        {
            "ids": '{"type":"ping","id":1,"id":2}',
            "types": '{"type":"ping","id":3,"type":"extend-hold","eventId":"1"}',
            "events": '{"type":"join-event","eventId":"1","id":4,"eventId":[]}',
        },
    )

    assert [[2], [3], [4]] == [[f.get("id") for f in frames if "id" in f] for frames in heard.values()]
    assert [] == trouble(hall)


def test_the_mask_is_a_mask() -> None:
    """What this file sends is what RFC 6455 shows (5.7)."""
    hello = frame("Hello")
    mask, masked = hello[2:6], hello[6:]

    assert bytes((0x81, 0x85)) == hello[:2]
    assert b"Hello" == bytes(a ^ b for a, b in zip(masked, mask + mask, strict=False))


@pytest.mark.parametrize(
    "last", [frame(b"", PONG), command("ping"), frame("half")[:-2]], ids=["pong", "ping", "half"]
)
async def test_who_is_reset_behind_a_last_word_has_gone(hall: ServerProcess, user: str, last: bytes) -> None:
    """At once, not at the next ping: the word and the reset come in one turn of the server."""
    raw = await Raw.sign_in(hall, user)
    hall.freeze()
    try:
        raw.write(last)
        await raw.reset()
    finally:
        hall.thaw()

    async def has_gone() -> bool:
        answer = await Api(hall).get(f"/api/users/{user}")
        return answer.status == 404 or answer.json["connections"] == []

    await eventually(has_gone, "the connection has gone", 15)
