"""Write the figures of `make bench-peers` into docs/performance.md, between its markers, and draw the plots.

Whatever of `var/*.json` is missing stays as it is. Run: ``.venv/bin/python -m bench.document``.
"""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import fanout, growth, holds, idle, jitter, joins, processes, targets
from bench.report import Result
from bench.systems import CEILING, LIMIT, PYTHON, SYSTEMS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
FIGURES = ROOT / "var"
TABLES: Mapping[str, Callable[[Any], str]] = {
    "jitter": jitter.tables,
    "fanout": fanout.tables,
    "joins": joins.tables,
    "idle": idle.tables,
    "growth": growth.tables,
    "processes": processes.tables,
    "holds": holds.tables,
}
WIDTH = 119
BESIDES = ("machine", "targets", "generator")
"""What is written besides the tables."""
GROWTH = (("one", "deliveries/s"), ("join", "server CPU a join, us"), ("kb", "KB a connection"))


def machine(what: Mapping[str, Any]) -> str:
    """What the figures are of."""
    kernel = re.sub(r"[^\d.].*", "", what["kernel"])
    python, node = f"Python {what['python']}", f"Node {what['node'].lstrip('v')}"
    store = " ".join(re.findall(r"Valkey|(?<=v=)\S+", what["store"])[:2]) or what["store"]
    known = {"date", "cpu", "cores", "kernel", "python", "node", "store"}
    packages = ", ".join(f"{name} {version}" for name, version in what.items() if name not in known)
    text = (
        f"**The machine**: {what['cores']} cores ({what['cpu']}), Linux {kernel}, loopback only, "
        f"{what['date']}. {python}, {node}, {store}; {packages}."
    )
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def generator(result: Result) -> str:
    """That what measures is not what is measured."""
    many = result["given"]["readers"]
    systems = result["systems"]
    joined, single = (median(systems[s.name][f"burst {many}"]) for s in (CEILING, LIMIT))
    busiest = max(
        max(figures[f"busy {readers}"])
        for name, figures in systems.items()
        for readers in (many, result["given"]["few"])
        if name != CEILING.name and f"busy {readers}" in figures
    )
    text = (
        f"**The generator is not the limit**: from a server in C that joins 16 messages into one send it "
        f"takes {joined:,.0f} deliveries a second, {joined / single:.1f} times what the same server sends "
        f"one by one; beside the systems it used at most {busiest:.0%} of its core."
    )
    return textwrap.fill(text, WIDTH)


def filled(page: str, blocks: Mapping[str, str]) -> str:
    """The page with these blocks between their markers.

    Raises:
        KeyError: the page has no place for a block.
    """
    for name, text in blocks.items():
        start, end = f"<!-- figures: {name} -->\n", f"<!-- end of {name} -->"
        head, found, rest = page.partition(start)
        _, found_end, tail = rest.partition(end)
        if not (found and found_end):
            raise KeyError(f"docs/performance.md has no place for {name}")
        page = f"{head}{start}{text}\n{end}{tail}"
    return page


def bars(result: Result, name: str, systems: Sequence[str]) -> list[list[Any]]:
    """A bar a system: title, median, least and most; zeros where it was not measured."""
    return [
        [SYSTEMS[system].title.replace("`", ""), median(values), min(values), max(values)]
        for system in systems
        for values in [result["systems"][system].get(name, [0.0])]
    ]


def panels(result: Result, titles: Mapping[str, str], *, without: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Bars side by side: one panel a figure."""
    systems = [system for system in result["systems"] if system not in without]
    return [{"title": title, "bars": bars(result, name, systems)} for name, title in titles.items()]


def plots(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to draw of what was measured."""
    drawn = []
    if "fanout" in results:
        result = results["fanout"]
        many = result["given"]["readers"]
        rates = {f"one {many}": "deliveries/s, one by one", f"burst {many}": "16 at once"}
        times = {f"p50 {many}": "publish to receive, p50, ms", f"p99 {many}": "p99, ms"}
        absent = [name for name, of in result["systems"].items() if f"one {many}" not in of]
        drawn.append({"file": "fanout.svg", "panels": panels(result, rates, without=[CEILING.name, *absent])})
        # others are so far behind that the rest could not be told apart
        slow = [CEILING.name, *absent, *(n for n in result["systems"] if not SYSTEMS[n].bursts)]
        drawn.append({"file": "latency.svg", "panels": panels(result, times, without=slow)})
    if "joins" in results:
        titles = {"rate": "joins a second", "p99": "p99, ms"}
        drawn.append({"file": "joins.svg", "panels": panels(results["joins"], titles, without=[LIMIT.name])})
    if "idle" in results:
        titles = {"kb": "KB a connection", "cpu": "% of a core"}
        drawn.append({"file": "idle.svg", "panels": panels(results["idle"], titles)})
    if "growth" in results:
        drawn.append({"file": "growth.svg", "panels": growing(results["growth"])})
    return drawn


def growing(result: Result) -> list[dict[str, Any]]:
    """Lines over the number of connections: one panel a figure."""
    return [
        {
            "title": title,
            "lines": {
                SYSTEMS[system].title: [
                    [size, median(figures[f"{name} {size}"])]
                    for size in growth.sizes(result)
                    if name != "kb" or size >= growth.LEAST
                ]
                for system, figures in growth.measured(result, name).items()
            },
        }
        for name, title in GROWTH
    ]


def main() -> None:
    """Write what there is."""
    paths = {name: FIGURES / f"{name}.json" for name in TABLES}
    results = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    if not results:
        sys.exit("there are no figures yet: make bench-peers")
    blocks = {name: TABLES[name](result) for name, result in results.items()}
    newest = max(results.values(), key=lambda result: str(result["machine"]["date"]))
    blocks |= {"machine": machine(newest["machine"]), "targets": targets.tables(results)}
    if CEILING.name in results.get("fanout", {"systems": ()})["systems"]:
        blocks["generator"] = generator(results["fanout"])
    PAGE.write_text(filled(PAGE.read_text(), blocks))
    subprocess.run(
        [PYTHON, ROOT / "bench" / "plots.py", PLOTS], input=json.dumps(plots(results)), text=True, check=True
    )
    print(f"written: {', '.join(blocks)}")


if __name__ == "__main__":
    main()
