"""The seats of an event by name: which index each has, and which stand side by side.

Pure. A seat keeps its index for as long as the event lasts; one taken out of sale leaves an empty name.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import msgspec

FREE = ord("a")
NUMBERED = re.compile(r"(.*?)[._-]?(\d+)")

_ids = msgspec.json.Decoder(list[str])


class Row(NamedTuple):
    """Seats side by side: ``indexes`` in the order in which they stand."""

    section: str
    indexes: Sequence[int]


class Catalog:
    """One list of seats; ``word`` is its name, another list has another."""

    def __init__(self, word: bytes, seats: bytes) -> None:
        self.word = word
        self.ids = _ids.decode(seats) if seats else []

    @cached_property
    def index(self) -> dict[str, int]:
        """Seat id -> index."""
        return {seat: i for i, seat in enumerate(self.ids) if seat}

    @cached_property
    def size(self) -> int:
        """How many seats there are, without those taken out of sale."""
        return sum(map(bool, self.ids))

    @cached_property
    def rows(self) -> list[Row]:
        """All rows, the best first: that is the order of the list.

        ``VIP-1-2`` is seat 2 in row VIP-1 of section VIP; ``A-7`` seat 7 in row A of section A. A gap in
        the numbers is an aisle.
        """
        rows: dict[str, list[tuple[int, int]]] = {}
        for i, seat in enumerate(self.ids):
            parts = NUMBERED.fullmatch(seat)
            if parts:
                rows.setdefault(parts[1], []).append((int(parts[2]), i))
            elif seat:
                rows.setdefault(seat, []).append((0, i))
        return [Row(_section(name), block) for name, row in rows.items() for block in _blocks(sorted(row))]

    def named(self, seats: Iterable[str]) -> tuple[dict[str, int], list[str]]:
        """Those seats with their indexes, each once, and the names that are no seat."""
        known = {seat: self.index[seat] for seat in seats if seat in self.index}
        return known, [seat for seat in dict.fromkeys(seats) if seat not in known]

    def has_section(self, section: str) -> bool:
        """Whether there is such a section."""
        return any(row.section == section for row in self.rows)

    def best(self, states: bytes, count: int, section: str | None) -> list[str]:
        """Choose free seats: side by side in the best row that has so many, else the best there are.

        Fewer than ``count`` where not so many are free. ``states`` is a byte a seat, ``a`` for a free one.
        """
        rows = [row for row in self.rows if section is None or row.section == section]
        for row in rows:
            window = _best_window([states[i] == FREE for i in row.indexes], count)
            if window is not None:
                return [self.ids[i] for i in row.indexes[window : window + count]]
        free = (i for row in rows for i in row.indexes if states[i] == FREE)
        return [self.ids[i] for i, _ in zip(free, range(count), strict=False)]


def _section(row: str) -> str:
    """The name of the section that a row is in."""
    parts = NUMBERED.fullmatch(row)
    return parts[1] if parts and parts[1] else row


def _blocks(row: list[tuple[int, int]]) -> Iterator[list[int]]:
    """A row's seats between its aisles."""
    for _, block in groupby(enumerate(row), lambda pair: pair[1][0] - pair[0]):
        yield [i for _, (_, i) in block]


def _best_window(free: Sequence[bool], count: int) -> int | None:
    """Where ``count`` free seats in a row begin; None where there are none.

    One that leaves no single seat alone is better than one that does, then the one nearest the middle.
    """
    found = []
    start = 0
    for is_free, run in groupby(free):
        length = len(list(run))
        if is_free:
            for left in range(length - count + 1):
                right = length - count - left
                away = abs(start + left + count / 2 - len(free) / 2)
                found.append(((left == 1) + (right == 1), away, start + left))
        start += length
    return min(found)[2] if found else None
