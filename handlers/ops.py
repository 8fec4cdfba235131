"""What operators, balancers and Prometheus ask. None of it waits for anything."""

import asyncio

from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from handlers.base import Handler

CANARY_SECONDS = 3.0
"""Pub/sub that brought nothing of our own for so long is out of reach, whatever its connection says."""


class Life(Struct, frozen=True):
    """The answer of ``/healthz``."""

    alive: bool


class Checks(Struct, frozen=True):
    """What ``/readyz`` looks at; all true but ``draining`` is a server that wants traffic."""

    store: bool
    pubsub: bool
    draining: bool


class Readiness(Struct, frozen=True):
    """The answer of ``/readyz``."""

    ready: bool
    checks: Checks


class Probe(Handler):
    """Base of the calls that come every few seconds."""

    def set_default_headers(self) -> None:
        """The answer is true for now only."""
        self.set_header("Cache-Control", "no-store")


class Healthz(Probe):
    """``/healthz``: the process is alive."""

    def get(self) -> None:
        """Touch nothing."""
        self.answer(Life(True))

    head = get


class Readyz(Probe):
    """``/readyz``: whether to send traffic here."""

    def get(self) -> None:
        """Say what the background tasks last saw; 503 where one of them saw nothing good."""
        services = self.services
        checks = Checks(
            store=services.store.is_up and services.leases.is_fresh,
            pubsub=services.listener.bell.canary_age() < CANARY_SECONDS,
            draining=services.hub.draining,
        )
        ready = checks.store and checks.pubsub and not checks.draining
        self.answer(Readiness(ready, checks), 200 if ready else 503)

    head = get


class MetricsPage(Probe):
    """``/metrics``: for Prometheus."""

    def get(self) -> None:
        """The process's metrics as text."""
        metrics = self.services.metrics
        metrics.canary_seconds.set(self.services.listener.bell.canary_age())
        sockets = self.services.hub.sockets
        metrics.sockets.set(len(sockets))
        metrics.buffered.set(sum(connection.backlog for connection in sockets))
        metrics.tasks.set(len(asyncio.all_tasks()))
        metrics.drain_left.set(len(sockets) if self.services.hub.draining else 0)
        events = self.services.ticker.figures.values()
        metrics.queue_waiting.set(sum(event.total for event in events))
        metrics.queue_admitted.set(sum(event.admitted for event in events))
        metrics.seats_held.set(sum(event.held for event in events))
        metrics.seats_sold.set(sum(event.sold for event in events))
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(metrics.registry))


ROUTES = [
    (r"/healthz", Healthz),
    (r"/readyz", Readyz),
    (r"/metrics", MetricsPage),
]
