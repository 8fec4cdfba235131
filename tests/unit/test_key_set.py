"""Fetching a key set: what is taken, what is not, how often we ask, and that a good set is never lost."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from session import jwks
from session.jwks import KeySet
from tests.support.issuers import Issuer
from tests.support.waiting import eventually


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(jwks, "PATIENCE_SECONDS", 30.0)
    made = Issuer()
    yield made
    made.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which a key set counts its 10 s; the test sets it."""
    now = [1000.0]
    monkeypatch.setattr(jwks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def parse(body: bytes) -> list[str]:
    if not body:
        raise ValueError("no keys")
    return body.decode().split()


async def test_a_missing_key_is_asked_for(issuer: Issuer) -> None:
    """Whoever needs a key gets the whole set, as `parse` reads it."""
    issuer.body = b"one two"
    keys = KeySet(issuer.url, parse)
    before = keys.keys
    await keys.demand()

    assert () == before
    assert ["one", "two"] == keys.keys
    assert ["/keys"] == issuer.paths


async def test_many_who_wait_make_one_download(issuer: Issuer) -> None:
    """While a download is under way, all who need a key wait for it."""
    keys = KeySet(issuer.url, parse)
    await asyncio.gather(*(keys.demand() for _ in range(50)))

    assert ["one"] == keys.keys
    assert 1 == len(issuer.paths)


async def test_a_download_in_the_background_serves_all(issuer: Issuer) -> None:
    """Who needs a key while the set is fetched anyway waits for that download, and may still ask after it."""
    keys = KeySet(issuer.url, parse)
    issuer.answers.clear()
    running = asyncio.create_task(keys.run())
    await eventually(lambda: issuer.paths, "the set is being fetched")
    waiting = asyncio.create_task(keys.demand())
    await asyncio.wait({waiting}, timeout=0)
    issuer.answers.set()
    await waiting
    shared = len(issuer.paths)
    await keys.demand()
    running.cancel()

    assert ["one"] == keys.keys
    assert (1, 2) == (shared, len(issuer.paths))


async def test_the_background_waits_for_a_download_too(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time has come to fetch the set and somebody is doing so already, that is enough."""
    keys, sleeps = KeySet(issuer.url, parse), asyncio.Event()

    async def sleep(seconds: float) -> None:
        sleeps.set()
        await asyncio.Event().wait()

    issuer.answers.clear()
    waiting = asyncio.create_task(keys.demand())
    await eventually(lambda: issuer.paths, "the set is being fetched")
    running = asyncio.create_task(keys.run())
    await asyncio.wait({running}, timeout=0)
    monkeypatch.setattr(jwks.asyncio, "sleep", sleep)
    issuer.answers.set()
    await asyncio.gather(waiting, sleeps.wait())
    running.cancel()

    assert ["one"] == keys.keys
    assert 1 == len(issuer.paths)


async def test_made_up_keys_do_not_flood_the_issuer(issuer: Issuer, clock: list[float]) -> None:
    """Missing keys make us ask once in 10 s at most, whether that brought anything or not."""
    keys = KeySet(issuer.url, parse)
    asked = []
    for clock[0], issuer.status in (
        (1000.0, 200),
        (1009.9, 200),
        (1010.0, 500),
        (1019.9, 200),
        (1020.0, 200),
    ):
        await keys.demand()
        asked.append(len(issuer.paths))

    assert [1, 1, 2, 2, 3] == asked


async def test_nobody_waits_for_long(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs a key waits a moment and goes without; the download goes on, and is not begun twice."""
    monkeypatch.setattr(jwks, "PATIENCE_SECONDS", 0.01)
    keys = KeySet(issuer.url, parse)
    issuer.answers.clear()
    await keys.demand()
    await keys.demand()
    without = keys.keys
    issuer.answers.set()
    monkeypatch.setattr(jwks, "PATIENCE_SECONDS", 10)
    await keys.demand()

    assert () == without
    assert ["one"] == keys.keys
    assert 1 == len(issuer.paths)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, b"two", {}),
        (404, b"two", {}),
        (302, b"two", {"Location": "/elsewhere"}),
        (200, b"", {}),
        (200, b"x" * (jwks.MAX_BYTES + 1), {}),
        (200, b"\xff", {}),
    ],
    ids=["error", "not found", "redirect", "no keys", "too large", "not text"],
)
async def test_a_bad_answer_loses_no_good_key(
    issuer: Issuer,
    clock: list[float],
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
    headers: dict[str, str],
) -> None:
    """Whatever else the issuer says, the last good set stays; no redirect is followed; and it is logged."""
    keys = KeySet(issuer.url, parse)
    await keys.demand()
    issuer.status, issuer.body, issuer.headers = status, body, headers
    clock[0] += 10
    await keys.demand()

    assert ["one"] == keys.keys
    assert ["/keys", "/keys"] == issuer.paths
    assert 1 == len(caplog.messages)
    assert caplog.messages[0].startswith("no keys from --jwt-jwks-url: ")


async def test_a_download_must_not_drag_on(issuer: Issuer, clock: list[float]) -> None:
    """What has not been read within 5 s is given up, though something comes all the time."""
    issuer.meanwhile = lambda: clock.__setitem__(0, clock[0] + 6)
    keys = KeySet(issuer.url, parse)
    await keys.demand()

    assert () == keys.keys
    assert 1 == len(issuer.paths)


async def test_a_parser_that_breaks_ends_nothing(issuer: Issuer) -> None:
    """A mistake in what reads the keys is one more failure, not the end of the task that fetches them."""

    def broken(body: bytes) -> list[str]:
        raise KeyError(body)

    keys = KeySet(issuer.url, broken)
    await keys.demand()

    assert () == keys.keys
    assert 1 == len(issuer.paths)


async def test_as_much_as_allowed_is_read(issuer: Issuer) -> None:
    """A set of exactly 1 MiB is taken."""
    issuer.body = b"x" * jwks.MAX_BYTES
    keys = KeySet(issuer.url, parse)
    await keys.demand()

    assert ["x" * jwks.MAX_BYTES] == keys.keys


async def test_an_issuer_that_is_away_does_no_harm(caplog: pytest.LogCaptureFixture, issuer: Issuer) -> None:
    """Nobody listens: no set, no exception, one line in the log."""
    issuer.stop()
    keys = KeySet(issuer.url, parse)
    await keys.demand()

    assert () == keys.keys
    assert 1 == len(caplog.messages)


async def test_a_set_is_kept_fresh(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the background the set is fetched every 10 minutes; after failures sooner, less and less soon."""
    keys, slept = KeySet(issuer.url, parse), []
    over = asyncio.Event()
    statuses = [200, 500, 500, 500, 200, 200]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        issuer.body = str(len(slept)).encode()
        if len(slept) == len(statuses):
            over.set()
            await asyncio.Event().wait()
        issuer.status = statuses[len(slept)]

    monkeypatch.setattr(jwks.asyncio, "sleep", sleep)
    running = asyncio.create_task(keys.run())
    await over.wait()
    running.cancel()

    assert ["5"] == keys.keys
    bounds = [(480, 720), (0.5, 1), (1, 2), (2, 4), (480, 720), (480, 720)]
    assert [True] * 6 == [low <= seconds <= high for seconds, (low, high) in zip(slept, bounds, strict=True)]


@pytest.mark.parametrize("failures", [7, 20, 100_000])
def test_an_issuer_that_stays_away_is_asked_every_minute(failures: int) -> None:
    """The pause after failures grows to a minute and no further, however long it takes."""
    assert 30 <= jwks._pause(failures) <= 60


def test_servers_that_start_together_do_not_ask_together() -> None:
    """The pauses are spread, after a success and after a failure."""
    assert 1 < len({jwks._pause(0) for _ in range(10)})
    assert 1 < len({jwks._pause(1) for _ in range(10)})
