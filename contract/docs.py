"""What ``docs/protocol.md`` says in its tables, for the descriptions: nothing is explained twice."""

import configparser
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version() -> str:
    """The version of this project."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser["metadata"]["version"]


@cache
def _protocol() -> str:
    return (ROOT / "docs" / "protocol.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head, cell by cell.

    Raises:
        ValueError: there is no such heading, or no table under it.
    """
    _, found, rest = _protocol().partition(f"\n{heading}\n")
    rows = re.search(r"^\|.*\n\|[ -|]*\n((?:\|.*\n)+)", rest, re.MULTILINE) if found else None
    if rows is None:
        raise ValueError(f"docs/protocol.md has no table under {heading!r}")
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


def words(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)
