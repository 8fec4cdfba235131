"""Whether a server came through what was done to it."""

from pathlib import Path

from tests.support.client import Client
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually

TROUBLE = ("Traceback", "ERROR", "CRITICAL", "exception", "never retrieved")
"""What a server says when something happened that nobody thought of."""
AT_REST_SECONDS = 20.0


def sockets_of(server: ServerProcess) -> int:
    """File descriptors that the process has open (Linux)."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def memory_of(server: ServerProcess) -> int:
    """Resident bytes of the process (Linux)."""
    fields = Path(f"/proc/{server.pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) * 1024


def trouble(server: ServerProcess) -> list[str]:
    """Lines of the log that tell of a mistake of ours."""
    return [line for line in server.output.splitlines() if any(word in line for word in TROUBLE)]


class Rest:
    """What a server holds while nobody is connected: taken before the trouble, compared behind it."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._sockets = sockets_of(server)
        self._tasks = server.metric("keepseat_tasks")

    async def assert_regained(self) -> None:
        """All sockets, tasks and waiting bytes are given back, nothing went wrong, and it serves."""
        client = await Client.connect(self._server, user="a-fresh-one")
        assert "pong" == (await client.call("ping"))["type"]
        await client.close()
        await eventually(lambda: self._left() == [], "everything is given back", AT_REST_SECONDS)
        assert [] == trouble(self._server)

    def _left(self) -> list[str]:
        now = self._server.metrics()
        held = {name: now[f"keepseat_{name}"] for name in ("connections", "sockets", "buffered_bytes")}
        # one socket asks for the metrics, and a room that nobody reads any more may be looked after a while
        held["descriptors"] = max(0, sockets_of(self._server) - self._sockets - 1)
        held["tasks"] = max(0, now["keepseat_tasks"] - self._tasks - 2)
        return [f"{name}: {value:g}" for name, value in held.items() if value]
