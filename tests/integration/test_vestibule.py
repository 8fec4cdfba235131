"""Where WebSockets wait before the upgrade, and in which order they are taken in."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler

from handlers.front import Limits
from handlers.vestibule import MOST_AHEAD, Vestibule
from session.metrics import Metrics
from tests.support.raw import upgrade
from tests.support.tokens import token
from tests.support.waiting import eventually

RESUME = quote(json.dumps({"event:123": {"epoch": "kx1f", "offset": 55}}))
WAIT = 30.0


class Hall:
    """A vestibule whose WebSockets are all Tornado's, and those who come into it."""

    def __init__(self, first_request: float = 600, lines: int = 10) -> None:
        self.taken: list[str] = []
        self.turnstile: Any = SimpleNamespace(waiting=0)
        self._peers: list[socket.socket] = []
        hall = self

        class Upgraded(RequestHandler):
            def get(self) -> None:
                hall.taken.append(self.get_argument("who"))

        self.server = Vestibule(
            Application([("/ws", Upgraded)]), Limits(lines=lines, first_request=first_request),
            upgrades=SimpleNamespace(take=lambda *_: False), turnstile=self.turnstile, metrics=Metrics(),
            most=10,
        )  # fmt: skip

    def comes(self, said: bytes = b"") -> tuple[IOStream, socket.socket]:
        """A connection is accepted that has said something: our end and its own."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._peers.append(theirs)
        theirs.sendall(said)
        stream = IOStream(ours)
        self.server.handle_stream(stream, ("", 0))
        return stream, theirs

    async def close(self) -> None:
        for peer in self._peers:
            peer.close()
        await self.server.close_all_connections()
        await eventually(lambda: not len(self.server), "no line is left", WAIT)


@asynccontextmanager
async def hall(**limits: Any) -> AsyncIterator[Hall]:
    made = Hall(**limits)
    try:
        yield made
    finally:
        await made.close()


def who(name: str, more: str = "") -> bytes:
    return upgrade(f"/ws?who={name}{more}".replace(" ", "+"))


async def test_who_comes_back_is_known_by_its_request() -> None:
    """By `resume` in the query, which may stand behind a long token, and by `returning`; newcomers who came
    before them wait. Who has gone meanwhile holds nobody up."""
    long = token("u", rooms=["chat:" + "x" * 100] * 10)
    async with hall() as vestibule:
        vestibule.turnstile.waiting = MOST_AHEAD
        vestibule.comes(who("a newcomer", f"&token={long}"))
        gone, _ = vestibule.comes(who("somebody", "&returning=1"))
        _, late = vestibule.comes()
        vestibule.comes(who("by resume", f"&token={long}&resume={RESUME}"))
        vestibule.comes(who("by returning", "&returning=1"))
        gone.close()
        late.sendall(who("who speaks late", "&returning=1"))
        await eventually(lambda: not len(vestibule.server), "who speaks late waits too", WAIT)
        vestibule.turnstile.waiting = 0
        await eventually(lambda: len(vestibule.taken) == 4, "all are taken in", WAIT)

    assert ["by resume", "by returning", "who speaks late", "a newcomer"] == vestibule.taken


async def test_who_says_nothing_is_closed() -> None:
    """It is not waited for longer than for others; who says something late is served."""
    async with hall(first_request=0.5) as vestibule:
        silent, _ = vestibule.comes()
        slow, theirs = vestibule.comes()
        theirs.sendall(b"GET /ws?who=")
        _, late = vestibule.comes()
        late.sendall(who("late"))
        assert 3 == len(vestibule.server)
        await eventually(lambda: silent.closed() and slow.closed(), "both are closed", WAIT)
        await eventually(lambda: vestibule.taken, "it is served", WAIT)

    assert ["late"] == vestibule.taken


async def test_where_too_many_say_nothing_the_oldest_goes() -> None:
    """So many lines there may be, and no more: those that wait for a first word count."""
    async with hall(lines=2) as vestibule:
        lines = [vestibule.comes()[0] for _ in range(4)]
        _, late = vestibule.comes()

        assert [True, True, True, False] == [line.closed() for line in lines]
        late.sendall(who("the newest"))
        await eventually(lambda: vestibule.taken, "it is served", WAIT)
