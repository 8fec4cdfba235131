"""How large a sale is rehearsed: the line lasts for most of it, and the house is nearly sold in the end."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

SECTIONS = ("A", "B", "C")
SEATS_PER_ROW = 20
VISIT_SECONDS = 6
"""How long a buyer is in, about."""
HOLD_SECONDS = 7200
"""No hold ends by itself: one that does is one that was lost."""
LINE_SHARE = 0.8
"""The line is gone after this share of the sale."""


@dataclass(frozen=True)
class House:
    """The event of the rehearsal."""

    event: str
    rows: int
    capacity: int
    rate: int

    @classmethod
    def of(cls, event: str, clients: int, seconds: float) -> Self:
        """For so many buyers in so much time: about a seat for each, while some take four."""
        rows = math.ceil(clients / len(SECTIONS) / SEATS_PER_ROW)
        rate = max(1, math.ceil(clients / seconds / LINE_SHARE))
        return cls(event, rows, rate * VISIT_SECONDS, rate)

    @cached_property
    def seats(self) -> list[str]:
        """All of them, as the server names them."""
        return [
            f"{section}-{row}-{seat}"
            for section in SECTIONS
            for row in range(1, self.rows + 1)
            for seat in range(1, SEATS_PER_ROW + 1)
        ]

    @property
    def settings(self) -> dict[str, Any]:
        """The body of `PUT /api/events/<id>`."""
        sections = [{"name": name, "rows": self.rows, "seatsPerRow": SEATS_PER_ROW} for name in SECTIONS]
        return {
            "title": "Rehearsal",
            "sections": sections,
            "capacity": self.capacity,
            "admitPerSecond": self.rate,
            "holdSeconds": HOLD_SECONDS,
        }
