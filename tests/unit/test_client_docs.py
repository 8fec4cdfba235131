"""What the browser's client has, ``docs/client.md`` has: states, options, errors, members, attributes."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "static" / "keepseat"
PAGE = (ROOT / "docs" / "client.md").read_text()


def source(name: str) -> str:
    return (CLIENT / f"{name}.js").read_text()


def code_words() -> set[str]:
    """Every word that stands in backticks."""
    spans = re.findall(r"`([^`\n]+)`", PAGE)
    return {word for span in spans for word in re.findall(r"[\w-]+", span)}


def members(name: str) -> set[str]:
    """The public methods, getters and fields of the classes in a module."""
    found = re.findall(r"^  (?:async )?(?:get )?([a-z]\w*)(?:\(.*\)? \{| = .*;)$", source(name), re.MULTILINE)
    return set(found) - {"constructor", "receive", "restore", "positionIn"}


def states() -> set[str]:
    (union,) = re.findall(r"@typedef \{(.*?)\} State\b", source("types"))
    return set(re.findall(r"'([\w-]+)'", union))


def options() -> set[str]:
    return set(
        re.findall(r"@property \{.*\} \[?(\w+)", source("types").split("@typedef {object} Options")[1])
    )


def error_codes() -> set[str]:
    modules = [path.read_text() for path in CLIENT.glob("*.js")]
    pattern = r"(?:new CommandError\(|#fail\(id, |#end\()'(\w+)'"
    return {code for text in modules for code in re.findall(pattern, text)}


def attributes(name: str) -> set[str]:
    return set(re.findall(r"(?:getAttribute\(|attribute: )'([\w-]+)'", source(name)))


@pytest.mark.parametrize(
    ("names", "least"),
    [
        pytest.param(states(), 5, id="states"),
        pytest.param(options(), 9, id="options"),
        pytest.param(error_codes(), 8, id="errors"),
        pytest.param(members("client"), 15, id="client"),
        pytest.param(members("room"), 7, id="room"),
        pytest.param(members("queue"), 10, id="queue"),
        pytest.param(members("seats"), 10, id="seats"),
        pytest.param(attributes("connection-status"), 6, id="connection-status"),
        pytest.param(attributes("connection-quality"), 7, id="connection-quality"),
    ],
)
def test_all_is_documented(names: set[str], least: int) -> None:
    """By its name, in backticks."""
    assert len(names) >= least
    assert set() == names - code_words()


def test_the_limits_of_quality_are_those_of_the_code() -> None:
    """Somebody will tune one of them."""
    (head, *rows) = re.findall(r"^\| (?:level|`good`|`fair`) \|(.*)\|$", PAGE, re.MULTILINE)
    names = re.findall(r"`(\w+)`", head)
    told = [dict(zip(names, map(int, row.split("|")), strict=True)) for row in rows]
    levels = re.findall(r"\['\w+', \{ (.*) \}\]", source("quality"))
    real = [
        {name: int(limit.replace("_", "")) for name, limit in re.findall(r"(\w+): ([\d_]+)", level)}
        for level in levels
    ]

    assert 2 == len(real)
    assert real == told
