"""Lines that are no WebSockets have a deadline at every moment, and there are only so many."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from handlers.front import Front, Limits, limits
from session.config import parse
from tests.conftest import Servers
from tests.support.raw import Raw, command, upgrade
from tests.support.waiting import eventually

SOON, NEVER = 0.3, 600.0
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_BYTES = 32_000_000
"""More than both kernels take for a peer that does not read."""


class Short(RequestHandler):
    def get(self) -> None:
        self.finish("here")

    post = get


class Large(RequestHandler):
    def get(self) -> None:
        self.finish(b"x" * LARGE_BYTES)


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


@asynccontextmanager
async def front(**waits: Any) -> AsyncIterator[tuple[Front, Callable[..., Any]]]:
    """A server with these limits, and what dials it."""
    limits = {"lines": 100, "first_request": NEVER, "next_request": NEVER, "answer": NEVER, **waits}
    server = Front(Application([("/", Short), ("/large", Large), ("/ws", Echo)]), Limits(**limits))
    (listening,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([listening])
    made: list[Raw] = []

    async def dial(*said: bytes) -> Raw:
        made.append(await Raw.dial(listening.getsockname()[1], receive_buffer=4096))
        made[-1].write(*said)
        return made[-1]

    try:
        yield server, dial
    finally:
        server.stop()
        for raw in made:
            raw.drop()
        await server.close_all_connections()


async def served(raw: Raw) -> None:
    """Hear a whole short answer."""
    status, headers = await raw.response()
    assert 200 == status
    await raw.reader.readexactly(int(headers["content-length"]))


@pytest.mark.parametrize(
    "said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "], ids=["nothing", "a letter", "half a head"]
)
async def test_who_does_not_ask_is_closed(said: bytes) -> None:
    """The deadline runs from the first moment, however little is said; who asked is served all the same."""
    async with front(first_request=SOON) as (server, dial):
        quick, slow = await dial(GET), await dial(said)
        await served(quick)

        assert await slow.is_cut()
        quick.write(GET)
        await served(quick)
        assert 1 == len(server)


async def test_a_head_that_trickles_in_does_not_lengthen_the_deadline() -> None:
    """A byte now and then is what slow attacks live on."""
    async with front(first_request=SOON) as (_, dial):
        slow = await dial(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")

        async def trickle() -> None:
            while True:
                slow.write(b"a")
                await asyncio.sleep(SOON / 10)

        trickling = asyncio.create_task(trickle())

        assert await slow.is_cut()
        trickling.cancel()


async def test_a_kept_line_is_closed_after_a_while() -> None:
    """Not as soon as one that never asked."""
    async with front(first_request=NEVER, next_request=SOON) as (server, dial):
        raw = await dial(GET)
        await served(raw)

        assert await raw.is_cut()
        await eventually(lambda: not len(server), "the line is forgotten")


@pytest.mark.parametrize(
    "said", [POST, POST + b"x" * 50, LARGE], ids=["no body", "half a body", "an answer that nobody reads"]
)
async def test_an_exchange_has_an_end(said: bytes) -> None:
    """Bodies that do not come, and answers that are not taken, are not waited for."""
    async with front(answer=SOON) as (server, dial):
        await dial(said)
        await eventually(lambda: len(server) == 1, "it is there")

        await eventually(lambda: not len(server), "the line is given up")


async def test_where_there_are_too_many_the_oldest_that_says_nothing_goes() -> None:
    """First who never asked, oldest first; then kept lines; an answer that is being waited for goes last."""
    async with front(lines=4) as (server, dial):
        asking, kept = await dial(POST), await dial(GET)
        await served(kept)
        silent = [await dial() for _ in range(2)]
        await eventually(lambda: len(server) == 4, "all have come")
        more = [await dial() for _ in range(6)]
        cut = [await raw.is_cut() for raw in (*silent, *more[:4])]
        late = await dial(GET)
        await served(late)
        asking.write(b"x" * 100)
        await served(asking)
        kept.write(GET)
        await served(kept)

        assert [True] * 6 == cut
        assert len(server) <= 4


async def test_a_full_house_of_slow_answers_gives_way() -> None:
    """Even where all lines are busy, whoever comes is served."""
    async with front(lines=3) as (server, dial):
        slow = [await dial(POST) for _ in range(3)]
        await eventually(lambda: len(server) == 3, "all have come")
        late = await dial(GET)
        await served(late)

        cutting = [asyncio.create_task(raw.is_cut()) for raw in slow]
        done, rest = await asyncio.wait(cutting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()

        assert [True] == [task.result() for task in done]
        assert 1 <= len(server) <= 3


async def test_a_websocket_is_no_line() -> None:
    """Once it is open it has its own limits."""
    async with front(lines=2, first_request=SOON, next_request=SOON, answer=SOON) as (server, dial):
        socket = await dial(upgrade())
        assert 101 == (await socket.response())[0]
        await eventually(lambda: not len(server), "it is not counted")
        silent = await dial()
        assert await silent.is_cut()
        socket.write(command("room-left", room="chat:1"))

        assert "chat:1" == (await socket.hear()).json["room"]


async def test_a_server_process_keeps_these_limits(servers: Servers) -> None:
    """A stranger that says nothing is cut after `--auth-timeout`; a line on which was asked is kept, and
    counted."""
    (server,) = servers(auth_timeout=3)
    kept = await Raw.dial(server)
    kept.write(HEALTH)
    await served(kept)
    silent = await Raw.dial(server)

    assert await silent.is_cut()
    kept.write(HEALTH)
    await served(kept)
    # it, and the one that asks
    server.wait_metric("keepseat_lines", 2)
    for raw in (kept, silent):
        raw.drop()


def test_the_limits_follow_the_options() -> None:
    """The first request has as long as the first frame; lines are a third of the connections."""
    found = limits(parse(["--auth-timeout=7", "--max-connections=9000", f"--jwt-secret={'x' * 32}"], {}))

    assert (7.0, 3000) == (found.first_request, found.lines)
    assert found.next_request > 60
