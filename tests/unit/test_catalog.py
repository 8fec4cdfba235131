"""Which seats stand side by side, and which of them are the best: pure."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.catalog import Catalog

HALL = [f"VIP-{row}-{seat}" for row in (1, 2) for seat in range(1, 9)] + [f"A-{n}" for n in range(1, 5)]


def catalog(seats: list[str]) -> Catalog:
    return Catalog(b"word", json.dumps(seats).encode())


def states(seats: list[str], taken: set[str]) -> bytes:
    return bytes(ord("h" if seat in taken else "a") for seat in seats)


def test_rows_are_what_stands_before_the_last_number() -> None:
    """In the order of the list, with their sections; seats are sorted by number, whatever their order."""
    rows = catalog(["B-2", "B-1", "VIP-1-1", "VIP-1-2", "lounge"]).rows

    assert [("B", [1, 0]), ("VIP", [2, 3]), ("lounge", [4])] == [
        (row.section, list(row.indexes)) for row in rows
    ]


def test_an_aisle_parts_a_row() -> None:
    """Numbers that are not one after the other are not side by side."""
    seats = ["A-1", "A-2", "A-4", "A-5", "A-6"]

    assert ["A-4", "A-5", "A-6"] == catalog(seats).best(states(seats, set()), 3, None)
    assert ["A-1", "A-2", "A-4", "A-5"] == catalog(seats).best(states(seats, set()), 4, None)


@pytest.mark.parametrize(
    ("taken", "count", "section", "best"),
    [
        ("", 2, None, ["VIP-1-4", "VIP-1-5"]),
        ("VIP-1-4 VIP-1-5", 3, None, ["VIP-1-1", "VIP-1-2", "VIP-1-3"]),
        ("VIP-1-4", 3, None, ["VIP-1-1", "VIP-1-2", "VIP-1-3"]),
        ("VIP-1-4 VIP-1-8", 3, None, ["VIP-1-5", "VIP-1-6", "VIP-1-7"]),
        ("", 3, "A", ["A-1", "A-2", "A-3"]),
        ("", 4, "A", ["A-1", "A-2", "A-3", "A-4"]),
        ("A-2", 3, "A", ["A-1", "A-3", "A-4"]),
        ("A-2 A-3", 3, "A", ["A-1", "A-4"]),
        ("", 1, "Z", []),
    ],
)
def test_the_best_are_side_by_side(taken: str, count: int, section: str | None, best: list[str]) -> None:
    """In the best row that has so many, near its middle, leaving no single seat where that can be."""
    chosen = catalog(HALL).best(states(HALL, set(taken.split())), count, section)

    assert best == chosen


@given(st.sets(st.sampled_from(HALL)), st.integers(1, 8))
def test_what_is_chosen_is_free_and_as_many_as_there_are(taken: set[str], count: int) -> None:
    """Never a taken seat, never one twice; fewer only where fewer are free, side by side where any are."""
    chosen = catalog(HALL).best(states(HALL, taken), count, None)

    assert len(chosen) == len(set(chosen)) == min(count, len(HALL) - len(taken))
    assert not taken & set(chosen)
    windows = [HALL[i : i + count] for i in range(len(HALL) - count + 1)]
    beside = [w for w in windows if not taken & set(w) and len({s.rpartition("-")[0] for s in w}) == 1]
    if beside:
        numbers = [int(seat.rpartition("-")[2]) for seat in chosen]
        assert all(b == a + 1 for a, b in pairwise(numbers))
        assert 1 == len({seat.rpartition("-")[0] for seat in chosen})


def test_seats_taken_out_of_sale_are_no_seats() -> None:
    """They keep their index, have no name, and are never chosen; a name may be asked for twice."""
    hall = catalog(["A-1", "", "A-3"])

    assert (2, {"A-1": 0, "A-3": 2}) == (hall.size, hall.index)
    assert ({"A-3": 2}, ["", "B-1"]) == hall.named(["A-3", "", "A-3", "B-1", "B-1"])
    assert ["A-1", "A-3"] == hall.best(b"axa", 3, None)
