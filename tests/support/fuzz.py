"""Commands that make sense, commands that almost do, and bytes that do not, from a seed."""

import json
import random
from typing import Any

from tests.support.raw import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame

EVENT_ID = "fuzz"
SEATS = [f"A-{row}-{seat}" for row in range(1, 5) for seat in range(1, 11)]
NASTY: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, 2**53, -(2**63), "", " ", "x" * 200, "\x00", "좌석 💺", "\\", '"',
    "__proto__", "event:fuzz", "user:1", "../..", [], {}, [[]], [None], {"a": {"b": [1]}}, ["A-1-1"] * 3,
    {"epoch": "e", "offset": 1}, {"epoch": "", "offset": -1}, "A" * 30_000, list(range(500)),
]  # fmt: skip
TOKENS = [*'{}[],:"-', "null", "1e9", "\\u0000", "\\ud800", "'", "\n", "\ufeff", "\x7f"]


def good(rng: random.Random, command_id: Any) -> dict[str, Any]:
    """A command that keeps all rules; whether it succeeds depends on what came before."""
    event = {"eventId": rng.choice([EVENT_ID, EVENT_ID, "other", 7])}
    room = rng.choice(["chat:a", "chat:b", "closed:c", "event:fuzz"])
    seats = rng.sample(SEATS, rng.randint(1, 4)) + ["Z-9"] * (rng.random() < 0.1)
    fields = rng.choice([
        {"type": "ping"}, {"type": "ping", "t": rng.choice(NASTY)},
        {"type": "join-event", **event},
        {"type": "join-event", **event, "since": {"epoch": "e", "offset": 3}},
        {"type": "leave-event", **event}, {"type": "join-room", "room": room},
        {"type": "leave-room", "room": room},
        {"type": "publish", "room": room, "data": rng.choice(NASTY)},
        {"type": "publish", "room": room, "data": 1, "key": rng.choice("abc")},
        {"type": "update-session", "data": {rng.choice("abc"): rng.choice(NASTY)}},
        {"type": "join-queue", **event}, {"type": "leave-queue", **event},
        {"type": "join-seats", **event}, {"type": "leave-seats", **event},
        {"type": "hold-seats", **event, "seats": seats},
        {"type": "hold-best", **event, "count": rng.randint(1, 5)},
        {"type": "hold-best", **event, "count": 1, "section": rng.choice("AZ")},
        {"type": "extend-hold", **event}, {"type": "release-seats", **event},
        {"type": "release-seats", **event, "seats": seats},
    ])  # fmt: skip
    return fields | {"id": command_id}


def bent(rng: random.Random, command: dict[str, Any]) -> str:
    """The JSON of a command with something wrong about it, or nothing by chance; it may be no JSON."""
    how = rng.randrange(5)
    fields = dict(command)
    name = rng.choice(list(fields))
    if how == 0:
        fields[name] = rng.choice(NASTY)
    elif how == 1:
        del fields[name]
    elif how == 2:
        fields[rng.choice(["extra", "Type", "ID", "constructor", ""])] = rng.choice(NASTY)
    text = json.dumps(fields, ensure_ascii=rng.random() < 0.5)
    if how == 3:  # the same key twice
        return text[:-1] + f", {json.dumps(name)}: {json.dumps(rng.choice(NASTY))}}}"
    if how == 4:
        at = rng.randrange(len(text))
        return text[:at] + rng.choice(TOKENS) + text[at + rng.randrange(3) :]
    return text


def garbage(rng: random.Random) -> bytes:
    """Bytes that are no command of ours, and mostly no frame."""
    noise = rng.randbytes(rng.randrange(200))
    return rng.choice([
        noise, frame(noise), frame(noise, BINARY), frame(noise[:125], PING), frame(noise[:125], PONG),
        frame(noise, rng.randrange(16)), frame(noise, reserved=rng.randrange(8)), frame(noise, masked=False),
        frame(noise, CONTINUATION), frame(noise, TEXT, fin=False), frame(noise, length=rng.randrange(2**20)),
        close_frame(rng.randrange(65_536), noise[:100]), frame(b"x" * 65_537), frame(b"[" * 60_000),
    ])  # fmt: skip


def id_of(text: str) -> Any:
    """The id that the answer to a frame must carry; None where it carries none."""
    try:
        found = json.loads(text, parse_constant=_refuse)
        command_id = found.get("id") if isinstance(found, dict) else None
        str(command_id).encode()  # Python reads half a character, which is no text
    except ValueError:
        return None
    is_text = isinstance(command_id, str) and len(command_id) <= 64
    is_number = isinstance(command_id, int) and not isinstance(command_id, bool)
    return command_id if is_text or is_number else None


def _refuse(name: str) -> None:
    raise ValueError(name)  # Python reads NaN, which is no JSON
