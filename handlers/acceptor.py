"""Takes connections in, as long as there are file descriptors for them.

Tornado's own accept loop raises when there are none left, and is called again at once, for ever: a whole
core, and a traceback each time. Here the last descriptors are for visits that end soon, health checks above
all, and the very last for the process itself.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Sequence

from tornado.iostream import IOStream

from handlers.front import Front
from session.descriptors import Descriptors
from session.metrics import Metrics

log = logging.getLogger(__name__)

AT_ONCE = 128
"""Connections taken in before anything else has its turn."""
VISIT_SECONDS = 5.0
"""Who came when no more may stay has to be done by then."""
PAUSE_SECONDS = 0.25
"""The machine itself has no descriptor left: so long nobody is taken in."""
SAY_SECONDS = 10.0


class Acceptor:
    """The accept loop of one process, in Tornado's stead."""

    def __init__(
        self, server: Front, sockets: Sequence[socket.socket], descriptors: Descriptors, metrics: Metrics
    ) -> None:
        self._server = server
        self._sockets = sockets
        self._descriptors = descriptors
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._said_at = float("-inf")
        self._stopped = False

    def start(self) -> None:
        """Listen."""
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def stop(self) -> None:
        """Take nobody in any more."""
        self._stopped = True
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._server.stop()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # it has gone while it waited
                continue
            except OSError as error:
                self._pause(listening, error)
                return
            self._take(connection, address)

    def _take(self, connection: socket.socket, address: object) -> None:
        descriptor = connection.fileno()
        if not self._descriptors.may_visit(descriptor):
            connection.close()
            self._refused("no file descriptor is left for it")
            return
        stream = IOStream(
            connection,
            max_buffer_size=self._server.max_buffer_size,
            read_chunk_size=self._server.read_chunk_size,
        )
        if not self._descriptors.may_stay(descriptor):
            self._loop.call_later(VISIT_SECONDS, self._server.give_up, stream)
        self._server.handle_stream(stream, address)  # type: ignore[arg-type]  # typed as a tuple, and handed on

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """The kernel has nothing left for us: the connection stays in its queue, and we do not spin."""
        self._refused(error.strerror or str(error))
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(PAUSE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if not self._stopped:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _refused(self, why: str) -> None:
        self._metrics.not_accepted.inc()
        now = time.monotonic()
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            log.error("a connection was not taken in: %s", why)
