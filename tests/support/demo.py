"""A demo as people see it: a server with its three events, and the browser that looks at it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.api import Api
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, valkey_binary
from tests.support.waiting import wait_until

CHROMIUM = "/usr/bin/chromium"
"""Debian's."""


@contextmanager
def demo() -> Iterator[ServerProcess]:
    """A demo server on a store of its own, once its events are there."""
    with tempfile.TemporaryDirectory() as folder:
        store = StoreProcess(valkey_binary(), Path(folder) / "store")
        server = ServerProcess(Path(folder) / "server.log", demo="true", redis_url=store.url)
        server.start()
        try:
            server.wait_ready()
            wait_until(
                lambda: Api(server).request("GET", "/api/events/demo-arena").status == 200, "the demo", 30
            )
            yield server
        finally:
            server.kill()
            store.stop()


def arena_settings(api: Api) -> dict[str, object]:
    """What the largest event is called, to be put again with other settings."""
    event = api.request("GET", "/api/events/demo-arena").json
    return {"title": event["title"], "venue": event["venue"]}
