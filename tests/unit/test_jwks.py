"""Key sets: keys that are fetched, and change, while we run."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from session import jwks
from session.config import Config
from session.protocol import Code, Refused
from session.tokens import Verifier
from tests.support.keys import HS256, Pair, claims, encoded, forged
from tests.support.tokens import SECRET, token
from tests.support.waiting import eventually

OTHER_SECRET = "another secret, which the server does not know"
RSA, RSA_2 = (Pair(rsa.generate_private_key(65537, 2048)) for _ in range(2))
SHORT_RSA = Pair(rsa.generate_private_key(65537, 1024))  # noqa: S505 - to be passed over
P256, P384 = Pair(ec.generate_private_key(ec.SECP256R1())), Pair(ec.generate_private_key(ec.SECP384R1()))
ED = Pair(ed25519.Ed25519PrivateKey.generate())


def verifier(secret: str, **options: Any) -> Verifier:
    return Verifier(Config(**options), secret)


async def refusal(text: str, by: Verifier) -> Refused:
    """What a token is refused with."""
    with pytest.raises(Refused) as caught:
        await by.verify(text)
    return caught.value


class KeyServer:
    """An issuer that publishes its keys on 127.0.0.1; ``gate`` holds answers back while it is clear."""

    def __init__(self) -> None:
        self.document: Any = {"keys": []}
        self.status = 200
        self.headers = ""
        self.requests = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    def publish(self, *keys: dict[str, Any]) -> None:
        self.document = {"keys": list(keys)}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            await self.gate.wait()
            body = self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()
            head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
            writer.write(f"{head}{self.headers}\r\n".encode() + body)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    issuer = KeyServer()
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
    try:
        yield issuer
    finally:
        issuer.gate.set()
        server.close()


@contextlib.asynccontextmanager
async def running(issuer: KeyServer, **options: Any) -> AsyncIterator[Verifier]:
    """A verifier that has asked once, and goes on asking."""
    by = verifier(options.pop("secret", ""), jwt_jwks_url=issuer.url, **options)
    asked = issuer.requests
    task = asyncio.create_task(by.run())
    try:
        await eventually(lambda: issuer.requests > asked, "the key set was asked for")
        yield by
        assert not task.done(), "the verifier ended"
    finally:
        issuer.gate.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxies this machine has, they are not for 127.0.0.1; and a slow machine has time."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(jwks, "PATIENCE_SECONDS", 30.0)


def signed(pair: Pair, kid: str | None, algorithm: str = "RS256", **extra: Any) -> str:
    return token(
        "7", secret=pair.private, algorithm=algorithm, headers={"kid": kid} if kid else None, **extra
    )


async def test_a_key_set_verifies_by_key_id() -> None:
    """The token names its key; a set may mix families, and one that nobody knows refuses."""
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"), P256.jwk(kid="p"), ED.jwk(kid="e", alg="EdDSA", use="sig"))
        async with running(issuer) as by:
            good = [signed(RSA, "r"), signed(P256, "p", "ES256"), signed(ED, "e", "EdDSA")]
            bad = [
                signed(RSA_2, "r"),
                signed(RSA, "p"),
                signed(RSA, "x"),
                forged(HS256 | {"kid": "r"}, claims()),
            ]
            users = [(await by.verify(text)).user_id for text in good]
            codes = [(await refusal(text, by)).code for text in bad]

    assert ["7", "7", "7"] == users
    assert [Code.TOKEN_INVALID] * 4 == codes


async def test_a_key_of_a_set_is_no_secret_either() -> None:
    """Neither its PEM nor its JSON verifies an HMAC, and a shared secret in a set is not used."""
    shared = {"kty": "oct", "kid": "r", "k": encoded(OTHER_SECRET.encode()), "alg": "HS256"}
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"), shared)
        async with running(issuer, secret=SECRET, jwt_algorithms=("HS256", "RS256")) as by:
            await by.verify(signed(RSA, "r"))
            codes = {
                (await refusal(forged(HS256 | {"kid": "r"}, claims(), key), by)).code
                for key in (RSA.public, json.dumps(RSA.jwk(kid="r")), OTHER_SECRET)
            }

    assert {Code.TOKEN_INVALID} == codes


async def test_a_token_without_key_id_needs_the_only_key_that_fits() -> None:
    """One key of the algorithm: tried. Two: the token must say which."""
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"), P256.jwk(kid="p"))
        async with running(issuer) as by:
            alone = await by.verify(signed(RSA, None))
        issuer.publish(RSA.jwk(kid="r"), RSA_2.jwk(kid="s"))
        async with running(issuer) as by:
            named = await by.verify(signed(RSA_2, "s"))
            code = (await refusal(signed(RSA, None), by)).code

    assert ("7", "7", Code.TOKEN_INVALID) == (alone.user_id, named.user_id, code)


UNUSABLE: dict[str, Any] = {
    "for encryption": RSA.jwk(kid="r", use="enc"),
    "for other operations": RSA.jwk(kid="r", key_ops=["encrypt"]),
    "of an algorithm not on the list": RSA.jwk(kid="r", alg="RS512"),
    "of an algorithm that does not fit": RSA.jwk(kid="r", alg="ES256"),
    "of an unknown algorithm": RSA.jwk(kid="r", alg="RSA-OAEP"),
    "short": SHORT_RSA.jwk(kid="r"),
    "private": RSA.jwk(private=True, kid="r"),
    "of an unknown type": {"kty": "XYZ", "kid": "r"},
    "without type": {"kid": "r"},
    "with a type that is none": {"kty": ["RSA"], "kid": "r"},
    "with half of its numbers": {"kty": "RSA", "n": "AQAB", "kid": "r"},
    "with numbers that are none": {"kty": "RSA", "n": 5, "e": {}, "kid": "r"},
    "with an even exponent": {**RSA.jwk(kid="r"), "e": "Ag"},
    "not on its curve": {**P256.jwk(kid="r"), "x": encoded(b"\1" * 32)},
    "of a curve that is none": {**P256.jwk(kid="r"), "crv": ["P-256"]},
    "of the wrong length": {**ED.jwk(kid="r"), "x": encoded(b"\1" * 31)},
    "operations that are none": RSA.jwk(kid="r", key_ops=5),
    "a string": "RSA",
    "null": None,
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_unusable_key_is_passed_over(name: str) -> None:
    """Keys for something else, and keys that are none, do no harm to the others of the set."""
    async with key_server() as issuer:
        issuer.publish(UNUSABLE[name], P256.jwk(kid="p"))
        async with running(issuer) as by:
            got = await by.verify(signed(P256, "p", "ES256"))
            codes = [(await refusal(signed(RSA, kid), by)).code for kid in ("r", None)]

    assert "7" == got.user_id
    assert [Code.TOKEN_INVALID] * 2 == codes


async def test_a_new_key_is_learned_at_once() -> None:
    """A token with an unknown key id makes the verifier look again, and waits for what it finds."""
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="old"))
        async with running(issuer) as by:
            await by.verify(signed(RSA, "old"))
            issuer.publish(RSA_2.jwk(kid="new"))
            got = await by.verify(signed(RSA_2, "new"))
            retired = (await refusal(signed(RSA, "old"), by)).code
            requests = issuer.requests

    assert "7" == got.user_id
    assert Code.TOKEN_INVALID == retired
    assert 2 == requests


async def test_unknown_key_ids_cost_one_request() -> None:
    """However many tokens name keys that do not exist, the issuer is asked once in ten seconds."""
    async with key_server() as issuer:
        issuer.publish(P256.jwk(kid="p"))
        async with running(issuer) as by:
            await by.verify(signed(P256, "p", "ES256"))
            at_once = await asyncio.gather(*(refusal(signed(P256, f"x{n}", "ES256"), by) for n in range(20)))
            later = [await refusal(signed(P256, f"y{n}", "ES256"), by) for n in range(20)]
            requests = issuer.requests

    assert {Code.TOKEN_INVALID} == {each.code for each in (*at_once, *later)}
    assert 2 == requests


async def test_a_download_that_is_over_is_not_waited_for() -> None:
    """Who misses a key in the very moment in which a download ends gets one of their own."""
    demands: list[asyncio.Task[None]] = []

    def parse(body: bytes) -> list[bytes]:
        if not demands:
            # it runs in the loop's next turn, before anybody hears that this download is over
            demands.append(asyncio.create_task(key_set.demand()))
        return [body]

    async with key_server() as issuer:
        key_set = jwks.KeySet(issuer.url, parse)
        running = asyncio.create_task(key_set.run())
        await eventually(lambda: demands, "the first download is over")
        await demands[0]
        requests = issuer.requests
        running.cancel()

    assert 2 == requests


async def test_after_a_while_unknown_key_ids_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is one of time, not one for ever."""
    monkeypatch.setattr(jwks, "DEMAND_SECONDS", 0.0)
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"))
        async with running(issuer) as by:
            await by.verify(signed(RSA, "r"))
            for n in range(3):
                await refusal(signed(RSA, f"x{n}"), by)
            requests = issuer.requests

    assert 4 == requests


@pytest.mark.parametrize("text", ["secret", "not allowed", "no key id"])
async def test_only_an_unknown_key_id_asks_the_issuer(text: str) -> None:
    """Tokens that no new key could help are refused without looking."""
    texts = {
        "secret": forged(HS256 | {"kid": "x"}, claims(), OTHER_SECRET),
        "not allowed": signed(P384, "x", "ES384"),
        "no key id": signed(RSA_2, None),
    }
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"))
        async with running(issuer, secret=SECRET, jwt_algorithms=("HS256", "RS256")) as by:
            await by.verify(signed(RSA, "r"))
            code = (await refusal(texts[text], by)).code
            requests = issuer.requests

    assert (Code.TOKEN_INVALID, 1) == (code, requests)


BAD_DOCUMENTS: dict[str, tuple[int, Any]] = {
    "an error": (500, {"keys": [RSA_2.jwk(kid="r")]}),
    "no JSON": (200, b"<html>"),
    "no object": (200, []),
    "no keys": (200, {}),
    "keys that are none": (200, {"keys": {"kid": "r"}}),
    "an empty set": (200, {"keys": []}),
    "a set without a usable key": (200, {"keys": [RSA_2.jwk(kid="r", use="enc")]}),
    "too much": (200, json.dumps({"keys": [RSA_2.jwk(kid="r")], "x": "x" * 1024 * 1024}).encode()),
    "not UTF-8": (200, b'{"keys":["\xff"]}'),
    "very deep": (200, b'{"keys":' + b"[" * 100_000),
}


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
async def test_the_last_good_keys_stay(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """An issuer that answers with rubbish, or not at all, takes no key away."""
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"))
        async with running(issuer) as by:
            await by.verify(signed(RSA, "r"))
            issuer.status, issuer.document = BAD_DOCUMENTS[name]
            code = (await refusal(signed(RSA, "x"), by)).code
            got = await by.verify(signed(RSA, "r"))

    assert (Code.TOKEN_INVALID, "7") == (code, got.user_id)
    assert ["WARNING"] == [record.levelname for record in caplog.records if record.name == "session.jwks"]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
async def test_a_redirect_does_not_leave_http(target: str) -> None:
    """Whoever answers for the issuer cannot make the server read something else."""
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"))
        async with running(issuer) as by:
            await by.verify(signed(RSA, "r"))
            issuer.status, issuer.headers = 302, f"Location: {target}\r\n"
            code = (await refusal(signed(RSA, "x"), by)).code
            got = await by.verify(signed(RSA, "r"))

    assert (Code.TOKEN_INVALID, "7") == (code, got.user_id)


async def test_without_any_keys_nobody_is_called_a_liar() -> None:
    """While no set could be loaded, a token is not invalid: the server is unavailable, and says so."""
    async with key_server() as issuer:
        issuer.status = 503
        async with running(issuer) as by:
            got = await refusal(signed(RSA, "r"), by)

    assert (Code.UNAVAILABLE, {"outcome": "none"}) == (got.code, got.details)


async def test_a_token_waits_for_the_first_keys() -> None:
    """Who comes while the first download is under way waits for it; all share it."""
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"))
        issuer.gate.clear()
        async with running(issuer) as by:
            waiting = [asyncio.create_task(by.verify(signed(RSA, "r"))) for _ in range(5)]
            await asyncio.wait(waiting, timeout=0)
            issuer.gate.set()
            got = await asyncio.gather(*waiting)
            requests = issuer.requests

    assert (["7"] * 5, 1) == ([each.user_id for each in got], requests)


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that does not answer costs a token its patience, and the others nothing."""
    monkeypatch.setattr(jwks, "PATIENCE_SECONDS", 0.05)
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"))
        async with running(issuer) as by:
            await by.verify(signed(RSA, "r"))
            issuer.gate.clear()
            async with asyncio.timeout(jwks.FETCH_SECONDS / 2):
                code = (await refusal(signed(RSA, "x"), by)).code
            got = await by.verify(signed(RSA, "r"))

    assert (Code.TOKEN_INVALID, "7") == (code, got.user_id)


async def test_keys_are_fetched_again_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without unknown key ids: a key that was withdrawn is forgotten, and so is what it has signed."""
    monkeypatch.setattr(jwks, "REFRESH_SECONDS", 0.01)
    async with key_server() as issuer:
        issuer.publish(RSA.jwk(kid="r"))
        async with running(issuer) as by:
            known = signed(RSA, "r")
            await by.verify(known)
            issuer.publish(P256.jwk(kid="p"))

            async def is_forgotten() -> bool:
                with contextlib.suppress(Refused):
                    await by.verify(known)
                    return False
                return True

            await eventually(is_forgotten, "the withdrawn key is forgotten")
            assert Code.TOKEN_INVALID is (await refusal(signed(RSA, None), by)).code


async def test_a_failed_first_download_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that comes up after the server is found without anybody asking."""
    monkeypatch.setattr(jwks, "FIRST_RETRY_SECONDS", 0.01)
    async with key_server() as issuer:
        issuer.status = 500
        async with running(issuer) as by:
            await eventually(lambda: issuer.requests >= 3, "it was asked again")
            issuer.publish(RSA.jwk(kid="r"))
            issuer.status = 200

            async def is_known() -> bool:
                with contextlib.suppress(Refused):
                    return (await by.verify(signed(RSA, "r"))).user_id == "7"
                return False

            await eventually(is_known, "the key is known")


async def test_without_key_set_running_does_nothing() -> None:
    """The task of a verifier with fixed keys stays, so that a process need not ask whether it ended."""
    task = asyncio.create_task(verifier(SECRET).run())
    await asyncio.wait({task}, timeout=0)
    done = task.done()
    task.cancel()

    assert not done
