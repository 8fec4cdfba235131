"""How a benchmark's figures are written down: a table for people, JSON for machines, and what they are of."""

import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.systems import INSTALLED, NODE
from tests.support.stores import valkey_binary

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
    """The median of the ratios of each round: what slows a whole round down falls out."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


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
    }


def _peers() -> dict[str, str]:
    packages = {
        name: json.loads((INSTALLED / "node_modules" / name / "package.json").read_text())["version"]
        for name in PEERS
    }
    return {"node": _says(str(NODE), "--version"), **packages}


def _cpu() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write(path: str, result: dict[str, Any]) -> None:
    """Write a result that was measured beside the peers as JSON, where a path is given."""
    if path:
        Path(path).write_text(json.dumps({"machine": machine() | _peers(), **result}, indent=1) + "\n")
