"""Positions in a room's history, and the lineage rule that alone compares them.

An epoch belongs to one incarnation of one Redis primary; when another takes over, the room's epoch
*turns*: a new word, offsets go on, and the old word with its last surviving offset joins the chain.
``static/keepseat/recovery.js`` is this module's twin; both pass ``tests/vectors/recovery.json``.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Position(NamedTuple):
    """Where a reader is: everything up to ``offset`` in ``epoch`` has been seen."""

    epoch: str
    offset: int


UNUSED_EPOCH_CHARACTERS = 11
"""The epoch of a room that was never used is the incarnation and a 0; any other has 16 characters."""


class Verdict(Enum):
    """What a publication is to a reader at a position."""

    DELIVER = "deliver"
    DUPLICATE = "duplicate"
    GAP = "gap"


def judge(at: Position, epoch: str, offset: int, *, begins_epoch: bool = False) -> Verdict:
    """Say what the publication ``offset`` of ``epoch`` is to a reader that stands at ``at``.

    A publication that begins an epoch without loss says so; then another word is no gap.
    """
    if epoch != at.epoch and not begins_epoch:
        return Verdict.GAP
    if offset == at.offset + 1:
        return Verdict.DELIVER
    return Verdict.GAP if epoch != at.epoch or offset > at.offset else Verdict.DUPLICATE


def parse_chain(chain: str) -> dict[str, int]:
    """Read ``"epoch:end epoch:end"``: the epochs before the current one, and where each ended."""
    pairs = (link.rpartition(":") for link in chain.split())
    return {epoch: int(end) for epoch, _, end in pairs}


def is_unused(at: Position) -> bool:
    """Whether that is the position of a room that was never used."""
    return at.offset == 0 and len(at.epoch) == UNUSED_EPOCH_CHARACTERS


def surviving_end(epoch: str, head: Position, chain: Mapping[str, int]) -> int | None:
    """The last offset of ``epoch`` that is part of this history; None where the epoch is not."""
    return head.offset if epoch == head.epoch else chain.get(epoch)


def is_part_of(at: Position, head: Position, chain: Mapping[str, int]) -> bool:
    """The lineage rule: whether all that a reader at ``at`` has seen is in this history."""
    end = surviving_end(at.epoch, head, chain)
    return end is not None and at.offset <= end
