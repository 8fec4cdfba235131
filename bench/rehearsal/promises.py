"""What must hold of a sale whatever happened, and what was found of it."""

from collections import Counter
from enum import Enum
from typing import NamedTuple

MOST_EXAMPLES = 5
"""Breaches of a promise that are told word by word; the others are counted."""


class Promise(Enum):
    """The promises of ``docs/guarantees.md`` that users can check from outside."""

    SESSION = "Who comes back is who it was, in all its rooms"
    PLACE = "Nobody loses a place in line"
    ORDER = "No position in line gets worse, and no two are the same"
    CAPACITY = "Never are more let in than there is room for"
    SEAT = "Nobody loses a seat that it holds or has paid for"
    HOLDER = "No seat has two holders"
    MESSAGE = "Nobody misses a message"
    ONCE = "Nobody gets a message twice, or out of order"
    BOARD = "Snapshot and updates make the fresh snapshot"
    COUNT = "What the store counts is what the users were told"
    ANSWER = "Each command has its answer"
    ENTRY = "Everybody gets in, and back in"
    LEAVING = "A server that is replaced leaves well"


class Finding(NamedTuple):
    """What was found of one promise. One that was never checked is neither kept nor broken."""

    promise: Promise
    checks: int
    breaches: int
    examples: list[str]

    @property
    def state(self) -> str:
        """``broken``, ``kept`` or ``unchecked``."""
        return "broken" if self.breaches else "kept" if self.checks else "unchecked"


class Findings:
    """Collects what is found."""

    def __init__(self) -> None:
        self._checks: Counter[Promise] = Counter()
        self._breaches: Counter[Promise] = Counter()
        self._examples: dict[Promise, list[str]] = {promise: [] for promise in Promise}

    def check(self, promise: Promise, is_kept: bool, breach: str) -> None:
        """Count a check; ``breach`` says what is wrong where it is."""
        self._checks[promise] += 1
        if not is_kept:
            self._breaches[promise] += 1
            if len(self._examples[promise]) < MOST_EXAMPLES:
                self._examples[promise].append(breach)

    def all(self) -> list[Finding]:
        """One for each promise, in their order."""
        return [Finding(p, self._checks[p], self._breaches[p], self._examples[p]) for p in Promise]

    @property
    def is_broken(self) -> bool:
        return bool(self._breaches)
