"""How a benchmark's figures are written down: a table for people, JSON for machines, and what they are of."""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from bench.systems import INSTALLED, NODE, PYTHON
from tests.support.stores import valkey_binary

Figures = dict[str, list[float]]
"""What was measured -> its value in each round."""


class Result(TypedDict):
    """What a benchmark came to: the numbers that it was given, and each system's figures."""

    given: dict[str, Any]
    systems: dict[str, Figures]


PACKAGES = ("python-socketio", "uvicorn")
PEERS = ("socket.io", "@socket.io/redis-adapter", "@socket.io/redis-streams-adapter", "ws")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many of a hundred do not exceed; of none, 0."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] if ordered else 0.0


def spread(values: Sequence[float], digits: int = 0) -> str:
    """``median [least-most]``."""
    middle, least, most = (f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values)))
    return f"{middle} [{least}-{most}]" if len(values) > 1 else middle


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of each round: what slows a whole round down falls out.

    Who was measured in the first rounds only is compared with those.
    """
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=False))


def compared(result: Result, system: str, name: str, other: str) -> str:
    """A system's ratio to another one, as a cell; empty where that was not measured."""
    theirs = result["systems"].get(other, {}).get(name)
    return f"{ratio(result['systems'][system][name], theirs):.2f}" if theirs else ""


def complain(result: Result) -> int:
    """1, and who, where anything was missing, doubled or refused."""
    bad = {system: sum(f["wrong"]) for system, f in result["systems"].items() if any(f["wrong"])}
    for system, count in bad.items():
        print(f"{system}: {count:.0f} missing, doubled or refused", file=sys.stderr)
    return int(bool(bad))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> dict[str, Any]:
    """What the figures are of: date, machine, versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "store": _says(valkey_binary(), "--version"),
        "tornado": version("tornado"),
        "uvloop": version("uvloop"),
    }


def _peers() -> dict[str, str]:
    packages = {
        name: json.loads((INSTALLED / "node_modules" / name / "package.json").read_text())["version"]
        for name in PEERS
    }
    return {"node": _says(str(NODE), "--version"), **packages, **_installed()}


def _installed() -> dict[str, str]:
    wanted = (
        f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {PACKAGES}}}))"
    )
    installed: dict[str, str] = json.loads(_says(str(PYTHON), "-c", wanted))
    return installed


def _cpu() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write(path: str, result: Mapping[str, Any]) -> None:
    """Write a result that was measured beside the peers as JSON, where a path is given."""
    if path:
        Path(path).write_text(json.dumps({"machine": machine() | _peers(), **result}, indent=1) + "\n")
