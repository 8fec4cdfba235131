"""A Sentinel that watches a primary and its replica."""

import subprocess
from pathlib import Path

import redis

from tests.support.ports import free_port
from tests.support.stores import StoreProcess
from tests.support.waiting import wait_until

SERVICE = "tickets"


class Sentinel:
    """One process; it alone decides that a primary is down."""

    def __init__(self, binary: str, folder: Path, primary: StoreProcess, *, down_after_ms: int) -> None:
        self.port = free_port()
        self.client: redis.Redis = redis.Redis(port=self.port, decode_responses=True)
        folder.mkdir(parents=True)
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}\n"
            f"sentinel failover-timeout {SERVICE} 10000\n"
        )
        with (folder / "sentinel.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, str(settings), "--sentinel"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def wait_for_replicas(self, count: int) -> None:
        """Until then it could promote nobody."""
        wait_until(lambda: self._replicas() == count, f"Sentinel knows {count} replicas", 30)

    def _replicas(self) -> int:
        try:
            return len(self.client.sentinel_slaves(SERVICE))
        except redis.RedisError:
            return -1

    def primary(self) -> int:
        """The port of whom it names."""
        return int(self.client.sentinel_get_master_addr_by_name(SERVICE)[1])

    def stop(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait(10)
