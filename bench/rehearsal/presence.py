"""A user's connection, and how it comes back whenever it ends: as the bundled client does."""

import asyncio
import random
from typing import Any, NamedTuple

from bench.raw import Frame
from bench.rehearsal.account import Account
from bench.rehearsal.line import Line, Target
from bench.rehearsal.promises import Findings, Promise
from bench.rehearsal.record import Record

ANSWER_SECONDS = 30.0
WELCOME_SECONDS = 60.0
RETRY_SECONDS = 0.5
RESTART_SECONDS = 5.0
LONGEST_BACKOFF_SECONDS = 30.0
RESTART = 1012
PASSING = {"unavailable", "rate_limited"}
"""Errors after which the same command is given again; `not_joined` is what leaving twice may come to."""
EXPECTED = PASSING | {"seat_unavailable", "not_joined"}
FINAL = {1002, 1003, 1007, 1008, 1009, 3000, 3003, 4000}
"""Close codes after which nobody should come back; a rehearsal gives no reason for any of them."""


class Surroundings(NamedTuple):
    """What all users share."""

    target: Target
    record: Record
    findings: Findings


class Presence:
    """One connection at a time. `come` before each `call` or `rest`: both end when the line does."""

    def __init__(self, around: Surroundings, account: Account, token: str, dice: random.Random) -> None:
        self._around = around
        self._account = account
        self._token = token
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._line: Line | None = None
        self._cookie = b""
        self._welcome: asyncio.Future[None] = self._loop.create_future()
        self._news: asyncio.Future[None] = self._loop.create_future()
        self._calls = 0
        self._retry_ms: int | None = None
        self._is_sent_away = self._has_left = False
        self._welcomed_at = 0.0
        self._silent_since: float | None = None

    @property
    def is_here(self) -> bool:
        """Connected, and told how things stand."""
        return self._line is not None and not self._line.lost.done() and self._welcome.done()

    async def come(self) -> None:
        """Be here; returns at once where that is so."""
        failures = 0
        while not self.is_here:
            if self._line is not None or failures:
                await asyncio.sleep(self._pause(failures))
            await self._try()
            failures += 1

    async def call(self, command: str, **fields: Any) -> Frame | None:
        """The answer to a command, be it an expected error; None where it should be given again."""
        record, findings = self._around.record, self._around.findings
        assert self._line is not None
        self._calls += 1
        began = self._loop.time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._line.call(self._calls, command, fields)
        except TimeoutError:
            findings.check(Promise.ANSWER, False, f"{self._account.user}: no answer to {command}")
            self._line.drop()
            return None
        if answer is None:
            return None
        record.commands[command] += 1
        record.answers.add(record.now, self._loop.time() - began)
        code = answer["code"] if answer["type"] == "error" else None
        is_expected = code is None or code in EXPECTED
        findings.check(Promise.ANSWER, is_expected, f"{self._account.user}: {command}: {answer}")
        if code is not None:
            record.refused(code)
        if code in PASSING:
            await asyncio.sleep(RETRY_SECONDS)
            return None
        return answer

    async def rest(self, seconds: float) -> None:
        """Listen, until something happens to the user, or for so long."""
        assert self._line is not None
        self._news = self._loop.create_future()
        await asyncio.wait(
            {self._news, self._line.lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )

    def stir(self) -> None:
        """End a rest."""
        if not self._news.done():
            self._news.set_result(None)

    def cut(self) -> None:
        """Lose the network."""
        if self.is_here and self._line is not None:
            self._line.cut()

    def leave(self) -> None:
        """Go for good; what still comes is not heard."""
        self._has_left = True
        if self._line is not None:
            self._line.drop()

    # --- coming ---

    def _pause(self, failures: int) -> float:
        """Seconds until the next try."""
        if self._retry_ms is not None:
            return self._retry_ms / 1000
        if self._is_sent_away:
            return 0.0  # the line was served until the moment that was told
        if not failures and self._line is not None and self._line.code == RESTART:
            return self._dice.uniform(0, RESTART_SECONDS)
        return self._dice.uniform(0, min(LONGEST_BACKOFF_SECONDS, 2.0**failures))

    async def _try(self) -> None:
        began, record = self._loop.time(), self._around.record
        self._welcome, self._retry_ms, self._is_sent_away = self._loop.create_future(), None, False
        try:
            line = await Line.open(self._around.target, self._first(), self._cookie, self._hear, self._ended)
        except OSError as error:
            record.ended(f"no line: {type(error).__name__}")
            return
        self._line = line
        await asyncio.wait(
            {self._welcome, line.lost}, timeout=WELCOME_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not self._welcome.done():
            line.drop()
            await line.lost
            return
        self._cookie = line.cookie or self._cookie
        now = self._loop.time()
        if self._silent_since is not None:
            record.restores.add(record.now, now - began)
            record.silences.add(record.now, now - self._silent_since)
            self._silent_since = None
        self._around.findings.check(Promise.ENTRY, True, "")

    def _first(self) -> Frame:
        first: Frame = {"type": "auth", "token": self._token}
        if self._account.socket_id:
            first |= {"resume": self._account.resume(), "replaces": self._account.socket_id}
        return first

    # --- hearing ---

    def _hear(self, frame: Frame) -> None:
        if self._has_left:
            return
        kind, is_back = frame["type"], bool(self._account.socket_id)
        self._account.hear(frame)
        if kind == "message":
            self._delivered(frame)
        elif kind == "reconnect":
            self._is_sent_away = True
        elif kind == "error" and "id" not in frame:
            self._refused(frame)
        elif kind == "session-restored" or (kind == "connected" and not is_back):
            if not self._welcome.done():
                self._welcomed_at = self._around.record.now
                self._welcome.set_result(None)
        elif kind in {"queue-entry-allowed", "queue-left"}:
            self.stir()

    def _delivered(self, frame: Frame) -> None:
        """What was announced while the user was away is no measure of how fast messages go."""
        announced, now = frame["data"]["at"], self._around.record.now
        if self._welcome.done() and announced > self._welcomed_at:
            self._around.record.deliveries.add(now, now - announced)

    def _refused(self, frame: Frame) -> None:
        self._retry_ms = frame.get("details", {}).get("retryAfterMs")
        self._around.record.refused(f"{frame['code']}: {frame['message']}")

    def _ended(self, line: Line) -> None:
        if self._has_left:
            return
        self._around.record.ended(line.how)
        if self._welcome.done() and self._silent_since is None:
            self._silent_since = self._loop.time()
        if line.code in FINAL:
            self._around.findings.check(
                Promise.ENTRY, False, f"{self._account.user}: closed with {line.code}"
            )
