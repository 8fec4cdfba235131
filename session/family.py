"""Several server processes on one port: a parent forks them, passes signals on, and replaces who has ended.

A child holds the reading end of a pipe into which nobody ever writes. Its end says that the parent is dead,
however it died: the child then leaves as after a SIGTERM, for nobody would watch over it any more.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

RESTART_PAUSE_SECONDS = 1.0
WRONG_OPTION = 2
"""Exit status: the options make no sense, so a process that is started anew would end in the same way."""

Sockets = list[socket.socket]
Run = Callable[[Sockets, int | None], int]
"""Serves on these sockets until asked to leave, or until the descriptor, where there is one, can be read;
returns the exit status."""


class Family:
    """The parent of the processes. `run` it once."""

    def __init__(self, listening: Sequence[Sockets], run: Run) -> None:
        self._listening = listening
        self._run = run
        self._children: dict[int, int] = {}
        self._stopping = False
        self._alive, self._held = os.pipe()

    def run(self) -> int:
        """Fork a child for each list of sockets and watch over them until a signal has ended all; the worst
        of their exit statuses."""
        signal.signal(signal.SIGTERM, self._forward)
        signal.signal(signal.SIGINT, self._forward)
        for number in range(len(self._listening)):
            self._fork(number)
        worst = 0
        while self._children:
            pid, status = os.wait()
            if pid not in self._children:
                continue  # the embedded Valkey is a child too; the servers start it anew
            number, code = self._children.pop(pid), os.waitstatus_to_exitcode(status)
            worst = max(worst, abs(code))
            self._replace(number, code)
        return worst if self._stopping else 1

    def _replace(self, number: int, code: int) -> None:
        if code == WRONG_OPTION:
            self._forward(signal.SIGTERM, None)
        if not self._stopping:
            log.error("process %d ended with status %d; starting another", number, code)
            time.sleep(RESTART_PAUSE_SECONDS)
        if not self._stopping:  # told so meanwhile
            self._fork(number)

    def _forward(self, signum: int, frame: object) -> None:
        self._stopping = True
        for pid in list(self._children):
            with contextlib.suppress(ProcessLookupError):  # it has ended, and is about to be noticed
                os.kill(pid, signum)

    def _fork(self, number: int) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(self._live(number))
        self._children[pid] = number

    def _live(self, number: int) -> int:
        """The life of a child: only the parent may hold what ends with the parent."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(self._held)
        for other, sockets in enumerate(self._listening):
            for listening in sockets if other != number else ():
                listening.close()
        return self._run(self._listening[number], self._alive)
