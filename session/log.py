"""A room's recent history on this server: a cursor in the truth, and a ring of packed frames behind it.

Pure. The cursor moves by one, by `append`, or jumps with `reset`, of which every reader at it is told.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from session.recovery import Position, Verdict, is_part_of, judge

NOTHING: deque[bytes] = deque(maxlen=0)
"""What all logs have that hold no frame: a deque weighs 770 bytes, and most users' rooms stay empty."""


class Log:
    """Offsets ``lo + 1 .. hi`` of a room, each as one packed WebSocket frame."""

    __slots__ = ("_bytes", "_frames", "_max_bytes", "_max_frames", "chain", "epoch", "hi")

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self.reset(Position("", 0), {})

    @property
    def lo(self) -> int:
        """The offset before the oldest frame in the ring."""
        return self.hi - len(self._frames)

    @property
    def position(self) -> Position:
        """Where the cursor is."""
        return Position(self.epoch, self.hi)

    def reset(self, head: Position, chain: Mapping[str, int]) -> None:
        """Start anew at the head of a history that our cursor is not part of."""
        self._frames = NOTHING
        self._bytes = 0
        self.epoch, self.hi = head
        self.chain = chain

    def turn(self, epoch: str, chain: Mapping[str, int]) -> None:
        """Take over the epoch of a history that our cursor is part of."""
        self.epoch = epoch
        self.chain = chain

    def offer(self, epoch: str, offset: int, frame: bytes) -> Verdict:
        """Append a publication if it is the next one; say what it is."""
        verdict = judge(self.position, epoch, offset)
        if verdict is Verdict.DELIVER:
            self.append(frame)
        return verdict

    def append(self, frame: bytes) -> None:
        """Take the next frame in."""
        if self._frames is NOTHING:
            self._frames = deque()
        self._frames.append(frame)
        self._bytes += len(frame)
        self.hi += 1

    def reach_back(self, at: int, frames: Sequence[bytes]) -> None:
        """Take in what came before: the frames after offset ``at``, of this log's own epoch. Whoever else was
        there is then served from here; nothing is done where they do not meet the ring, or do not fit."""
        older = frames[: max(0, self.lo - at)]
        size = sum(map(len, older))
        fits = len(older) + len(self._frames) <= self._max_frames and self._bytes + size <= self._max_bytes
        if older and fits and at + len(older) == self.lo:
            self._frames = deque((*older, *self._frames))
            self._bytes += size

    def trim(self, sent: int) -> None:
        """Let old frames fall out of the ring, but none above ``sent``: readers still wait for those."""
        while self.lo < sent and (len(self._frames) > self._max_frames or self._bytes > self._max_bytes):
            self._bytes -= len(self._frames.popleft())

    def covers(self, at: Position) -> bool:
        """Whether a reader at ``at`` can be served from the ring: lineage rule, and not fallen out."""
        return self.lo <= at.offset <= self.hi and is_part_of(at, self.position, self.chain)

    def after(self, offset: int, max_bytes: int) -> tuple[bytes, int]:
        """The frames from ``offset + 1`` on, joined, at most ``max_bytes`` unless one alone is larger.

        Returns them and the offset of the last one. ``offset`` must not be below ``lo``.
        """
        start = offset - self.lo
        if start < 0:
            raise ValueError(f"offset {offset} has fallen out of the ring, which begins after {self.lo}")
        taken: list[bytes] = []
        size = 0
        # by index: a reader that keeps up is at the end of a long ring, and a deque is quick at both ends
        for n in range(start, len(self._frames)):
            frame = self._frames[n]
            if taken and size + len(frame) > max_bytes:
                break
            taken.append(frame)
            size += len(frame)
        return b"".join(taken), offset + len(taken)
