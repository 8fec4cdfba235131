"""Who reads a room on this server, and the one call a reader that a broadcast is.

A reader is a place in the room's log: no queue a connection. Whoever reads slowly stays behind in the ring
and costs nothing; whoever falls out of it is closed (1013) and comes back by resume.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from session.connection import NEVER, SLOW_READER, Connection
from session.log import Log
from session.metrics import Metrics
from session.protocol import Close

CHUNK_BYTES = 65536
"""Most that is handed to a reader at a time, so that what waits for a slow one stays small."""
BATCH = 64
"""So many readers are sent something between two looks at the clock."""

Send = Callable[[bytes], int]
"""`Transport.send` of a reader."""


class _Round:
    """A broadcast on its way through those who are in step, in as many turns of the loop as it takes."""

    __slots__ = ("_left", "_places", "apart", "end", "frame", "who")

    def __init__(self, senders: list[Send | None], frame: bytes, end: int) -> None:
        self.frame = frame
        self.end = end
        """The offset up to which all have been sent everything when nobody is left."""
        self._left = senders
        """To whom it is still to be sent, None where somebody has gone."""
        self._places: dict[Send, int] | None = None
        """Where each stands in that list; made when somebody first asks, which is seldom."""
        self.apart: list[Connection] = []
        """Who is told by itself, after the others: each lacks something else."""
        self.who: dict[Send, Connection] = {}
        """Whose each is; as seldom."""

    def __len__(self) -> int:
        return len(self._left) + len(self.apart)

    def take(self) -> list[Send]:
        """The next ones; they count as told."""
        batch = self._left[-BATCH:]
        del self._left[-BATCH:]
        return [send for send in batch if send is not None]

    def is_told(self, send: Send) -> bool:
        """Whether it has been sent to one."""
        return self._where(send) >= len(self._left)

    def drop(self, send: Send) -> None:
        """Send it to one no more."""
        if not self.is_told(send):
            self._left[self._where(send)] = None

    def _where(self, send: Send) -> int:
        if self._places is None:
            self._places = {left: n for n, left in enumerate(self._left) if left is not None}
        return self._places.get(send, len(self._left))


class Readers:
    """The readers of one room, and how far each has been told.

    Nearly all are *in step*: they have been sent everything up to ``sent``, and have taken it. Their place is
    not written down for each, and what is new is sent to them with one call each: what else was looked at for
    every reader cost a third of the kernel's part. Whoever has a place of its own is *apart*: has come in
    during a broadcast, or cannot take more; where something is on its way to it alone, it *lags*.
    """

    __slots__ = ("_apart", "_aside", "_in_step", "_lagging", "_log", "_metrics", "_round", "sent")

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._in_step: dict[Connection, Send] = {}
        self._apart: dict[Connection, int] = {}
        self._lagging: dict[Connection, None] = {}
        self._round: _Round | None = None
        self._aside: bytes | None = None
        self.sent = 0
        """What all have been sent who do not lag: below it the ring may be trimmed."""

    def __len__(self) -> int:
        return len(self._in_step) + len(self._apart)

    def __iter__(self) -> Iterator[Connection]:
        yield from self._in_step
        yield from self._apart

    @property
    def lagging(self) -> int:
        """How many have not taken all that was sent, and are sent the rest when they have."""
        return len(self._lagging)

    def place_of(self, connection: Connection) -> int:
        """The offset up to which a reader has been sent everything."""
        send = self._in_step.get(connection)
        return self._apart[connection] if send is None else self._place(send)

    def _place(self, send: Send) -> int:
        """Of one in step."""
        return self._round.end if self._round is not None and self._round.is_told(send) else self.sent

    # --- coming and going ---

    def enter(self, connection: Connection, at: int) -> None:
        """A reader that has been sent everything up to ``at``, which the log covers. What it lacks is not
        sent before the next turn of the loop."""
        # most come into step at once, and a table that had one entry keeps its weight
        if self._is_level(connection, at):
            self._in_step[connection] = connection.transport.send
            return
        self._apart[connection] = at
        if at < self._log.hi:
            self._lag(connection)

    def leave(self, connection: Connection) -> None:
        """Nothing is sent to it from here on."""
        send = self._in_step.pop(connection, None)
        if send is not None and self._round is not None:
            self._round.drop(send)
        self._apart.pop(connection, None)
        self._lagging.pop(connection, None)

    def set_apart(self, connection: Connection) -> None:
        """It is not as the others any more: something waits for it, or its line is at its end."""
        send = self._in_step.pop(connection, None)
        if send is None:
            return
        at = self._apart[connection] = self._place(send)
        if self._round is not None:
            self._round.drop(send)
        if at < self._log.hi:
            self._lag(connection)

    def _come_up(self, connection: Connection) -> None:
        """Whoever has been sent as much as those in step, and has taken it, is one of them."""
        if self._is_level(connection, self._apart[connection]):
            del self._apart[connection]
            self._lagging.pop(connection, None)
            self._in_step[connection] = connection.transport.send

    def _is_level(self, connection: Connection, at: int) -> bool:
        is_level = self._round is None and at == self.sent
        return is_level and connection.is_open and connection.is_idle and not connection.transport.closed

    def begin(self, offset: int) -> None:
        """The log begins here, and nobody reads it yet."""
        self.sent = offset

    def restart(self, offset: int, frame: bytes) -> None:
        """The log begins anew, as ``frame`` tells; what was left of it before has been sent."""
        self.sent = offset
        self._lagging.clear()
        self._apart = dict.fromkeys(self._apart, offset)
        for connection in list(self):
            connection.write(frame)
        for connection in list(self._apart):
            self._come_up(connection)

    # --- sending ---

    def say(self, frame: bytes) -> None:
        """Send a frame that is no part of the history, in the next round, or a later one in its stead;
        whoever lags does without."""
        self._aside = frame

    def finish(self) -> None:
        """Send all that there is, however long it takes."""
        while not self.pump(NEVER):
            pass

    def pump(self, until: float) -> bool:
        """Send what is new to those who have taken the rest; who has not stays behind in the ring. Ends soon
        after ``until``, of ``time.monotonic()``; False where more is to be sent, when it is called again."""
        while self._round is not None or self.sent < self._log.hi or self._aside is not None:
            going = self._round if self._round is not None else self._begin()
            sent = self._send(going, until)
            if going.end > self.sent:
                self._metrics.deliveries.inc(sent)
            if len(going):
                return False
            self._end(going)
            if time.monotonic() >= until:
                break
        return self.sent == self._log.hi and self._aside is None

    def _begin(self) -> _Round:
        aside, self._aside = self._aside or b"", None
        for connection in list(self._apart):
            if connection not in self._lagging:
                self._come_up(connection)
        missing, end = self._log.after(self.sent, CHUNK_BYTES)
        going = self._round = _Round([*self._in_step.values()], missing + aside, end)
        for connection in self._apart:
            if connection not in self._lagging:
                if aside:
                    connection.deliver(aside)
                going.apart.append(connection)
        return going

    def _end(self, going: _Round) -> None:
        self._round = None
        self.sent = going.end
        self._log.trim(self.sent)
        for connection, at in list(self._apart.items()):
            if at < self._log.lo:
                connection.close(Close.TRY_LATER, SLOW_READER)
            elif connection not in self._lagging:
                self._come_up(connection)

    def _send(self, going: _Round, until: float) -> int:
        """The loop that a broadcast is; to how many it was sent. The call is the socket's own: no method of
        ours, and nothing of the reader, is looked at before the kernel."""
        frame, size, sent = going.frame, len(going.frame), 0
        while len(going):
            batch = going.take()
            if not batch:
                self._send_apart(going)
            refused: list[tuple[Send, int]] = []
            for send in batch:
                try:
                    taken = send(frame)
                except OSError:
                    taken = 0
                if taken != size:
                    refused.append((send, taken))
            sent += len(batch)
            if refused:
                self._write_rest(going, refused)
            if time.monotonic() >= until:
                break
        return sent

    def _write_rest(self, going: _Round, refused: list[tuple[Send, int]]) -> None:
        """By the way on which it may wait, and which finds out who has gone."""
        going.who = going.who or {send: connection for connection, send in self._in_step.items()}
        for send, taken in refused:
            going.who[send].transport.write(going.frame[taken:])

    # --- one reader alone ---

    def _send_apart(self, going: _Round) -> None:
        batch = going.apart[-BATCH:]
        del going.apart[-BATCH:]
        for connection in batch:
            if connection in self._apart and connection not in self._lagging:
                self._tell(connection)
                if self._apart[connection] < self._log.hi:
                    self._lag(connection)

    def _tell(self, connection: Connection) -> None:
        """Send one what it lacks, or a piece of it."""
        at = self._apart[connection]
        if at < self._log.hi and connection.is_open:
            data, end = self._log.after(at, CHUNK_BYTES)
            if connection.deliver(data):
                self._metrics.deliveries.inc()
                self._apart[connection] = end

    def _lag(self, connection: Connection) -> None:
        if connection.is_open and connection not in self._lagging:
            self._lagging[connection] = None
            self._catch_up_later(connection)

    def _catch_up_later(self, connection: Connection) -> None:
        connection.when_drained(lambda: self._catch_up(connection))
        if connection.is_idle:
            asyncio.get_running_loop().call_soon(connection.drained)

    def _catch_up(self, connection: Connection) -> None:
        if connection not in self._lagging or not connection.is_open:
            return
        if self._apart[connection] < self._log.lo:
            connection.close(Close.TRY_LATER, SLOW_READER)
            return
        self._tell(connection)
        if self._apart[connection] < self._log.hi:
            self._catch_up_later(connection)
        else:
            del self._lagging[connection]
            self._come_up(connection)
