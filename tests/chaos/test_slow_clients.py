"""Clients that do not read, do not answer, or do nothing, by the thousand: the others do not notice."""

import asyncio
import contextlib
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.health import Rest, memory_of
from tests.support.raw import TEXT, Raw, command, upgrade
from tests.support.sale import assert_agreement
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import token as make_token
from tests.support.waiting import eventually

EVENT = "event:123"
BUFFER = 262_144
KERNEL = 1_048_576
"""Unsent bytes that the server lets the kernel have for one client."""
LARGE = "x" * 60_000
MIB = 2**20
PINGS = 'keepseat_commands_total{result="ok",type="ping"}'


def unsent(server: ServerProcess) -> list[int]:
    """Bytes in the kernel that the server's peers have not taken, by connection (Linux, proc(5))."""
    port = f":{server.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].split(":")[0], 16) for row in rows if row[1].endswith(port) and row[3] == "01"]


async def test_who_asks_and_does_not_read(servers: Servers, connect: Connect) -> None:
    """Costs its buffer, in the server and in the kernel; then 1013, and all is given back. The others are
    answered meanwhile, and hear everything."""
    (a,) = servers(max_buffer_bytes=BUFFER, message_burst=200, ping_interval=100)
    quick = await connect(a, user="quick")
    rest = Rest(a)
    await quick.do("join-event", eventId="123")
    stuck = [await Raw.sign_in(a, f"stuck-{n}", receive_buffer=4096) for n in range(4)]
    for raw in stuck:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's has it
        for n in range(100):
            raw.write(command("ping", id=n, t=LARGE))
    most = kernel = 0.0
    sent = 0
    while (figures := a.metrics())["keepseat_slow_readers_total"] < len(stuck):
        most = max(most, figures["keepseat_buffered_bytes"])
        kernel = max(kernel, *unsent(a), 0)
        assert "pong" == (await quick.call("ping", timeout=30))["type"]
        sent += 1
        await Api(a).publish(EVENT, sent)
    heard = await quick.expect_messages(EVENT, sent, 30)
    for raw in stuck:
        raw.drop()

    assert list(range(1, sent + 1)) == heard
    assert most <= len(stuck) * (KERNEL + BUFFER + 3 * len(LARGE))
    assert kernel <= 1.5 * KERNEL
    assert len(stuck) == a.metric('keepseat_connections_closed_total{code="1013"}')
    quick.assert_contiguous()
    await quick.close()
    await rest.assert_regained()


async def test_a_reader_of_single_bytes_falls_behind_and_comes_back(
    servers: Servers, connect: Connect
) -> None:
    """It is closed when the room has gone on without it; by resume it gets the rest, each message once."""
    (a,) = servers(max_buffer_bytes=65_536, ping_interval=100)
    api = Api(a)
    quick = await connect(a, user="quick")
    await quick.do("join-event", eventId="123")
    slow = await Raw.sign_in(a, "slow", receive_buffer=4096)
    slow.write(command("join-event", eventId="123", id=1))
    joined = await slow.answer(1)
    count, sips = 150, []

    async def sip() -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                sips.append(await slow.reader.read(1))
                await asyncio.sleep(0.01)

    sipping = asyncio.create_task(sip())
    for n in range(count):
        await api.publish(EVENT, f"{n} {LARGE}")
    await eventually(lambda: a.metric("keepseat_slow_readers_total") == 1, "the sipping one is closed", 60)
    sipping.cancel()
    slow.drop()
    resume = {EVENT: {"epoch": joined["epoch"], "offset": joined["offset"]}}
    back = await connect(a, user="slow", resume=resume)
    heard = [text.split()[0] for text in await back.expect_messages(EVENT, count, 30)]
    seen = [text.split()[0] for text in await quick.expect_messages(EVENT, count, 30)]

    assert [str(n) for n in range(count)] == heard == seen
    assert sips
    for client in (quick, back):
        client.assert_contiguous()


async def test_who_reads_slowly_may_still_ask(servers: Servers) -> None:
    """Whether it lags in the ring, or is sent a long replay, while the kernel has more of it than the buffer
    may hold: what it asks is answered behind what is on its way, and nothing is lost."""
    (a,) = servers(max_buffer_bytes=BUFFER, ping_interval=100)
    lagging = await Raw.sign_in(a, "lagging", receive_buffer=4096)
    lagging.write(command("join-event", eventId="123", id=1))
    joined = await lagging.answer(1)
    count, behind = 0, 3
    while behind:
        await Api(a).publish(EVENT, f"{count} {LARGE}")
        count += 1
        behind -= a.metric("keepseat_buffered_bytes") > 0
    lagging.write(command("ping", id=2))
    a.wait_metric(PINGS, 1)
    assert "pong" == (await lagging.answer(2))["type"]
    await hear_messages(lagging, count)
    lagging.drop()
    replayed = await Raw.open(a, receive_buffer=4096)
    resume = {EVENT: {"epoch": joined["epoch"], "offset": joined["offset"]}}
    replayed.write(command("auth", token=make_token("replayed"), resume=resume))
    await eventually(lambda: a.metric("keepseat_buffered_bytes") > BUFFER, "the kernel is full")
    replayed.write(command("ping", id=3))
    a.wait_metric(PINGS, 2)
    assert "pong" == (await replayed.answer(3))["type"]
    await hear_messages(replayed, count)
    replayed.drop()

    assert 0 == a.metric("keepseat_slow_readers_total")


async def hear_messages(raw: Raw, count: int) -> None:
    """Hear so many messages of a room, from the first on, in order."""

    def heard() -> list[str]:
        frames = [json.loads(frame.payload) for frame in raw.heard if frame.opcode == TEXT]
        return [frame["data"].split()[0] for frame in frames if frame["type"] == "message"]

    while len(heard()) < count:
        await raw.hear()
    assert [str(n) for n in range(count)] == heard()


async def test_a_snapshot_larger_than_the_buffer(
    servers: Servers, connect: Connect, valkey: StoreProcess
) -> None:
    """A large house is more than may wait for a slow reader, and is sent all the same: what was begun when
    nothing waited may end."""
    (a,) = servers(max_buffer_bytes=65_536, max_seats=1000, ping_interval=100)
    api = Api(a)
    section = "a-large-section-in-house"
    house = {"title": "Large", "sections": [{"name": section, "rows": 50, "seatsPerRow": 200, "price": 1}]}
    assert 201 == (await api.put("/api/events/large", house)).status
    for n in range(10):
        buyer = await connect(a, user=f"buyer-{n}")
        await buyer.do("hold-best", eventId="large", count=1000)
        await buyer.close()
    slow = await Raw.sign_in(a, "slow", receive_buffer=4096)
    slow.write(command("join-seats", eventId="large", id=1))
    watcher = await connect(a, user="watcher")
    await watcher.do("join-seats", eventId="large")
    answer = await slow.answer(1)
    slow.write(command("ping", id=2))

    assert 10_000 == len(answer["snapshot"]["held"])
    assert len(slow.heard[-1].payload) > 4 * 65_536
    assert "pong" == (await slow.answer(2))["type"]
    assert 0 == a.metric("keepseat_slow_readers_total")
    slow.drop()
    await assert_agreement(valkey.client, connect, a, "large", watcher)


async def test_who_reads_and_answers_no_ping(servers: Servers, connect: Connect) -> None:
    """Is told so with 4001; who answers stays."""
    # time enough to be let in before the first ping, and for a pong on a busy machine
    (a,) = servers(ping_interval=2, ping_timeout=3)
    alive = await connect(a, user="alive")
    mute = await Raw.sign_in(a, "mute")
    ended = await mute.ended()

    assert (4001, "no_pong") == ended
    assert "pong" == (await alive.call("ping"))["type"]


@pytest.fixture
def many_files() -> Iterator[int]:
    """Raise the number of files that this process and its children may have open; yields it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HALF = upgrade()[:-4]
GROUPS = {"silent": b"", "half a handshake": HALF, "no token": upgrade()}


async def knock(server: ServerProcess, said: bytes) -> socket.socket | None:
    """Connect and say something; None where the server was quicker to hang up."""
    sock = socket.socket()
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, ("127.0.0.1", server.port))
        await loop.sock_sendall(sock, said)
    except ConnectionError:
        sock.close()
        return None
    return sock


async def test_thousands_of_half_open_sockets(many_files: int, servers: Servers, connect: Connect) -> None:
    """Silent, in the middle of the handshake, or without a token: meanwhile those who are in are served and
    others come in, and afterwards sockets and memory are given back."""
    count = min(3000, (many_files - 200) // 2)
    (a,) = servers(auth_timeout=5, max_connections=count)
    inside = await connect(a, user="inside")
    rest, before = Rest(a), memory_of(a)
    crowd: list[socket.socket | None] = []
    kinds = list(GROUPS.values())
    for n in range(0, count, 100):
        batch = [knock(a, kinds[k % len(kinds)]) for k in range(n, min(n + 100, count))]
        crowd += await asyncio.gather(*batch)
        assert "pong" == (await inside.call("ping", timeout=60))["type"]
    late = await connect(a, user="late", token=make_token("late"))
    assert "pong" == (await late.call("ping", timeout=60))["type"]
    await late.close()
    try:
        # nobody of the crowd hangs up: the server does
        await eventually(lambda: a.metric("keepseat_sockets") == 1, "who has no token is sent away", 60)
        await eventually(lambda: a.metric("keepseat_lines") <= 2, "who does not ask is cut off", 60)
    finally:
        for sock in crowd:
            if sock is not None:
                sock.close()
    await inside.close()
    await rest.assert_regained()
    # what Python keeps for the next crowd is less than this; what is not given back is more with each crowd
    assert memory_of(a) - before < 60 * MIB
