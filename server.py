"""The life of the process, top to bottom: options, sockets, store, services, listen, drain.

    python server.py --port=8001 --redis-url=redis://127.0.0.1:6379/0 --jwt-secret=...

Without options: one process, demo mode, an embedded Valkey.
"""

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from handlers import make_app
from handlers.base import MAX_EVENT_BODY_BYTES
from handlers.vestibule import Vestibule
from session import embedded, logs
from session.config import Config, ConfigError, parse
from session.protocol import Close, Reconnect
from session.services import Services, build
from session.store import Unavailable, check_url
from session.tokens import Verifier

log = logging.getLogger("keepseat")

GOODBYE_SECONDS = 2.0
"""What is left of the drain for close handshakes and for unmapping the last sockets."""
RESTART_PAUSE_SECONDS = 1.0
COLLECTOR = (50_000, 10, 5)
"""The youngest objects are looked at after about 200 new connections, all after 10,000 that came and went."""
BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted: thousands come within a second when a server
dies, and who is dropped tries again a second later, the balancer's check too. Linux cuts it at its own limit,
`somaxconn`."""


def main() -> int:
    """Run a server; returns the exit status: 0 after a drain, 1 after a failure, 2 for bad options."""
    try:
        config = parse(sys.argv[1:], os.environ)
        data_dir = Path(config.data_dir)
        secret = config.jwt_secret or (embedded.demo_secret(data_dir, "jwt-secret") if config.is_demo else "")
        api_key = config.api_key or (embedded.demo_secret(data_dir, "api-key") if config.is_demo else "")
        Verifier(config, secret)
        if config.redis_url:
            check_url(config.redis_url)
        listening = _bind(config)
        logs.set_up(config.log_format)
        valkey = None if config.redis_url else embedded.start(data_dir)
    except ConfigError as error:
        print(f"keepseat: {error}", file=sys.stderr)
        return 2
    url = valkey.url if valkey is not None else config.redis_url
    try:
        return _run_processes(config, listening, lambda sockets: _run(config, sockets, url, secret, api_key))
    finally:
        if valkey is not None:
            valkey.stop()


def _bind(config: Config) -> list[list[socket.socket]]:
    """A list of listening sockets for each process; the kernel spreads connections over them."""
    many = config.processes > 1
    try:
        first = bind_sockets(config.port, config.address, backlog=BACKLOG, reuse_port=many)
        port = first[0].getsockname()[1]
        return [first] + [
            bind_sockets(port, config.address, backlog=BACKLOG, reuse_port=True)
            for _ in range(config.processes - 1)
        ]
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"cannot listen on {config.address} port {config.port}: {reason}") from None


# --- several processes ---


def _run_processes(
    config: Config, listening: list[list[socket.socket]], run: Callable[[list[socket.socket]], int]
) -> int:
    """Run one process here, or fork several and watch over them."""
    if config.processes == 1:
        return run(listening[0])
    children: dict[int, int] = {}
    stopping = False

    def forward(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for pid in list(children):
            with contextlib.suppress(ProcessLookupError):  # it has ended, and is about to be noticed
                os.kill(pid, signum)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)

    def fork(number: int) -> None:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os._exit(run(listening[number]))
        children[pid] = number

    for number in range(config.processes):
        fork(number)
    worst = 0
    while children:
        pid, status = os.wait()
        if pid not in children:
            continue  # the embedded Valkey is a child too; its servers say that it is away
        number, code = children.pop(pid), os.waitstatus_to_exitcode(status)
        if not stopping:
            log.error("process %d ended with status %d; starting another", number, code)
            time.sleep(RESTART_PAUSE_SECONDS)
        if not stopping:  # told so meanwhile
            fork(number)
        worst = max(worst, abs(code))
    return worst if stopping else 1


# --- one process ---


def _tame_collector() -> None:
    """Look for garbage in circles seldom: each look goes through all that thousands of connections are made
    of, and keeps everyone waiting. What is there from the beginning is never looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)


def _run(config: Config, sockets: list[socket.socket], url: str, secret: str, api_key: str) -> int:
    _tame_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, sockets, url, secret, api_key))


async def _serve(config: Config, sockets: list[socket.socket], url: str, secret: str, api_key: str) -> int:
    services = build(config, redis_url=url, secret=secret, api_key=api_key)
    stop = asyncio.Event()
    hurry = asyncio.Event()
    _on_signals(stop, hurry)
    tasks = _start(services)
    server = Vestibule(
        make_app(services),
        turnstile=services.entrance.turnstile,
        metrics=services.metrics,
        most=config.max_connections,
        max_body_size=2 * MAX_EVENT_BODY_BYTES,
        max_buffer_size=3 * MAX_EVENT_BODY_BYTES,
    )
    server.add_sockets(sockets)
    _say_hello(config, sockets, services)
    stopped = asyncio.create_task(stop.wait())
    hurried = asyncio.create_task(hurry.wait())
    leaving: asyncio.Task[None] | None = None
    try:
        if not await _done_before(stopped, tasks):
            return 1
        leaving = asyncio.create_task(_drain(services, server))
        return 0 if await _done_before(leaving, tasks | {hurried}) else 1
    finally:
        ending = [task for task in (stopped, hurried, leaving, *tasks) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _done_before(goal: "asyncio.Task[Any]", others: set["asyncio.Task[Any]"]) -> bool:
    """Wait for a task; False where one of the others ended first, which is told."""
    done, _ = await asyncio.wait({goal, *others}, return_when=asyncio.FIRST_COMPLETED)
    for task in done - {goal}:
        if task.exception() is not None or task.get_name().startswith("the "):
            log.critical("%s ended, and so does this process", task.get_name(), exc_info=task.exception())
    if goal in done:
        goal.result()
    return done == {goal}


def _start(services: Services) -> set["asyncio.Task[Any]"]:
    """The background tasks. None of them ever ends by itself; if one does, the process must."""
    parts = {
        "store": services.store.run(),
        "leases": services.leases.run(),
        "listener": services.listener.run(),
        "watch": services.watch.run(),
        "presence": services.presence.run(),
        "janitor": services.janitor.run(),
        "ticker": services.ticker.run(),
        "lobby": services.lobby.run(),
        "boards": services.boards.run(),
        "hub": services.hub.run(),
        "verifier": services.verifier.run(),
    }
    parts["preparation"] = _prepare(services)
    return {asyncio.create_task(part, name=f"the {name}") for name, part in parts.items()}


async def _prepare(services: Services) -> None:
    """As soon as the store is there: look at its settings, and make the demo's events."""
    while True:
        try:
            for warning in await services.store.warnings():
                log.warning("about the store: %s", warning)
            if services.config.is_demo:
                await services.events.create_demo_events()
            break
        except Unavailable:
            await asyncio.sleep(1)
    await asyncio.Event().wait()


def _on_signals(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            log.warning("asked twice: going at once")
            hurry.set()
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, asked)


def _say_hello(config: Config, sockets: list[socket.socket], services: Services) -> None:
    host, port = sockets[0].getsockname()[:2]
    log.info("server %s listens on http://%s:%d", services.leases.instance, host, port)
    if config.is_demo:
        log.warning("DEMO MODE: everyone may sign in under any name; never run it for a real sale")
        if not config.api_key:
            log.info("the API key of this demo: %s", services.api_key)


async def _drain(services: Services, server: HTTPServer) -> None:
    """Leave well: take nobody in, spread the reconnects, unmap the sockets, give the lease up."""
    hub = services.hub
    hub.draining = True  # /readyz says 503 from here on, and no upgrade is accepted
    seconds = services.config.drain_seconds
    log.info("leaving: %d connections are sent elsewhere over %g s", len(hub.connections), seconds)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    spread = max(0.0, seconds - GOODBYE_SECONDS)
    for connection in list(hub.sockets):
        delay = random.uniform(0, spread)
        connection.send(Reconnect(reason="shutdown", delay_ms=int(delay * 1000)))
        loop.call_later(delay, connection.close, Close.RESTART, "restart")
    while hub.sockets and loop.time() < end:
        await asyncio.sleep(0.05)
    for connection in list(hub.sockets):
        # said goodbye to, and not gone: a phone asleep
        connection.abandon()
        if connection.socket_id:
            services.janitor.detach_later(connection.user_id, connection.socket_id)
    server.stop()
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await services.lobby.settled()
            await services.janitor.settled()
            await services.leases.release()
    except (TimeoutError, Unavailable):
        log.warning("the store did not take our leave; the others will sweep this server")
    log.info("left")


if __name__ == "__main__":
    sys.exit(main())
