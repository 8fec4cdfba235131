"""Rounds: all systems one after the other, again and again, so that a slow minute is everybody's."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from bench.systems import System, raise_file_limit

T = TypeVar("T")
Figures = dict[str, list[float]]
"""What was measured -> its value in each round."""


def options(doc: str | None, **defaults: float) -> argparse.Namespace:
    """The options of a benchmark: numbers, and where to write the figures."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--json", default="", help="write the figures to this file too")
    return parser.parse_args()


def interleaved(systems: Sequence[System], rounds: int, one: Callable[[System], T]) -> dict[str, list[T]]:
    """Run each system once a round; name -> what came of each round."""
    raise_file_limit()
    results: dict[str, list[T]] = {system.name: [] for system in systems}
    for number in range(1, rounds + 1):
        for system in systems:
            results[system.name].append(one(system))
            print(f"round {number} of {rounds}: {system.title}", file=sys.stderr)
    return results


def by_name(results: dict[str, list[dict[str, float]]]) -> dict[str, Figures]:
    """System -> its figures."""
    return {
        system: {name: [figures[name] for figures in of_rounds] for name in of_rounds[0]}
        for system, of_rounds in results.items()
    }
