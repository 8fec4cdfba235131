"""Three servers behind a sticky balancer on this machine, to try what happens when one of them dies.

    make cluster

Which port comes from ``--port``; every other option goes to each server (``--redis-url=...``). Without
``--redis-url`` they share one embedded Valkey. Whatever ends by itself is started again a moment later.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, it finds what lies beside itself only

from session.config import ConfigError, parse  # noqa: E402 - after the line above

NAMES = ("one", "two", "three")
AWAY_SECONDS = 3.0
"""A server that was killed stays away so long: time to watch its clients go to another."""
DRAIN_SECONDS = 3
STOP_SECONDS = 15.0
"""An end that takes longer is made short."""
BAD_OPTIONS = 2
"""The exit status of a server that will not start with these options, however often."""


class Hopeless(Exception):  # noqa: N818 - an outcome
    """A part cannot run here at all; starting it again would not help."""


class Part:
    """A process that is started again when it ends, and whose lines are shown behind its name."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self._name = name
        self._command = command
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self.started = asyncio.Event()

    async def run(self) -> None:
        """Keep it running until cancelled.

        Raises:
            Hopeless: it says that its options are wrong.
        """
        try:
            while True:
                status = await self._run_once()
                if status == BAD_OPTIONS:
                    raise Hopeless(f"{self._name} cannot run like this")
                self.say(f"ended with status {status}; it starts again in {AWAY_SECONDS:g} s")
                await asyncio.sleep(AWAY_SECONDS)
        finally:
            await self._end()

    async def _run_once(self) -> int:
        # in a session of its own: Ctrl-C in a terminal is for us, who end the parts in order
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=ROOT,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.say(f"runs as process {process.pid}")
        self.started.set()
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        async for line in process.stdout:
            self.say(line.decode(errors="replace").rstrip())
        return await process.wait()

    async def _end(self) -> None:
        """Ask it to leave, and wait; who asks twice wants it to be quick."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.communicate()
        except (TimeoutError, asyncio.CancelledError):
            self._process.kill()
            await self._process.wait()

    def say(self, line: str) -> None:
        """Show a line."""
        print(f"{self._name:>8} | {line}", flush=True)


def find_haproxy() -> str | None:
    """Debian's stands where only root's PATH leads."""
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def is_demo(options: list[str]) -> bool:
    """Whether the servers will serve the demo; those with wrong options will say so themselves."""
    try:
        return parse(options, os.environ).is_demo
    except ConfigError:
        return False


def parts(haproxy: str, port: int, options: list[str]) -> list[Part]:
    """Servers on the ports behind the balancer's, and the balancer."""
    addresses = [f"127.0.0.1:{port + n}" for n in (1, 2, 3)]
    server = [
        sys.executable,
        "server.py",
        "--trusted-proxies=127.0.0.1/32",
        f"--drain-seconds={DRAIN_SECONDS}",
    ]
    # it is started again here, so a demo's page may kill its server
    may_kill = {"KEEPSEAT_DEMO_KILL": "true"} if is_demo(options) else {}
    servers = [
        Part(name, [*server, *options, f"--port={port + n}"], may_kill)
        for n, name in enumerate(NAMES, start=1)
    ]
    environment = {f"SERVER_{name.upper()}": at for name, at in zip(NAMES, addresses, strict=True)}
    environment["BALANCER_ADDRESS"] = f"127.0.0.1:{port}"
    return [*servers, Part("balancer", [haproxy, "-db", "-f", "deploy/haproxy.cfg"], environment)]


def instructions(port: int) -> str:
    """What a person may do now."""
    return f"""
  The page:     http://127.0.0.1:{port}        any server serves it; stay on the page and watch its banner
  The servers:  http://127.0.0.1:{port + 1}/readyz to {port + 3}/readyz
  Kill one:     kill -9 <process>; it is back after {AWAY_SECONDS:g} s, and the page long before on another
  Replace one:  kill <process>: a deploy, which nobody should notice
  Freeze one:   kill -STOP <process>, later kill -CONT <process>
  Buyers:       make demo-crowd ARGS="--url http://127.0.0.1:{port}"
  Ctrl-C ends everything.
"""


async def cluster(haproxy: str, port: int, options: list[str]) -> int:
    """Run until asked to end, or a part cannot run."""
    *servers, balancer = parts(haproxy, port, options)
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    def asked() -> None:
        if stop.is_set():
            for task in tasks:
                task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    tasks += [asyncio.create_task(part.run()) for part in (*servers, balancer)]
    showing = asyncio.create_task(_show(port, [*servers, balancer]))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (showing, stopped):
        task.cancel()
    stop.set()
    # the balancer last: until then clients can be sent elsewhere, and told that there is nobody
    hopeless = await _end(tasks[:-1]) + await _end(tasks[-1:])
    for problem in hopeless:
        print(f"cluster: {problem}", file=sys.stderr)
    return BAD_OPTIONS if hopeless else 0


async def _show(port: int, all_: list[Part]) -> None:
    """Say what can be done, after the processes have been named."""
    for part in all_:
        await part.started.wait()
    print(instructions(port), flush=True)


async def _end(tasks: "list[asyncio.Task[None]]") -> list[str]:
    """End parts; what made some of them hopeless."""
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, Hopeless):
            raise end
    return [str(end) for end in ends if isinstance(end, Hopeless)]


def main() -> int:
    """Run the cluster; returns 0 after Ctrl-C, 2 where it cannot run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument(
        "--port", type=int, default=8000, help="of the balancer; the servers have the next three"
    )
    given, rest = options.parse_known_args()
    haproxy = find_haproxy()
    if haproxy is None:
        print("cluster: haproxy is missing; install it, such as by: apt-get install haproxy", file=sys.stderr)
        return BAD_OPTIONS
    return asyncio.run(cluster(haproxy, given.port, rest))


if __name__ == "__main__":
    sys.exit(main())
