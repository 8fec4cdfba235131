"""What the back end may say of an event, and the seat ids that sections make."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.events import EventDraft, Section, Settings

SEAT_IDS = st.text("ABCXYZabcxyz0189._-", min_size=1, max_size=32)
SECONDS = st.integers(1, 86_400) | st.floats(0.001, 86_400)
SECTIONS = st.fixed_dictionaries(
    {
        "name": st.text("ABCab12._-", min_size=1, max_size=20),
        "rows": st.integers(1, 20),
        "seatsPerRow": st.integers(1, 20),
    },
    optional={"price": st.none() | st.integers(0, 10**9) | st.floats(0, 1e6)},
)
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "venue": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    "startsAt": st.none() | st.integers(0, 2**53 - 1),
    "capacity": st.none() | st.integers(1, 2**53 - 1),
    "admitPerSecond": st.none() | st.integers(1, 10_000) | st.floats(0.01, 10_000),
    "admissionSeconds": st.none() | SECONDS,
    "holdSeconds": st.none() | SECONDS,
    "maxHoldSeconds": st.none() | SECONDS,
    "maxSeats": st.none() | st.integers(1, 1000),
}
TITLES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


def draft(**fields: Any) -> EventDraft:
    return msgspec.json.decode(json.dumps({"title": "A concert", **fields}), type=EventDraft)


def section(name: str = "VIP", rows: int = 1, seats_per_row: int = 1) -> dict[str, Any]:
    return {"name": name, "rows": rows, "seatsPerRow": seats_per_row}


def test_only_the_title_is_required() -> None:
    """An event with nothing but a title is one without seats and without a waiting room."""
    made = draft()

    assert made == EventDraft(title="A concert")
    assert made.seat_ids() is None


@given(st.fixed_dictionaries({"title": TITLES}, optional=SETTINGS))
def test_settings_come_back_as_they_were_sent(sent: dict[str, Any]) -> None:
    """Whatever is accepted and stored reads back as the same values; what was absent or null stays so."""
    stored = msgspec.convert(draft(**sent), Settings, from_attributes=True)

    read = json.loads(msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(stored), type=Settings)))

    assert {name: value for name, value in sent.items() if value is not None} == read


@given(st.lists(SEAT_IDS, unique=True, max_size=50))
def test_listed_seats_are_the_seats_in_their_order(seats: list[str]) -> None:
    """Seats named one by one stay as they were named."""
    assert seats == draft(seats=seats).seat_ids()


@given(st.lists(SECTIONS, max_size=6, unique_by=lambda section: section["name"]))
def test_made_seats_are_as_many_as_there_are_and_all_different(sections: list[dict[str, Any]]) -> None:
    """No two sections, whatever their names, make the same seat id, and each id is a seat id."""
    made = draft(sections=sections).seat_ids()

    assert made is not None
    assert sum(s["rows"] * s["seatsPerRow"] for s in sections) == len(made) == len(set(made))
    assert made == draft(seats=made).seat_ids()


def test_made_seat_ids_are_section_row_seat() -> None:
    """Row by row, both numbers counted from 1."""
    made = list(Section(name="VIP", rows=2, seats_per_row=3).seat_ids())

    assert ["VIP-1-1", "VIP-1-2", "VIP-1-3", "VIP-2-1", "VIP-2-2", "VIP-2-3"] == made


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"title": ""}, "length >= 1"),
        ({"title": "x" * 201}, "length <= 200"),
        ({"title": None}, "got `null`"),
        ({"title": 5}, "got `int`"),
        ({"venue": "x" * 201}, "length <= 200"),
        ({"startsAt": -1}, ">= 0"),
        ({"startsAt": 1.5}, "got `float`"),
        ({"startsAt": 2**53}, "<= 9007199254740991"),
        ({"capacity": 0}, ">= 1"),
        ({"capacity": "10"}, "got `str`"),
        ({"admitPerSecond": 0}, ">= 1"),
        ({"admitPerSecond": 0.0}, "> 0"),
        ({"admitPerSecond": -3.5}, "> 0"),
        ({"admissionSeconds": 0}, ">= 1"),
        ({"holdSeconds": -1}, ">= 1"),
        ({"maxHoldSeconds": 400 * 86_400}, "<= 31622400"),
        ({"maxSeats": 0}, ">= 1"),
        ({"maxSeats": 1001}, "<= 1000"),
        ({"seats": "A-1"}, "got `str`"),
        ({"seats": ["A-1", 2]}, "got `int`"),
        ({"seats": ["A-1", ""]}, "'' is not 1 to 32 characters"),
        ({"seats": ["A 1"]}, "'A 1' is not"),
        ({"seats": ["A-1\n"]}, "is not 1 to 32"),
        ({"seats": ["좌석"]}, "is not 1 to 32"),
        ({"seats": ["x" * 33]}, "is not 1 to 32"),
        ({"seats": ["A-1", "B-1", "A-1"]}, "twice"),
        ({"seats": [f"A-{n}" for n in range(100_001)]}, "length <= 100000"),
        ({"seats": [], "sections": []}, "not both"),
        ({"sections": [section(name="")]}, "sections[0].name"),
        ({"sections": [section(name="A B")]}, "sections[0].name"),
        ({"sections": [section(rows=0)]}, "sections[0].rows"),
        ({"sections": [section(seats_per_row=0)]}, "sections[0].seatsPerRow"),
        ({"sections": [{"name": "A", "rows": 1}]}, "missing required field `seatsPerRow`"),
        ({"sections": [{**section(), "price": -1}]}, "sections[0].price"),
        ({"sections": [section("A"), section("A")]}, "twice"),
        ({"sections": [section("A", 1000, 100), section("B")]}, "more than 100000 seats"),
        ({"sections": [section("x" * 29), section("x" * 26, 10, 100)]}, "is longer than 32"),
        ({"sections": [section(f"S{n}") for n in range(1001)]}, "length <= 1000"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_says_why(fields: dict[str, Any], reason: str) -> None:
    """The message names the field, or the rule over several fields."""
    with pytest.raises(msgspec.ValidationError) as refused:
        draft(**fields)

    assert reason in str(refused.value)


def test_the_limits_themselves_are_allowed() -> None:
    """100,000 seats, listed or made, with ids of 32 characters."""
    listed = draft(seats=[f"{n:032}" for n in range(100_000)]).seat_ids()
    made = draft(sections=[section("x" * 23, 1000, 100)]).seat_ids()

    assert listed is not None
    assert made is not None
    assert 100_000 == len(listed) == len(made)
    assert "x" * 23 + "-1000-100" == made[-1]


def test_what_is_unknown_is_ignored() -> None:
    """An event as it was read can be put again: its id and count of seats are no settings."""
    assert draft() == draft(id="42", seatCount=3)
