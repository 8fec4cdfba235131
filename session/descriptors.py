"""File descriptors: how many this process may have open, and what of them is kept for what.

Descriptors are given lowest first (POSIX), so the number of a new one tells exactly how much is left:

    0 ... connections | ``SPARE``: short visits, such as health checks | ``OWN``: the store, files
"""

import resource
from dataclasses import dataclass

SPARE = 32
"""Connections that are still answered when no WebSocket is taken in any more."""
OWN = 32
"""For this process itself: lines to the store, key sets, files. No client ever gets one of them."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The shares of one process."""

    limit: int

    def may_stay(self, descriptor: int) -> bool:
        """Whether a connection with this descriptor may last."""
        return descriptor < self.limit - OWN - SPARE

    def may_visit(self, descriptor: int) -> bool:
        """Whether a connection with this descriptor may be answered at all."""
        return descriptor < self.limit - OWN

    @property
    def most_connections(self) -> int:
        """How many connections may last at most, the descriptors of this process itself left out."""
        return max(0, self.limit - 2 * OWN - SPARE)


def provide(connections: int) -> Descriptors:
    """Raise this process's soft limit, as far as it may, to what so many connections need."""
    wanted = connections + 2 * OWN + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Descriptors(1 << 30)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else max(soft, min(wanted, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return Descriptors(soft)
