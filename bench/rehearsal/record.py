"""What happened when, in seconds since the beginning: what the report draws."""

import time
from collections import Counter, defaultdict
from typing import NamedTuple

from bench.report import percentile


class Series:
    """Measured values, by the second in which they were taken."""

    def __init__(self) -> None:
        self.by_second: dict[int, list[float]] = defaultdict(list)

    def add(self, at: float, value: float) -> None:
        self.by_second[int(at)].append(value)

    def all(self) -> list[float]:
        """Every value, in the order of their seconds."""
        return [value for values in self.by_second.values() for value in values]

    def percentile(self, share: float) -> float:
        """The value that so many of a hundred do not exceed; of none, 0."""
        return percentile(self.all(), share)

    def line(self, share: float) -> list[tuple[float, float]]:
        """The percentile of each second in which there was any."""
        return [(second, percentile(values, share)) for second, values in sorted(self.by_second.items())]

    def __len__(self) -> int:
        return sum(map(len, self.by_second.values()))


class Sample(NamedTuple):
    """How things stood at a moment; the figures of the sale are None where the server could not say."""

    at: float
    connections: dict[str, int]
    """Server -> users of ours on it."""
    sale: dict[str, int] | None
    """As `GET /api/events/<id>/stats` has them."""


class Record:
    """Everything; all times are seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.marks: list[tuple[float, str]] = []
        self.samples: list[Sample] = []
        self.answers, self.deliveries, self.lags = Series(), Series(), Series()
        self.restores, self.silences = Series(), Series()
        """Until `session-restored`: from the try that succeeded; from the loss of the line."""
        self.cuts: dict[int, Counter[str]] = defaultdict(Counter)
        """Second -> ends of lines, by close code or by what else it was."""
        self.errors: dict[int, Counter[str]] = defaultdict(Counter)
        """Second -> `error` frames, by code."""
        self.commands: Counter[str] = Counter()
        self.cpu_seconds = 0.0
        """What the generator itself has used."""

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def mark(self, what: str) -> None:
        """Something begins that the report shows on each plot."""
        self.marks.append((self.now, what))
        print(f"{self.now:6.1f} s | {what}", flush=True)

    def ended(self, how: str) -> None:
        """A line, or an attempt to get one, has ended."""
        self.cuts[int(self.now)][how] += 1

    def refused(self, code: str) -> None:
        """A command was answered with an error."""
        self.errors[int(self.now)][code] += 1


def total(by_second: dict[int, Counter[str]]) -> Counter[str]:
    """How often each, over all the time."""
    return sum(by_second.values(), Counter())
