"""Clients that say anything at all: each command with an id has one answer, and the server stays well."""

import asyncio
import json
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from session.protocol import BadCommand, Close, Event, decode
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.fuzz import EVENT_ID, bent, garbage, good, id_of
from tests.support.health import Rest
from tests.support.raw import TEXT, Raw, close_frame, command, frame
from tests.support.sale import assert_agreement
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess

SEEDS = range(12)
COMMANDS = 60
MISTAKES = 15
"""Fewer than cost a client its connection."""
TYPES = {str(event.__struct_config__.tag) for event in Event.__subclasses__()} | {"message", "seats-updated"}
CODES = {int(code) for code in Close} | {1001, 1005, 1006, 1011, 1014}
CHAT = {"rooms": ["chat:*"], "publish": ["chat:*"]}


@given(st.integers(min_value=0, max_value=2**32))
@settings(max_examples=300)
def test_a_bent_command_is_one_or_a_bad_one(seed: int) -> None:
    """Nothing but `BadCommand` comes out of reading it, and that knows the id."""
    rng = random.Random(seed)
    text = bent(rng, good(rng, rng.choice([7, "seven"])))
    try:
        found = decode(text).id
    except BadCommand as bad:
        found = None if bad.command_id is UNSET else bad.command_id

    assert id_of(text) == found


async def talk(raw: Raw, rng: random.Random) -> Counter[str]:
    """Say good and bent commands, as many bad ones as are forgiven; the ids that must be answered."""
    expected: Counter[str] = Counter()
    mistakes = 0
    for number in range(COMMANDS):
        text = json.dumps(good(rng, rng.choice([number, f"n{number}"])))
        if mistakes < MISTAKES and rng.random() < 0.4:
            mistakes += 1
            text = bent(rng, json.loads(text))
        if (command_id := id_of(text)) is not None:
            expected[json.dumps(command_id)] += 1
        raw.write(frame(text))
        await raw.writer.drain()
        if rng.random() < 0.2:
            await asyncio.sleep(0)
    raw.write(command("ping", id="the end"))
    await raw.answer("the end")
    return expected


async def polite(server: ServerProcess, seed: int) -> None:
    """A client whose frames are frames is answered once for each id, and stays."""
    raw = await Raw.sign_in(server, f"polite-{seed % 5}", **CHAT)
    expected = await talk(raw, random.Random(seed))
    frames = [heard.json for heard in raw.heard if heard.opcode == TEXT]
    answered = Counter(json.dumps(f["id"]) for f in frames if "id" in f and f["id"] != "the end")
    raw.drop()

    assert expected == answered, f"seed {seed}"
    assert {f["type"] for f in frames} <= TYPES, f"seed {seed}"


async def rude(server: ServerProcess, seed: int) -> None:
    """One who mixes in what is no frame is closed with a code that is documented, if not by itself."""
    rng = random.Random(seed)
    raw = await Raw.sign_in(server, f"rude-{seed % 5}", **CHAT)
    for number in range(COMMANDS):
        if rng.random() < 0.1:
            raw.write(garbage(rng))
        else:
            raw.write(frame(bent(rng, good(rng, number))))
    raw.finish(close_frame(1000))
    code, _ = await raw.ended()
    frames = [heard.json for heard in raw.heard if heard.opcode == TEXT]

    assert code in CODES or 3000 <= code <= 4999, f"seed {seed}"
    assert {f["type"] for f in frames} <= TYPES, f"seed {seed}"


async def test_any_frames_at_all(servers: Servers, connect: Connect, valkey: StoreProcess) -> None:
    """Polite and rude clients in one sale: one answer an id, known types and codes only; the seats are as
    the store has them, and the server has given everything back, with nothing in its log."""
    (a,) = servers(message_burst=1000, max_seats=6)
    house = {"title": "Fuzz", "capacity": 3, "sections": [{"name": "A", "rows": 4, "seatsPerRow": 10}]}
    assert 201 == (await Api(a).put(f"/api/events/{EVENT_ID}", house)).status
    watcher = await connect(a, user="watcher")
    await watcher.do("join-seats", eventId=EVENT_ID)
    rest = Rest(a)
    async with asyncio.TaskGroup() as group:
        for seed in SEEDS:
            group.create_task(polite(a, seed))
            group.create_task(rude(a, seed))
    await assert_agreement(valkey.client, connect, a, EVENT_ID, watcher)
    await watcher.close()
    await rest.assert_regained()
