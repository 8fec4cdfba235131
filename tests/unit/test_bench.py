"""The benchmarks' own arithmetic: a figure that is wrong is worse than none."""

from typing import Any

import pytest

from bench import report
from bench.jitter import is_good, row, together
from bench.rounds import by_name
from bench.systems import KEEPSEAT


def jitter(**changes: Any) -> dict[str, Any]:
    """What a round of the jitter test comes to where all went well."""
    good = {
        "expected": 10,
        "delivered": 10,
        "duplicates": 0,
        "outOfOrder": 0,
        "cuts": 2,
        "replays": [5.0, 9.0],
    }
    return {**good, **changes}


@pytest.mark.parametrize(
    "changes",
    [{"delivered": 9}, {"duplicates": 1}, {"outOfOrder": 1}, {"replays": [5.0, 1001.0]}],
    ids=lambda changes: next(iter(changes)),
)
def test_jitter_is_red_where_a_promise_was_broken(changes: dict[str, Any]) -> None:
    """One message missing, doubled or out of order in any round, or a slow replay, and it fails."""
    assert is_good(together([jitter(), jitter()]))
    assert not is_good(together([jitter(), jitter(**changes)]))


def test_rounds_are_merged_before_percentiles_are_taken() -> None:
    """An average of percentiles is the percentile of nothing."""
    merged = together([jitter(replays=[1.0] * 99), jitter(replays=[500.0])])

    assert merged["replays"] == 100
    assert merged["replayP50Ms"] == 1.0
    assert merged["replayP100Ms"] == 500.0


def test_a_system_that_replays_nothing_has_no_replay_time() -> None:
    """Zero milliseconds would read as the best of all."""
    assert row(KEEPSEAT.name, together([jitter(replays=[], delivered=8)]))[-1] == "never"


def test_a_ratio_is_that_of_each_round() -> None:
    """A round in which the machine was slow for both does not count as a difference."""
    rounds = {"ours": [{"rate": 200.0}, {"rate": 20.0}], "theirs": [{"rate": 100.0}, {"rate": 10.0}]}
    figures = by_name(rounds)

    assert figures["ours"] == {"rate": [200.0, 20.0]}
    assert report.ratio(figures["ours"]["rate"], figures["theirs"]["rate"]) == 2.0
    assert report.spread(figures["ours"]["rate"]) == "110 [20-200]"
    assert report.table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
