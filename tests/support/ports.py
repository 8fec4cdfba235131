"""TCP ports for processes that must come back on the same one."""

import random
import socket

_PORTS = range(20_000, 32_000)
"""Below the range from which the kernel takes the near ends of outgoing connections: nothing slips in
while a server that is started again is down."""


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
