"""The life of the process, top to bottom: options, sockets, store, services, listen, drain.

    python server.py --port=8001 --redis-url=redis://127.0.0.1:6379/0 --jwt-secret=...

Without options: one process, demo mode, an embedded Valkey.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from tornado.netutil import bind_sockets

from handlers import make_app
from handlers.acceptor import Acceptor
from handlers.bodies import MAX_DRAINED_BYTES
from handlers.front import MAX_HEAD_BYTES, limits
from handlers.upgrade import Upgrades
from handlers.vestibule import Vestibule
from handlers.wire import prepare
from session import embedded, logs
from session.config import Config, ConfigError, parse
from session.descriptors import Descriptors, provide
from session.embedded import Embedded
from session.endpoint import Endpoint
from session.family import WRONG_OPTION, Family
from session.leaving import drain
from session.services import Services, build
from session.store import Unavailable
from session.tokens import Verifier

log = logging.getLogger("keepseat")

COLLECTOR = (10_000, 50, 5)
"""A look at 50,000 young objects keeps everyone waiting for 45 ms, at 10,000 for 8. Those that have stayed
are gone through after 500,000 either way: some tens of thousands of connections."""
BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted: thousands come within a second when a server
dies, and who is dropped tries again a second later, the balancer's check too. Linux cuts it at its own limit,
`somaxconn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What a process is born with, the same for all that share a port."""

    config: Config
    url: str
    secret: str
    api_key: str
    valkey: Embedded | None
    descriptors: Descriptors

    def run(self, sockets: list[socket.socket], parent: int | None) -> int:
        """Serve on these sockets until told to leave, by a signal or by the end of the parent."""
        _tame_collector()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(serve(self, sockets, parent))
        except ConfigError as error:
            # one that showed only when the store was seen
            print(f"keepseat: {error}", file=sys.stderr)
            return WRONG_OPTION


def _tame_collector() -> None:
    """Look for garbage in circles seldom: each look goes through all that thousands of connections are made
    of, and keeps everyone waiting. What is there from the beginning is never looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)


def main() -> int:
    """Run a server; returns the exit status: 0 after a drain, 1 after a failure, 2 for bad options."""
    try:
        config = parse(sys.argv[1:], os.environ)
        data_dir = Path(config.data_dir)
        secret = config.jwt_secret or (embedded.demo_secret(data_dir, "jwt-secret") if config.is_demo else "")
        api_key = config.api_key or (embedded.demo_secret(data_dir, "api-key") if config.is_demo else "")
        Verifier(config, secret)
        if config.redis_url:
            Endpoint(config.redis_url)
        listening = bind(config)
        logs.set_up(config.log_format)
        valkey = None if config.redis_url else embedded.start(data_dir)
    except ConfigError as error:
        print(f"keepseat: {error}", file=sys.stderr)
        return WRONG_OPTION
    life = Life(
        config=config, url=valkey.url if valkey is not None else config.redis_url, secret=secret,
        api_key=api_key, valkey=valkey, descriptors=_descriptors(config),
    )  # fmt: skip
    try:
        return life.run(listening[0], None) if config.processes == 1 else Family(listening, life.run).run()
    finally:
        if valkey is not None:
            valkey.stop()


def _descriptors(config: Config) -> Descriptors:
    # lines that are no WebSockets take their own, or else they would take those of who comes
    found = provide(config.max_connections + limits(config).lines)
    if found.most_connections < config.max_connections:
        log.warning(
            "this process may open %d files only: there is room for %d connections, not for "
            "--max-connections=%d. Raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            found.limit, found.most_connections, config.max_connections,
        )  # fmt: skip
    return found


def bind(config: Config) -> list[list[socket.socket]]:
    """A list of listening sockets for each process; the kernel spreads connections over them.

    Raises:
        ConfigError: that is no address of this machine, or the port is taken.
    """
    many = config.processes > 1
    try:
        first = _listen(config.address, config.port, reuse_port=many)
        port = first[0].getsockname()[1]
        return [first] + [_listen(config.address, port, reuse_port=True) for _ in range(config.processes - 1)]
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"cannot listen on {config.address} port {config.port}: {reason}") from None


def _listen(address: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    sockets = bind_sockets(port, address, backlog=BACKLOG, reuse_port=reuse_port)
    # at once: a connection has the options that were set when the kernel took it in, accepted or not
    for listening in sockets:
        prepare(listening)
    return sockets


async def serve(life: Life, sockets: list[socket.socket], parent: int | None) -> int:
    """The life of one process on its event loop, from its parts to its exit status."""
    config = life.config
    services = build(config, redis_url=life.url, secret=life.secret, api_key=life.api_key)
    logs.name_server(lambda: services.leases.instance)
    stop = asyncio.Event()
    hurry = asyncio.Event()
    _on_signals(stop, hurry)
    if parent is not None:
        _on_end_of_parent(parent, stop)
    tasks = _start(services, life.valkey)
    app = make_app(services, life.descriptors)
    server = Vestibule(
        app,
        limits(config),
        services.metrics.lines,
        upgrades=Upgrades(app),
        turnstile=services.entrance.turnstile,
        metrics=services.metrics,
        most=config.max_connections,
        max_header_size=MAX_HEAD_BYTES,
        max_body_size=MAX_DRAINED_BYTES,
        max_buffer_size=2 * max(config.max_message_bytes, MAX_HEAD_BYTES),
    )
    acceptor = Acceptor(server, sockets, life.descriptors, services.metrics)
    acceptor.start()
    _say_hello(config, sockets, services)
    stopped = asyncio.create_task(stop.wait())
    hurried = asyncio.create_task(hurry.wait())
    leaving: asyncio.Task[None] | None = None
    try:
        if not await _done_before(stopped, tasks):
            return 1
        leaving = asyncio.create_task(drain(services, acceptor.stop))
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
        if isinstance(task.exception(), ConfigError):
            task.result()
        if task.exception() is not None or task.get_name().startswith("the "):
            log.critical("%s ended, and so does this process", task.get_name(), exc_info=task.exception())
    if goal in done:
        goal.result()
    return done == {goal}


def _start(services: Services, valkey: Embedded | None) -> set["asyncio.Task[Any]"]:
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
        "recorder": services.recorder.run(),
        "census": services.census.run(),
        "hub": services.hub.run(),
        "verifier": services.verifier.run(),
    }
    parts["preparation"] = _prepare(services)
    if valkey is not None:
        parts["embedded Valkey's watch"] = valkey.watch(lambda: services.store.is_up)
    return {asyncio.create_task(part, name=f"the {name}") for name, part in parts.items()}


async def _prepare(services: Services) -> None:
    """As soon as the store is there: look at its settings, and make the demo's events."""
    while True:
        try:
            for warning in await services.survey.warnings():
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


def _on_end_of_parent(parent: int, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(parent)
        log.error("the parent process has died: leaving")
        stop.set()

    loop.add_reader(parent, ended)


def _say_hello(config: Config, sockets: list[socket.socket], services: Services) -> None:
    host, port = sockets[0].getsockname()[:2]
    log.info("server %s listens on http://%s:%d", services.leases.instance, host, port)
    if config.is_demo:
        log.warning("DEMO MODE: everyone may sign in under any name; never run it for a real sale")
        if not config.api_key:
            log.info("the API key of this demo: %s", services.api_key)


if __name__ == "__main__":
    sys.exit(main())
