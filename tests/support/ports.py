"""TCP ports for processes that must come back on the same one."""

import os
import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle

_PORTS = range(20_000, 32_000)
"""Below the range from which the kernel takes the near ends of outgoing connections: nothing slips in
while a server that is started again is down."""
_SHARE = 1_500
"""Ports a test worker: of those that run beside each other, none takes what another has just found free."""


@cache
def _ports() -> Iterator[int]:
    """This worker's, each once before any comes again: one that is given out is free until it is bound."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    first = int(worker.removeprefix("gw")) * _SHARE if worker else 0
    share = _PORTS[first : first + _SHARE] if worker else _PORTS
    return cycle(random.sample(share, len(share)))


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    for port in _ports():
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("a cycle does not end")
