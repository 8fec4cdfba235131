"""What the code has, the docs have: options, metrics, codes, types, keys."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from prometheus_client import Metric

from handlers.base import MAX_BODY_BYTES, MAX_EVENT_BODY_BYTES
from handlers.framing import FRAME_BURST, FRAME_RATE
from handlers.front import EXCHANGE_SECONDS, IDLE_SECONDS, MAX_HEAD_BYTES
from handlers.peer import PATIENCE
from handlers.wire import KERNEL_BYTES
from session import keys
from session.config import ALIASES, Config
from session.connection import MOST_OWED
from session.manager import MOST_NAMES
from session.metrics import Metrics
from session.protocol import (
    COMMAND_TYPES,
    MAX_DATA_BYTES,
    MAX_SEATS_NAMED,
    MAX_SESSION_DATA_BYTES,
    Close,
    Code,
    Event,
)
from session.recorder import MOST

DOCS = Path(__file__).parents[2] / "docs"

SALE_KEYS = [name for name in (key.partition("}")[2] for key in keys.sale("1")) if ":" not in name]
"""What an event has of its own; with a colon it is the history of a room."""

KEYS_IN_DOCS: dict[str, list[str]] = {
    "LEASES": ["{srv}leases"],
    "EVENTS": ["{srv}events"],
    "ACTIVE": ["{srv}active"],
    "FIGURES": ["{srv}figures"],
    "room": ["<tag>m:<room>", "<tag>h:<room>", "<tag>q:<room>", "{r:<room>}"],
    "user": [f"{{u:xx}}{letter}:<user>" for letter in "sdrxvl"],
    "index": ["{u:xx}i:<instance>"],
    "bucket_counter": ["{u:xx}n"],
    "bucket_channel": ["{u:<xx>}"],
    "family": ["{u:xx}f:<sign-in>"],
    "canary": ["{srv}c:<instance>"],
    "event": ["{e:<event>}cfg"],
    "counts": ["{e:<event>}n"],
    "sale": [f"{{e:<event>}}{name}" for name in SALE_KEYS],
    "here": ["{e:<event>}here:<instance>"],
    "LEDGER": ["#ledger:<event>"],
    "bucket": [],
}
"""How ``docs/redis.md`` writes what a name of ``session/keys.py`` stands for."""


FIXED_LIMITS: dict[str, list[int]] = {
    "frames that are no command by themselves": [FRAME_BURST, int(FRAME_RATE)],
    "broken frames": [PATIENCE, 1],
    "unsent bytes that the kernel takes for one connection": [KERNEL_BYTES],
    "rooms named in `resume`": [200],
    "lines that a user stands in": [MOST_NAMES],
    "commands answered `unavailable` of which a connection is told later": [MOST_OWED],
    "seats named in a command": [MAX_SEATS_NAMED],
    "events in the history of a user": [MOST],
    "`data` of a message": [MAX_DATA_BYTES],
    "`data` of a session": [MAX_SESSION_DATA_BYTES],
    "head of a request": [MAX_HEAD_BYTES],
    "time between requests on a kept connection": [int(IDLE_SECONDS)],
    "time from the head of a request to its answer taken": [int(EXCHANGE_SECONDS)],
    "body of a request": [MAX_BODY_BYTES, MAX_EVENT_BODY_BYTES],
}
"""What ``docs/protocol.md`` says of limits that no option sets."""


def page(name: str) -> str:
    """The text of a page; a page that is missing documents nothing."""
    path = DOCS / f"{name}.md"
    assert path.exists(), f"docs/{name}.md is missing"
    return path.read_text()


def code_words(text: str) -> set[str]:
    """All that stands in backticks, and what that consists of."""
    spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```[^\n]*\n(.*?)```", text, re.DOTALL)
    return {word for span in spans for word in re.findall(r"[\w-]+", span)} | set(spans)


def missing(names: list[str] | set[str], text: str) -> list[str]:
    words = code_words(text)
    return sorted(name for name in names if name not in words)


def test_every_option_is_documented() -> None:
    """With its default, and the variables that it is also read from."""
    text = page("configuration")
    options = [f"--{f.name.replace('_', '-')}" for f in fields(Config)]
    aliases = [variable for variables in ALIASES.values() for variable in variables]

    assert [] == missing(options, text)
    assert [] == missing([*aliases, "REDIS_HOST", "REDIS_PORT"], text)


def test_no_option_is_documented_that_is_none() -> None:
    """What was renamed or removed is so in the docs too."""
    options = {f"--{f.name.replace('_', '-')}" for f in fields(Config)} | {"--help"}
    rows = re.findall(r"^\|[^|\n]*", page("configuration"), re.MULTILINE)

    assert set() == {word for row in rows for word in re.findall(r"`(--[a-z-]+)", row)} - options


def test_every_metric_is_documented() -> None:
    """By the name that Prometheus reads."""
    metrics: list[Metric] = list(Metrics().registry.collect())
    names = {m.name + ("_total" if m.type == "counter" else "") for m in metrics}
    ours = {name for name in names if name.startswith("keepseat_")}

    assert len(ours) > 10
    assert [] == missing(ours, page("metrics"))


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([code.value for code in Code], id="error codes"),
        pytest.param([str(int(code)) for code in Close], id="close codes"),
        pytest.param(sorted(COMMAND_TYPES), id="commands"),
        pytest.param([str(e.__struct_config__.tag) for e in Event.__subclasses__()], id="events"),
    ],
)
def test_the_protocol_is_documented(names: list[str]) -> None:
    """Every code and type that can be seen on the wire."""
    assert [] == missing(names, page("protocol"))


def test_the_limits_are_those_of_the_code() -> None:
    """The table names each option with its default, and only codes that there are; what is fixed is so."""
    table = page("protocol").split("## 7. Limits")[1]
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", table, re.M)
    ]
    defaults = {f"--{f.name.replace('_', '-')}": f.default for f in fields(Config)}
    named = {option: row for row in rows for option in re.findall(r"`(--[a-z-]+)`", row[2])}
    fixed = {row[0].split(":")[0].split(",")[0]: numbers(row[1]) for row in rows if row[2] == "–"}
    derived = {"--max-connections", "--max-unauthenticated-per-address"}
    code_of = [code for row in rows for code in re.findall(r"closed, `(\d+)`", row[3])]

    assert {"--max-message-bytes", "--max-buffer-bytes", "--message-rate", "--max-rooms"} <= named.keys()
    assert [] == [o for o in named if o not in defaults]
    assert [] == [o for o in named.keys() - derived if int(defaults[o]) not in numbers(named[o][1])]
    assert {int(code) for code in code_of} <= set(Close)
    assert FIXED_LIMITS == {name: fixed[name] for name in FIXED_LIMITS}


def numbers(text: str) -> list[int]:
    """All numbers in a text."""
    return [int(number) for number in re.findall(r"\d+", text)]


def test_every_key_is_documented() -> None:
    """Whatever `session/keys.py` can name has a row in the docs."""
    public: list[Callable[..., object] | str] = [
        name
        for name, value in vars(keys).items()
        if (inspect.isfunction(inspect.unwrap(value)) and value.__module__ == keys.__name__)
        or (isinstance(value, str) and not name.startswith("_"))
    ]
    text = page("redis")

    assert KEYS_IN_DOCS.keys() == set(public)
    assert [] == [key for written in KEYS_IN_DOCS.values() for key in written if f"`{key}`" not in text]


@pytest.mark.parametrize(("name", "least"), [("guarantees", 40), ("security", 25)])
def test_every_promise_names_tests_that_there_are(name: str, least: int) -> None:
    """A test that was renamed or removed proves nothing any more."""
    named = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", page(name))
    tests = DOCS.parent / "tests"

    assert len(named) > least
    assert [] == [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (tests / path).read_text()
    ]


@pytest.mark.parametrize("name", ["operations", "troubleshooting", "security", "integrate", "balancer"])
def test_operators_are_told_of_what_there_is(name: str) -> None:
    """Options, variables and metrics that a page for operators names."""
    text = page(name)
    options = {f.name for f in fields(Config)}
    named = {found.replace("-", "_") for found in re.findall(r"`--([a-z-]+)", text)}
    named |= {found.lower() for found in re.findall(r"\bKEEPSEAT_([A-Z_]+)", text)}
    metrics = {m.name + ("_total" if m.type == "counter" else "") for m in Metrics().registry.collect()}

    assert set() == named - options
    assert set() == set(re.findall(r"`(keepseat_\w+)", text)) - metrics
