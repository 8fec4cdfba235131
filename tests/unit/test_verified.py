"""Tokens that were found good a while ago: verified once, and believed for no longer than is right."""

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session import verified as verified_module
from session.config import Config
from session.identity import Identity
from session.protocol import Code, Refused
from session.tokens import Issuer, Verifier
from session.verified import Verified
from tests.support.tokens import SECRET, token

OTHER_SECRET = "another secret, which the server does not know"
KEYS = object()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature is verified from here on."""
    found: list[str] = []
    open_ = Verifier._candidates

    def note(self: Verifier, header: Any) -> Any:
        found.append(header.alg)
        return open_(self, header)

    monkeypatch.setattr(Verifier, "_candidates", note)
    return found


def identity(expires_at: float, user_id: str = "mina") -> Identity:
    return Identity(user_id, "user", int(expires_at), None, ("t:x",))


class Clock:
    """The wall clock, which stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(verified_module.time, "time", lambda: self.now)


async def test_a_token_is_verified_once(opened: list[str]) -> None:
    """Whoever comes back with it is the same; another token of the same user is another."""
    by = Verifier(Config(), SECRET)
    one, two = token("mina"), token("mina", jti="2")
    first = await by.verify(one)

    assert first is await by.verify(one)
    assert first != await by.verify(two)
    assert 2 == len(opened)


async def test_nothing_that_was_refused_is_remembered(opened: list[str]) -> None:
    """And a token with another signature is none that is known."""
    by = Verifier(Config(), SECRET)
    good = token("mina")
    await by.verify(good)
    for bad in (good[:-2] + ("aa" if good[-2:] != "aa" else "bb"), token("mina", secret=OTHER_SECRET)):
        for _ in range(2):
            with pytest.raises(Refused) as caught:
                await by.verify(bad)
            assert Code.TOKEN_INVALID is caught.value.code

    assert 5 == len(opened)


async def test_what_is_known_expires_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its time, and with the leeway that all tokens have."""
    by = Verifier(Config(), SECRET)
    clock = Clock(monkeypatch)
    text = token("mina", exp=int(clock.now) + 60)
    await by.verify(text)
    clock.now += 64

    assert "mina" == (await by.verify(text)).user_id
    clock.now += 2
    with pytest.raises(Refused) as caught:
        await by.verify(text)
    assert Code.TOKEN_EXPIRED is caught.value.code


async def test_tokens_of_the_previous_secret_are_counted_each_time() -> None:
    """Who turns a secret waits until none comes any more."""
    by = Verifier(Config(jwt_previous_secret=OTHER_SECRET), SECRET)
    told: list[str] = []
    by.on_previous = lambda: told.append("previous")
    text = Issuer(Config(), OTHER_SECRET).access("mina", "user", "s-1", time.time())[0]
    for _ in range(3):
        await by.verify(text)

    assert 3 == len(told)


def test_other_keys_know_nobody() -> None:
    """What keys that were withdrawn have signed is not believed for another moment."""
    known = Verified(10)
    known.find("a", KEYS)
    known.keep("a", identity(time.time() + 60))

    assert known.find("a", KEYS) is not None
    assert known.find("a", object()) is None
    assert known.find("a", KEYS) is None
    assert 0 == len(known)


def test_who_has_expired_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that nobody comes with any more are not kept until the table is full."""
    clock, known = Clock(monkeypatch), Verified(100)
    known.find("", KEYS)
    for n in range(20):
        known.keep(f"token {n}", identity(clock.now + 2))
        clock.now += 1

    assert len(known) <= 3


def test_many_whose_time_is_over_go_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits while all who came to a sale are forgotten at once."""
    clock, known = Clock(monkeypatch), Verified(1000)
    known.find("", KEYS)
    for n in range(1000):
        known.keep(f"token {n}", identity(clock.now + 5))
    clock.now += 10
    sizes = [len(known)]
    for n in range(1000):
        known.keep(f"later {n}", identity(clock.now + 60))
        sizes.append(len(known))

    assert {-1, 1} == {after - before for before, after in pairwise(sizes)}
    assert 500 == min(sizes)
    assert all(known.find(f"later {n}", KEYS) for n in range(1000))


def test_any_text_may_be_asked_about() -> None:
    """A token is whatever a client has sent."""
    assert Verified(1).find("\ud800", KEYS) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-3, 10), st.integers(0, 2)), max_size=60))
def test_it_knows_the_newest_that_have_not_expired(steps: list[tuple[int, int, int]]) -> None:
    """Never more than it may, nobody whose time is over, nobody by another's token; the newest is known."""
    known = Verified(5)
    known.find("", KEYS)
    now, ends = time.time(), {}
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        clock.now = now
        for n, life, passed in steps:
            clock.now += passed
            ends[n] = int(clock.now) + life
            known.keep(f"token {n}", identity(ends[n], f"user-{n}"))
            assert (known.find(f"token {n}", KEYS) is not None) == (ends[n] > clock.now)
            assert len(known) <= 5
            for other, end in ends.items():
                found = known.find(f"token {other}", KEYS)
                assert found is None or (found.user_id == f"user-{other}" and end > clock.now)
