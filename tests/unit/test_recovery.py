"""The recovery rule against the vectors that the browser's twin passes too."""

import json
from pathlib import Path
from typing import Any

import pytest

from session.recovery import Position, Verdict, is_part_of, judge, parse_chain

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "recovery.json").read_text())


def _named(cases: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["case"]) for case in cases]


@pytest.mark.parametrize("case", _named(VECTORS["judge"]))
def test_judges_a_publication(case: dict[str, Any]) -> None:
    """Deliver, duplicate or gap, as the vector says."""
    epoch, offset = case["publication"]

    actual = judge(Position(*case["at"]), epoch, offset, begins_epoch=case.get("begins", False))

    assert Verdict(case["verdict"]) is actual


@pytest.mark.parametrize("case", _named(VECTORS["lineage"]))
def test_compares_positions_by_lineage_only(case: dict[str, Any]) -> None:
    """A position is good exactly where all that it saw is in the surviving history."""
    actual = is_part_of(Position(*case["at"]), Position(*case["head"]), parse_chain(case["chain"]))

    assert case["survives"] is actual


def test_reads_a_chain() -> None:
    """Epochs with their ends; an empty chain is no epoch."""
    assert {} == parse_chain("")
    assert {"A": 105, "B": 200} == parse_chain("A:105 B:200")
