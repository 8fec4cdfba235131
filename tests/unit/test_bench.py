"""The benchmarks' own arithmetic: a figure that is wrong is worse than none."""

from typing import Any

import pytest

from bench import document, report
from bench.jitter import is_good, row, together
from bench.load import Outcome
from bench.rounds import by_name, interleaved
from bench.systems import KEEPSEAT, TORNADO
from bench.targets import Check, Target


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


def result(**systems: dict[str, list[float]]) -> report.Result:
    """What a benchmark came to."""
    return {"given": {}, "systems": systems}


def test_a_benchmark_is_red_where_a_message_is_missing_or_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    """In any round, of any system: the figures beside it are worth nothing."""
    good = result(keepseat={"wrong": [0, 0]}, limit={"wrong": [0]})
    bad = result(keepseat={"wrong": [0, 1]}, limit={"wrong": [0]})

    assert (0, "") == (report.complain(good), capsys.readouterr().err)
    assert (1, "keepseat: 1 missing, doubled or refused\n") == (report.complain(bad), capsys.readouterr().err)


def test_a_message_is_wrong_however_it_went_wrong() -> None:
    """Lost, doubled, or its reader closed."""
    fine = Outcome(opened=1, failed=0, seconds=1, came=9, lost=0, twice=0, pings=3, p50=1, p99=2, busy=0.5)

    assert 0 == fine.wrong
    assert [2, 2, 2] == [fine._replace(**{name: 2}).wrong for name in ("failed", "lost", "twice")]


def test_who_is_far_behind_has_one_round() -> None:
    """It is compared with the others' first round."""
    ran = interleaved([KEEPSEAT, TORNADO], 3, lambda system: system.name)

    assert {"keepseat": ["keepseat"] * 3, "tornado-plain": ["tornado-plain"]} == ran
    assert 0.5 == report.ratio([10.0], [20.0, 1.0, 1.0])


def test_a_target_is_met_when_all_of_it_is() -> None:
    """And each part lies on its own side of its bound."""
    enough, little = Check(2.0, True, 2.0, " x"), Check(0.76, False, 0.75, " x")

    assert ["a", "≥ 2 x", "2 x", "met"] == Target("a", [enough]).row()
    assert ["a", "≥ 2 x, ≤ 0.75 x", "2 x, 0.76 x", "**missed**"] == Target("a", [enough, little]).row()


def test_figures_go_between_their_markers() -> None:
    """What people wrote around them stays; a figure that has no place is no silent loss."""
    page = "before\n<!-- figures: a -->\nold\n<!-- end of a -->\nafter"

    assert page.replace("old", "new") == document.filled(page, {"a": "new"})
    with pytest.raises(KeyError):
        document.filled(page, {"b": "new"})


def test_the_page_has_a_place_for_all_figures() -> None:
    """So that `make bench-docs` does not fail after twelve minutes of measuring."""
    page = document.PAGE.read_text()

    assert page != document.filled(page, dict.fromkeys([*document.TABLES, *document.BESIDES], "x"))


def test_a_plot_has_a_point_for_each_size() -> None:
    """But for the memory of a few connections, which is that of the server."""
    figures = {f"{name} {size}": [1.0, 3.0, 2.0] for name in ("one", "join", "kb") for size in (100, 1000)}

    drawn = document.growing(result(keepseat=figures))

    assert [[[100, 2.0], [1000, 2.0]]] * 2 + [[[1000, 2.0]]] == [
        panel["lines"]["Keepseat"] for panel in drawn
    ]
