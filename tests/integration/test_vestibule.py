"""Where WebSockets wait before the upgrade, and in which order they are taken in."""

import json
import socket
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


async def test_who_comes_back_is_known_by_its_request() -> None:
    """By `resume` in the query, which may stand behind a long token, and by `returning`; newcomers who came
    before them wait."""
    taken: list[str] = []

    class Upgraded(RequestHandler):
        def get(self) -> None:
            taken.append(self.get_argument("who"))

    turnstile: Any = SimpleNamespace(waiting=MOST_AHEAD)
    long = token("u", rooms=["chat:" + "x" * 100] * 10)
    queries = [
        f"who=a newcomer&token={long}",
        "who=another newcomer",
        f"who=by resume&token={long}&resume={RESUME}",
        "who=by returning&returning=1",
    ]
    server = Vestibule(
        Application([("/ws", Upgraded)]), Limits(lines=10, first_request=60),
        turnstile=turnstile, metrics=Metrics(), most=10,
    )  # fmt: skip
    peers = []
    for query in queries:
        ours, theirs = socket.socketpair()
        peers.append(theirs)
        theirs.sendall(upgrade("/ws?" + query.replace(" ", "+")))
        server.handle_stream(IOStream(ours), ("", 0))
    turnstile.waiting = 0
    await eventually(lambda: len(taken) == len(queries), "all are taken in")
    for peer in peers:
        peer.close()
    await server.close_all_connections()

    assert ["by resume", "by returning", "a newcomer", "another newcomer"] == taken
