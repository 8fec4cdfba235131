"""Rounds: all systems one after the other, again and again, so that a slow minute is everybody's."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bench import report
from bench.report import Figures, Result
from bench.systems import SYSTEMS, System, raise_file_limit

T = TypeVar("T")


def options(
    doc: str | None, usual: Sequence[System], others: Sequence[System] = (), **defaults: float
) -> argparse.Namespace:
    """The options of a benchmark: which systems, numbers, and where to write the figures."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [system.name for system in usual]
    parser.add_argument(
        "--peer",
        action="append",
        choices=[*names, *(system.name for system in others)],
        help=f"measure this one; may be given again (default: {', '.join(names)})",
    )
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--json", default="", help="write the figures to this file too")
    given = parser.parse_args()
    given.systems = [SYSTEMS[name] for name in given.peer or names]
    return given


def interleaved(systems: Sequence[System], rounds: int, one: Callable[[System], T]) -> dict[str, list[T]]:
    """Run each system once a round; name -> what came of each round."""
    results: dict[str, list[T]] = {system.name: [] for system in systems}
    for number in range(1, rounds + 1):
        for system in systems:
            if number == 1 or not system.once:
                results[system.name].append(one(system))
                print(f"round {number} of {rounds}: {system.title}", file=sys.stderr)
    return results


def by_name(results: dict[str, list[dict[str, float]]]) -> dict[str, Figures]:
    """System -> its figures."""
    return {
        system: {name: [f[name] for f in of_rounds if name in f] for name in of_rounds[0]}
        for system, of_rounds in results.items()
    }


def scenario(
    given: argparse.Namespace,
    one: Callable[[System, argparse.Namespace], dict[str, float]],
    tables: Callable[[Result], str],
) -> int:
    """Measure, print and write; returns 1 where anything was missing, doubled or refused.

    ``one`` is a round of a system; its figure ``wrong`` is how much of it was.
    """
    raise_file_limit()
    figures = by_name(interleaved(given.systems, given.rounds, lambda system: one(system, given)))
    numbers: dict[str, Any] = {name: n for name, n in vars(given).items() if isinstance(n, int | float)}
    result: Result = {"given": numbers, "systems": figures}
    print(tables(result) + "\n")
    report.write(given.json, result)
    return report.complain(result)
