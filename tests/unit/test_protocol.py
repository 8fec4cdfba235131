"""The wire: what is a command and what is not, which answer carries which id, and how frames are packed."""

import json
import re
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET, Raw
from websockets.frames import Frame, Opcode

from session.protocol import (
    COMMAND_TYPES,
    RETRYABLE,
    BadCommand,
    Close,
    Code,
    Error,
    Event,
    JoinEvent,
    Ping,
    Pong,
    Publish,
    Refused,
    RoomInfo,
    Since,
    decode,
    decode_resume,
    encode,
    pack,
    text_frame,
)

GOOD: dict[str, dict[str, Any]] = {
    "auth": {"token": "t", "resume": {"event:1": {"epoch": "e", "offset": 5}}, "replaces": "s"},
    "join-event": {"eventId": "1", "since": {"epoch": "e", "offset": 0}},
    "leave-event": {"eventId": 1},
    "join-room": {"room": "chat:a", "since": {"epoch": "e", "offset": 2**53 - 1}},
    "leave-room": {"room": "chat:a"},
    "publish": {"room": "chat:a", "data": {"text": "hi"}, "key": "k"},
    "update-session": {"data": {"theme": "dark", "gone": None}},
    "ping": {"t": 1},
    "join-queue": {"eventId": "123", "since": {"epoch": "e", "offset": 0}},
    "leave-queue": {"eventId": 1},
    "join-seats": {"eventId": "123", "since": {"epoch": "e", "offset": 0}},
    "leave-seats": {"eventId": 1},
    "hold-seats": {"eventId": "123", "seats": ["A-1", "VIP.2_x-3"]},
    "hold-best": {"eventId": "123", "count": 2, "section": "VIP"},
    "extend-hold": {"eventId": "123"},
    "release-seats": {"eventId": "123", "seats": ["A-1"]},
}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "id", "token", "resume", "replaces", "eventId", "since", "room", "data", "key", "t", "epoch", "offset",
    "seats", "count", "section",
]  # fmt: skip
ALMOST = st.fixed_dictionaries(
    {},
    optional={"type": st.sampled_from(sorted(COMMAND_TYPES)) | JSON_VALUES}
    | dict.fromkeys(FIELDS, JSON_VALUES),
)


def refusal(text: str) -> BadCommand:
    with pytest.raises(BadCommand) as caught:
        decode(text)
    return caught.value


def frame(type: str, **changes: Any) -> str:
    """A good command with some fields changed."""
    return json.dumps({"type": type, **GOOD[type], **changes})


# --- commands ---


def test_there_is_a_good_one_of_each() -> None:
    """The table above has every command."""
    assert COMMAND_TYPES == GOOD.keys()


@pytest.mark.parametrize("type", sorted(GOOD))
def test_reads_every_command(type: str) -> None:
    """With and without an id, and with fields that nobody knows."""
    plain, named = decode(frame(type)), decode(frame(type, id=7, extra={"a": 1}))

    assert type == plain.__struct_config__.tag
    assert plain.id is None
    assert 7 == named.id


def test_reads_what_the_fields_say() -> None:
    """camelCase on the wire, structs within; ``data`` stays the bytes that came."""
    command = decode('{"type":"publish","room":"chat:a","data":{"n": 1.50},"key":"k"}')
    joined = decode(frame("join-event", eventId=123))

    assert isinstance(command, Publish)
    assert (b'{"n": 1.50}', "chat:a", "k") == (bytes(command.data), command.room, command.key)
    assert isinstance(joined, JoinEvent)
    assert (123, Since("e", 0)) == (joined.event_id, joined.since)


def test_a_bad_id_does_not_hide_which_command_it_was() -> None:
    """A first frame that is an `auth` must be known as one."""
    with pytest.raises(BadCommand) as caught:
        decode('{"type":"auth","id":1.5,"token":"t"}')

    assert (Code.BAD_MESSAGE, UNSET, "auth") == (
        caught.value.code, caught.value.command_id, caught.value.command_type,
    )  # fmt: skip


@pytest.mark.parametrize("event_id", [2**63 - 1, -(2**63), 0])
def test_an_event_may_be_any_number_of_64_bits(event_id: int) -> None:
    """As databases number rows."""
    joined = decode(frame("join-event", eventId=event_id))

    assert isinstance(joined, JoinEvent)
    assert event_id == joined.event_id


@pytest.mark.parametrize("command_id", ["", "a", "x" * 64, "é" * 64, 0, -1, 2**63, None])
def test_accepts_an_id(command_id: str | int | None) -> None:
    """A string of at most 64 characters, or an integer; null is none."""
    assert command_id == decode(frame("ping", id=command_id)).id


@pytest.mark.parametrize("command_id", ["x" * 65, 1.5, True, [], {}, ["a"]])
@pytest.mark.parametrize("type", ["ping", "nothing-known"])
def test_refuses_an_id(command_id: Any, type: str) -> None:
    """`bad_message`, and the answer carries none, whatever else is wrong."""
    bad = refusal(json.dumps({"type": type, "id": command_id}))

    assert (Code.BAD_MESSAGE, UNSET) == (bad.code, bad.command_id)
    assert bad.message.startswith("id: ")


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", '{"type":"ping"', '{"type":"ping"}x', "nothing", "'", '{"type":"ping","t":NaN}',
     '{"type":"ping","t":' + "[" * 3000 + "]" * 3000 + "}", '{"type":"ping","t":"\\ud800"}', "\ud800"],
)  # fmt: skip
def test_what_is_no_json(text: str) -> None:
    """Broken, doubled, too deep, not a number, half a character."""
    bad = refusal(text)

    assert (Code.BAD_JSON, UNSET) == (bad.code, bad.command_id)


@pytest.mark.parametrize(
    ("command_id", "answered"), [("7", 7), ('"a"', "a"), ("null", UNSET), ('"\\ud800"', UNSET)]
)
def test_half_a_character_is_answered_with_the_id(command_id: str, answered: Any) -> None:
    """Its sender's JSON library wrote it without a word, of a text that was cut in an emoji, and waits."""
    bad = refusal('{"type":"ping","id":' + command_id + ',"t":"\\ud83c"}')

    assert (Code.BAD_JSON, answered) == (bad.code, bad.command_id)


@pytest.mark.parametrize("text", ["[]", "3", "null", "true", '"ping"', "[{}]"])
def test_what_is_json_and_no_object(text: str) -> None:
    """A frame is one object."""
    assert Code.BAD_MESSAGE == refusal(text).code


@pytest.mark.parametrize("text", ["{}", '{"type":3}', '{"type":null}', '{"type":["ping"]}', '{"id":1}'])
def test_the_type_must_be_there(text: str) -> None:
    """And be a string; the message says so."""
    bad = refusal(text)

    assert Code.BAD_MESSAGE == bad.code
    assert bad.message.startswith("type: ")


@pytest.mark.parametrize(
    "type", ["pong", "connected", "Ping", "ping ", "", "command", "joinEvent", "x" * 9999]
)
def test_an_unknown_type(type: str) -> None:
    """`unknown_type` with the command's id, and no more than the type's first 64 characters."""
    bad = refusal(json.dumps({"type": type, "id": "mine"}))

    assert (Code.UNKNOWN_TYPE, "mine") == (bad.code, bad.command_id)
    assert len(bad.message) < 100


@pytest.mark.parametrize(
    ("type", "changes", "says"),
    [
        ("auth", {"token": None}, "$.token"),
        ("auth", {"resume": [1]}, "$.resume"),
        ("auth", {"resume": {"event:1": {"epoch": "e"}}}, "offset"),
        ("auth", {"resume": {"event:1": {"epoch": "e", "offset": -1}}}, "$.resume"),
        ("auth", {"resume": {"event:1": {"epoch": "e", "offset": 2**53}}}, "$.resume"),
        ("auth", {"resume": {"event:1": {"epoch": "e" * 65, "offset": 1}}}, "$.resume"),
        ("auth", {"resume": {"no room": {"epoch": "e", "offset": 1}}}, "$.resume"),
        ("auth", {"resume": {f"r:{n}": {"epoch": "e", "offset": 1} for n in range(201)}}, "$.resume"),
        ("auth", {"replaces": "s" * 65}, "$.replaces"),
        ("join-event", {"eventId": ""}, "$.eventId"),
        ("join-event", {"eventId": "x" * 65}, "$.eventId"),
        ("join-event", {"eventId": "a:b"}, "$.eventId"),
        ("join-event", {"eventId": "a\n"}, "$.eventId"),
        ("join-event", {"eventId": 1.5}, "$.eventId"),
        ("join-event", {"eventId": True}, "$.eventId"),
        ("join-event", {"since": 5}, "$.since"),
        ("leave-event", {"eventId": None}, "$.eventId"),
        ("join-room", {"room": "chat"}, "$.room"),
        ("join-room", {"room": ":a"}, "$.room"),
        ("join-room", {"room": "chat:"}, "$.room"),
        ("join-room", {"room": "chat:" + "x" * 129}, "$.room"),
        ("join-room", {"room": "chat:a b"}, "$.room"),
        ("join-room", {"room": "chat:{a}"}, "$.room"),
        ("leave-room", {"room": 1}, "$.room"),
        ("publish", {"room": None}, "$.room"),
        ("publish", {"key": ""}, "$.key"),
        ("publish", {"key": "k" * 65}, "$.key"),
        ("update-session", {"data": None}, "$.data"),
        ("update-session", {"data": []}, "$.data"),
        ("update-session", {"data": {"k" * 129: 1}}, "$.data"),
    ],
)  # fmt: skip
def test_a_field_that_breaks_its_rule(type: str, changes: dict[str, Any], says: str) -> None:
    """`bad_message` names the command and the field, and carries the id."""
    bad = refusal(frame(type, id="mine", **changes))

    assert (Code.BAD_MESSAGE, "mine", type) == (bad.code, bad.command_id, bad.command_type)
    assert bad.message.startswith(f"{type}: ")
    assert says in bad.message


@pytest.mark.parametrize(
    ("type", "field"),
    [("auth", "token"), ("join-event", "eventId"), ("leave-event", "eventId"), ("join-room", "room"),
     ("leave-room", "room"), ("publish", "room"), ("publish", "data"), ("update-session", "data")],
)  # fmt: skip
def test_a_field_that_is_missing(type: str, field: str) -> None:
    """The message names it."""
    content = {"type": type, "id": 1, **GOOD[type]}
    del content[field]
    bad = refusal(json.dumps(content))

    assert (Code.BAD_MESSAGE, 1) == (bad.code, bad.command_id)
    assert f"`{field}`" in bad.message


@given(text=st.text(st.characters(), max_size=200))
@example("\ud800")
@example('{"type":"ping","id":' + "9" * 5000 + "}")
@example('{"type":"ping","id":1e999}')
def test_any_text_is_a_command_or_a_bad_one(text: str) -> None:
    """Nothing else is ever raised, and the error can be said."""
    said = None
    try:
        decode(text)
    except BadCommand as bad:
        said = pack(bad.event(bad.command_id))

    assert said != b""


@given(content=ALMOST)
def test_anything_like_a_command_is_one_or_a_bad_one(content: dict[str, Any]) -> None:
    """The same, with fields that nearly fit; a good id comes back."""
    try:
        named = decode(json.dumps(content)).id
    except BadCommand as bad:
        named = msgspec.json.decode(encode(bad.event(bad.command_id))).get("id")

    assert named in (content.get("id"), None)


@given(text=st.text(st.characters(), max_size=100) | JSON_VALUES.map(json.dumps))
@example('{"event:1":{"epoch":"e","offset":1}}')
@example("[" * 5000)
def test_any_resume_is_one_or_a_bad_one(text: str) -> None:
    """The query parameter is read as strictly as the frame's field."""
    resume: dict[str, Since | None] = {}
    error = Refused(Code.BAD_MESSAGE, "resume: ")
    try:
        resume = decode_resume(text)
    except BadCommand as bad:
        error = bad

    assert Code.BAD_MESSAGE == error.code
    assert error.message.startswith("resume: ")
    assert all(since is None or isinstance(since, Since) for since in resume.values())


# --- events ---


def test_an_answer_carries_its_id_and_other_frames_none() -> None:
    """Absent, not null."""
    assert b'{"type":"pong","id":7,"serverTime":1}' == encode(Pong(id=7, server_time=1))
    assert b'{"type":"room-info","eventId":"1","userCount":2}' == encode(RoomInfo(event_id="1", user_count=2))


@pytest.mark.parametrize("t", [b"1", b"1.50", b'"x"', b"null", b'{"a": [1]}'])
def test_a_pong_brings_back_what_came(t: bytes) -> None:
    """Byte for byte."""
    command = decode('{"type":"ping","t":' + t.decode() + "}")

    assert isinstance(command, Ping)
    assert isinstance(command.t, Raw)
    assert b'{"type":"pong","t":' + t + b',"serverTime":9}' == encode(Pong(t=command.t, server_time=9))


def test_every_type_is_kebab_case() -> None:
    """Of commands and of events alike."""
    types = {str(c.__struct_config__.tag) for c in Event.__subclasses__()} | set(COMMAND_TYPES)

    assert [] == [t for t in types if not re.fullmatch(r"[a-z]+(-[a-z]+)*", t)]


@pytest.mark.parametrize("code", list(Code))
def test_an_error_says_whether_to_try_again(code: Code) -> None:
    """`retryable` is of the code; details are there only where there are any."""
    plain = msgspec.json.decode(encode(Refused(code, "why").event()))
    detailed = msgspec.json.decode(encode(Refused(code, "why", {"a": 1}).event("x")))

    assert {
        "type": "error", "code": code.value, "message": "why", "retryable": code in RETRYABLE,
    } == plain  # fmt: skip
    assert {**plain, "id": "x", "details": {"a": 1}} == detailed


def test_only_the_passing_is_retryable() -> None:
    """Asking again for what was forbidden changes nothing."""
    assert {Code.RATE_LIMITED, Code.UNAVAILABLE} == RETRYABLE


def test_close_codes_may_be_sent() -> None:
    """RFC 6455, 7.4: 1005, 1006 and 1015 never go over the wire."""
    assert [] == [c for c in Close if c in {1005, 1006, 1015} or not 1000 <= c < 5000]


# --- frames ---


def parsed(data: bytes) -> tuple[Frame, int]:
    """What another implementation of RFC 6455 reads, and how many bytes it took."""
    taken = 0

    def read_exact(count: int) -> Generator[None, None, bytes]:
        nonlocal taken
        piece = data[taken : taken + count]
        taken += count
        assert len(piece) == count
        return piece
        yield

    parsing = Frame.parse(read_exact, mask=False)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    return done.value.value, taken


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537, 1_000_000])
def test_packs_frames_of_every_length(size: int) -> None:
    """7, 16 or 64 bits of length, whichever is the shortest."""
    payload = b"x" * size
    packed = text_frame(payload)
    frame, taken = parsed(packed)

    assert (Opcode.TEXT, payload, True) == (frame.opcode, bytes(frame.data), frame.fin)
    assert len(packed) == taken
    assert Frame(Opcode.TEXT, payload).serialize(mask=False) == packed


@given(message=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_packs_events(message: str) -> None:
    """What an independent parser reads is the event's JSON."""
    frame, _ = parsed(pack(Error(code="bad_message", message=message, retryable=False)))

    assert {"type": "error", "code": "bad_message", "message": message, "retryable": False} == json.loads(
        bytes(frame.data)
    )
