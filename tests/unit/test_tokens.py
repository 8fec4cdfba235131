"""Tokens: who gets in and who does not, which key may verify what, and what the demo issues."""

import base64
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from hypothesis import example, given
from hypothesis import strategies as st

from session.config import Config, ConfigError
from session.identity import Identity
from session.protocol import Code, Refused
from session.tokens import Issuer, RefreshToken, Verifier, _make_jws
from tests.support.keys import HS256, Pair, claims, encoded, forged
from tests.support.tokens import SECRET, token

OTHER_SECRET = "another secret, which the server does not know"
HS256_HEADER = encoded(b'{"alg":"HS256"}').encode()
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


RSA, RSA_2 = (Pair(rsa.generate_private_key(65537, 2048)) for _ in range(2))
SHORT_RSA = Pair(rsa.generate_private_key(65537, 1024))  # noqa: S505 - to be refused
P256, P384, P521, K1 = (
    Pair(ec.generate_private_key(curve()))
    for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.SECP256K1)
)
ED = Pair(ed25519.Ed25519PrivateKey.generate())
ED_448 = Pair(ed448.Ed448PrivateKey.generate())
X25519 = Pair(x25519.X25519PrivateKey.generate())


def verifier(secret: str = SECRET, **options: Any) -> Verifier:
    return Verifier(Config(**options), secret)


async def identity(text: str, **options: Any) -> Identity:
    return await verifier(**options).verify(text)


async def refusal(text: str, by: Verifier | None = None) -> Refused:
    """What a token is refused with."""
    with pytest.raises(Refused) as caught:
        await (by or verifier()).verify(text)
    return caught.value


# --- who ---


async def test_a_token_says_who_its_bearer_is() -> None:
    """Every claim that counts ends up in the identity; others may be anything."""
    got = await identity(
        token(
            "mina",
            role="admin",
            sid="s-1",
            jti="j-1",
            rooms=["chat:*"],
            publish=["chat:1"],
            email=[1],
            exp=2e10,
        )
    )

    assert ("mina", "admin", 20_000_000_000, "s-1") == (got.user_id, got.role, got.expires_at, got.sign_in)
    assert (("chat:*",), ("chat:1",)) == (got.rooms, got.publish)
    assert ("s:s-1", "j:j-1") == got.marks[:2]


async def test_only_sub_and_exp_are_needed() -> None:
    """Without the other claims a bearer is a plain user, of no sign-in, with the default rooms."""
    got = await identity(forged(HS256, claims()))

    assert ("1", "user", None, (), ()) == (got.user_id, got.role, got.sign_in, got.rooms, got.publish)
    assert isinstance(got.expires_at, int)


@pytest.mark.parametrize(
    ("given", "user_id"),
    [
        ({"sub": "a.B-9_@:|"}, "a.B-9_@:|"),
        ({"sub": "x" * 128}, "x" * 128),
        ({"sub": 42}, "42"),
        ({"sub": 0}, "0"),
        ({"sub": -7}, "-7"),
        ({"sub": 2**80}, str(2**80)),
        ({"sub": None, "userId": "mina"}, "mina"),
        ({"sub": None, "userId": 42}, "42"),
        ({"sub": "mina", "userId": "jun"}, "mina"),
        ({"sub": 0, "userId": "jun"}, "0"),
    ],
    ids=str,
)
async def test_the_user_is_sub_or_else_user_id(given: dict[str, Any], user_id: str) -> None:
    """Either may be a string or an integer; an integer becomes a string."""
    absent_or_null = [{k: v for k, v in given.items() if v is not None}, given]
    got = [
        (await identity(forged(HS256, claims() | {"sub": None} | part))).user_id for part in absent_or_null
    ]

    assert [user_id, user_id] == got


@pytest.mark.parametrize(
    "given",
    [
        {"sub": None}, {"sub": ""}, {"sub": "", "userId": "mina"}, {"sub": "x" * 129}, {"sub": "mina kim"},
        {"sub": "mina\n"}, {"sub": "민아"}, {"sub": True}, {"sub": 1.5}, {"sub": 1.0}, {"sub": ["1"]},
        {"sub": {"id": 1}}, {"sub": 10**128}, {"sub": None, "userId": False}, {"sub": None, "userId": "a b"},
    ],
    ids=lambda given: str(given)[:40],
)  # fmt: skip
async def test_a_user_id_keeps_its_rule(given: dict[str, Any]) -> None:
    """What cannot be a user id lets nobody in, and is not passed over for the other claim."""
    got = await refusal(forged(HS256, claims(**given)))

    assert Code.TOKEN_INVALID == got.code


# --- marks ---


async def test_signing_out_goes_by_the_sign_in_or_else_by_the_token() -> None:
    """`mark` is the sign-in's where there is one; else the token's own, whatever its ``jti``."""
    with_sid, without = await identity(token(sid="s-1", jti="j-1")), await identity(token(jti="j-1"))
    bare = await identity(token())

    assert "s:s-1" == with_sid.mark
    assert (without.marks[-1], 2) == (without.mark, len(without.marks))
    assert (bare.mark,) == bare.marks
    assert bare.mark.startswith("t:")
    assert 24 == len(bare.mark)


async def test_each_token_has_a_mark_of_its_own() -> None:
    """Two tokens of one user differ in what they are revoked by; the same token has the same mark."""
    first, second = token(nonce=1), token(nonce=2)
    marks = [(await identity(text)).mark for text in (first, first, second)]

    assert marks[0] == marks[1]
    assert marks[0] != marks[2]


async def test_a_revoked_token_written_anew_keeps_its_mark() -> None:
    """ECDSA: whoever has one signature (r, s) has another, (r, n - s). It must not undo a revocation."""
    by = verifier("", jwt_public_key=P256.public)
    text = token(secret=P256.private, algorithm="ES256")
    signed, _, signature = text.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    twin_raw = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    twin = f"{signed}.{encoded(twin_raw)}"

    assert twin != text
    assert (await by.verify(text)).mark == (await by.verify(twin)).mark


async def test_padding_does_not_undo_a_revocation() -> None:
    """Some issuers pad their signatures with ``=``, and PyJWT lets them: the mark is the same."""
    text = token()
    marks = {(await identity(written)).mark for written in (text, text + "=")}

    assert 1 == len(marks)


@pytest.mark.parametrize("claim", ["sid", "jti"])
@pytest.mark.parametrize("value", ["", "a b", "a\n", "é", "x" * 129, 7, True, ["a"]], ids=repr)
async def test_what_becomes_a_mark_is_one_word(claim: str, value: Any) -> None:
    """Marks stand in notices and arguments with spaces between: no token may bring one with a space."""
    got = await refusal(forged(HS256, claims(**{claim: value})))

    assert Code.TOKEN_INVALID == got.code


# --- rooms ---


@pytest.mark.parametrize(
    ("room", "join", "publish"),
    [
        ("event:1", True, False),
        ("user:1", True, False),
        ("user:2", False, False),
        ("queue:1", True, False),
        ("seats:1", True, False),
        ("chat:1", True, True),
        ("chat:", True, True),
        ("chats:1", False, False),
        ("chat", False, False),
        ("lobby:main", True, True),
        ("lobby:main2", False, False),
        ("news:1", True, False),
    ],
)
async def test_a_token_opens_what_its_patterns_say(room: str, join: bool, publish: bool) -> None:
    """Exact, or ending in ``*``; what everyone may join needs no pattern, and publishing always does."""
    got = await identity(
        token("1", rooms=["chat:*", "lobby:main", "news:1"], publish=["chat:*", "lobby:main"])
    )

    assert (join, publish) == (got.may_join(room), got.may_publish(room))


@pytest.mark.parametrize("namespace", ["user", "queue", "seats"])
@pytest.mark.parametrize("pattern", ["*", "{}:*", "{}:2"])
async def test_no_pattern_opens_what_is_closed(namespace: str, pattern: str) -> None:
    """Other users' rooms, queues and seats are not for a token to give away: it changes nothing there."""
    patterns = [pattern.format(namespace)]
    with_pattern, without = (
        await identity(token("1", rooms=patterns, publish=patterns)),
        await identity(token("1")),
    )
    room = f"{namespace}:2"

    assert not with_pattern.may_publish(room)
    assert without.may_join(room) == with_pattern.may_join(room)


async def test_a_pattern_may_open_events_for_publishing() -> None:
    """``event:`` is not closed: a token may let its bearer speak there."""
    got = await identity(token("1", publish=["event:1", "x*y"]))

    assert got.may_publish("event:1")
    assert not got.may_publish("event:2")
    assert not got.may_publish("xay")


@pytest.mark.parametrize("claim", ["rooms", "publish"])
@pytest.mark.parametrize("value", ["chat:*", [1], [""], {"a": 1}, True, [["chat:*"]]], ids=repr)
async def test_malformed_patterns_let_nobody_in(claim: str, value: Any) -> None:
    """A list of strings it is, and nothing else."""
    got = await refusal(forged(HS256, claims(**{claim: value})))

    assert Code.TOKEN_INVALID == got.code


# --- refusals ---


def now() -> int:
    return int(time.time())


REFUSED: dict[str, tuple[Callable[[], str], Code]] = {
    "nothing": (lambda: "", Code.TOKEN_INVALID),
    "one part": (lambda: "nonsense", Code.TOKEN_INVALID),
    "two parts": (lambda: token().rpartition(".")[0], Code.TOKEN_INVALID),
    "no signature": (lambda: token().rpartition(".")[0] + ".", Code.TOKEN_INVALID),
    "four parts": (lambda: token() + ".e30", Code.TOKEN_INVALID),
    "spaces": (lambda: " " + token(), Code.TOKEN_INVALID),
    "not ASCII": (lambda: "é" + token(), Code.TOKEN_INVALID),
    "lone surrogate": (lambda: token() + "\ud800", Code.TOKEN_INVALID),
    "lone surrogate first": (lambda: "\ud800" + token(), Code.TOKEN_INVALID),
    "too long": (lambda: token(x="x" * 20_000), Code.TOKEN_INVALID),
    "claims changed": (
        lambda: token().split(".")[0] + "." + encoded(claims(sub="2")) + "." + token().split(".")[2],
        Code.TOKEN_INVALID,
    ),
    "another secret": (lambda: token(secret=OTHER_SECRET), Code.TOKEN_INVALID),
    "alg none": (lambda: f"{encoded({'alg': 'none'})}.{encoded(claims())}.", Code.TOKEN_INVALID),
    "alg None": (lambda: f"{encoded({'alg': 'None'})}.{encoded(claims())}.", Code.TOKEN_INVALID),
    "no alg": (lambda: forged({"typ": "JWT"}, claims()), Code.TOKEN_INVALID),
    "alg a list": (lambda: forged({"alg": ["HS256"]}, claims()), Code.TOKEN_INVALID),
    "alg of the key's family, but not allowed": (
        lambda: forged({"alg": "HS512"}, claims(), digest="sha512"),
        Code.TOKEN_INVALID,
    ),
    "alg twice": (
        lambda: encoded(b'{"alg":"none","alg":"HS256"}') + f".{encoded(claims())}.",
        Code.TOKEN_INVALID,
    ),
    "header no object": (lambda: forged(["HS256"], claims()), Code.TOKEN_INVALID),
    "header no JSON": (lambda: forged(b"HS256", claims()), Code.TOKEN_INVALID),
    "header deep": (lambda: forged(b'{"alg":"HS256","x":' + b"[" * 5000, claims()), Code.TOKEN_INVALID),
    "kid no string": (lambda: forged(HS256 | {"kid": 1}, claims()), Code.TOKEN_INVALID),
    "unknown crit": (lambda: forged(HS256 | {"crit": ["x"], "x": 1}, claims()), Code.TOKEN_INVALID),
    "detached": (lambda: forged(HS256 | {"crit": ["b64"], "b64": False}, b""), Code.TOKEN_INVALID),
    "claims no object": (lambda: forged(HS256, [1]), Code.TOKEN_INVALID),
    "claims no JSON": (lambda: forged(HS256, b"{"), Code.TOKEN_INVALID),
    "claims deep": (lambda: forged(HS256, b'{"sub":' + b"[" * 5000), Code.TOKEN_INVALID),
    "claims not UTF-8": (lambda: forged(HS256, b'{"sub":"\xff"}'), Code.TOKEN_INVALID),
    "no exp": (lambda: forged(HS256, {"sub": "1"}), Code.TOKEN_INVALID),
    "exp null": (lambda: forged(HS256, claims(exp=None)), Code.TOKEN_INVALID),
    "exp a string": (lambda: forged(HS256, claims(exp=str(now() + 600))), Code.TOKEN_INVALID),
    "exp true": (lambda: forged(HS256, claims(exp=True)), Code.TOKEN_INVALID),
    "exp infinite": (lambda: forged(HS256, claims(exp=float("inf"))), Code.TOKEN_INVALID),
    "exp in milliseconds": (lambda: forged(HS256, claims(exp=(now() + 600) * 1000)), Code.TOKEN_INVALID),
    "exp huge": (lambda: forged(HS256, claims(exp=10**400)), Code.TOKEN_INVALID),
    "expired": (lambda: token(lifetime=-6), Code.TOKEN_EXPIRED),
    "expired long ago": (lambda: token(exp=0), Code.TOKEN_EXPIRED),
    "expired, and of another secret": (lambda: token(lifetime=-6, secret=OTHER_SECRET), Code.TOKEN_INVALID),
    "nbf to come": (lambda: token(nbf=now() + 60), Code.TOKEN_INVALID),
    "iat to come": (lambda: token(iat=now() + 60), Code.TOKEN_INVALID),
    "nbf a string": (lambda: token(nbf="now"), Code.TOKEN_INVALID),
    "iat a string": (lambda: token(iat="now"), Code.TOKEN_INVALID),
    "role no string": (lambda: token(role=1), Code.TOKEN_INVALID),
    "roles": (lambda: token(role=["admin"]), Code.TOKEN_INVALID),
    "a purpose": (lambda: token(purpose="entry"), Code.TOKEN_INVALID),
    "a refresh token": (
        lambda: Issuer(Config(), SECRET).refresh(RefreshToken("1", "s", 1, now() + 60)),
        Code.TOKEN_INVALID,
    ),
    "an empty purpose": (lambda: token(purpose=""), Code.TOKEN_INVALID),
    "purpose null": (lambda: forged(HS256, claims(purpose=None)), Code.TOKEN_INVALID),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_token_is_refused(name: str) -> None:
    """Whatever is wrong with a token, it is said with a code, and no part of the token is repeated."""
    make, code = REFUSED[name]
    text = make()
    got = await refusal(text)

    assert code == got.code
    assert not [part for part in text.split(".") if len(part) > 3 and part in got.message]
    assert len(got.message) < 200


async def test_claims_are_not_repeated_either() -> None:
    """A message names the claim that is wrong, not what it says."""
    for name, value in (
        ("sub", "very secret"),
        ("role", ["very secret"]),
        ("sid", "very secret"),
        ("exp", "very secret"),
    ):
        got = await refusal(forged(HS256, claims(**{name: value})))

        assert "secret" not in got.message


async def test_clocks_may_differ_a_little() -> None:
    """Five seconds of leeway, for each of the three times."""
    got = await identity(token(exp=now() - 3, nbf=now() + 3, iat=now() + 3))

    assert now() - 4 <= got.expires_at <= now()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"iss": "https://shop.example", "aud": "keepseat"}, None),
        ({"iss": "https://shop.example", "aud": ["other", "keepseat"]}, None),
        ({"aud": "keepseat"}, Code.TOKEN_INVALID),
        ({"iss": "https://shop.example"}, Code.TOKEN_INVALID),
        ({"iss": "https://shop.example/", "aud": "keepseat"}, Code.TOKEN_INVALID),
        ({"iss": "https://shop", "aud": "keepseat"}, Code.TOKEN_INVALID),
        ({"iss": ["https://shop.example"], "aud": "keepseat"}, Code.TOKEN_INVALID),
        ({"iss": "https://shop.example", "aud": "keep"}, Code.TOKEN_INVALID),
        ({"iss": "https://shop.example", "aud": []}, Code.TOKEN_INVALID),
        ({"iss": "https://shop.example", "aud": [["keepseat"]]}, Code.TOKEN_INVALID),
        ({"iss": "https://shop.example", "aud": {"keepseat": 1}}, Code.TOKEN_INVALID),
    ],
    ids=str,
)
async def test_issuer_and_audience_where_configured(given: dict[str, Any], code: Code | None) -> None:
    """Both must be exactly what the options say; the audience may be one of several."""
    by = verifier(jwt_issuer="https://shop.example", jwt_audience="keepseat")
    got = None
    try:
        await by.verify(forged(HS256, claims(**given)))
    except Refused as refused:
        got = refused.code

    assert code == got


async def test_issuer_and_audience_where_not_configured() -> None:
    """Tokens of issuers that say both are accepted by a server that asks for neither."""
    got = await identity(token("7", iss="https://shop.example", aud=["a", "b"]))

    assert "7" == got.user_id


# --- keys ---


FAMILIES = {
    "RS256": RSA, "ES256": P256, "ES384": P384, "ES512": P521, "EdDSA": ED,
}  # fmt: skip


@pytest.mark.parametrize("algorithm", FAMILIES)
async def test_a_public_key_verifies_what_fits_it(algorithm: str) -> None:
    """Without `jwt_algorithms` a key has its usual algorithm, and verifies nothing else."""
    pair = FAMILIES[algorithm]
    by = verifier("", jwt_public_key=pair.public)
    got = await by.verify(token("7", secret=pair.private, algorithm=algorithm))
    codes = {
        (await refusal(token(secret=other.private, algorithm=name), by)).code
        for name, other in FAMILIES.items()
        if name != algorithm
    }

    assert "7" == got.user_id
    assert {Code.TOKEN_INVALID} == codes
    assert Code.TOKEN_INVALID == (await refusal(token(), by)).code


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("name", FAMILIES)
async def test_a_public_key_is_no_secret(algorithm: str, name: str) -> None:
    """RFC 8725, 2.1: everyone has the public key, and could sign with it if it were taken for a secret."""
    pem = FAMILIES[name].public
    by = verifier("", jwt_public_key=pem)
    digest = f"sha{algorithm[2:]}"
    codes = {
        (await refusal(forged({"alg": algorithm}, claims(), key, digest), by)).code
        for key in (pem, pem.strip(), pem.replace("\n", "\r\n"))
    }

    assert {Code.TOKEN_INVALID} == codes


async def test_a_public_key_beside_a_secret_is_no_secret() -> None:
    """With both configured each verifies its own, and the allow-list of one is not the other's."""
    by = verifier(jwt_public_key=RSA.public, jwt_algorithms=("HS256", "RS256"))
    got = [await by.verify(text) for text in (token("1"), token("2", secret=RSA.private, algorithm="RS256"))]

    assert ["1", "2"] == [each.user_id for each in got]
    assert Code.TOKEN_INVALID == (await refusal(forged(HS256, claims(), RSA.public), by)).code


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
async def test_a_token_does_not_bring_its_own_key(name: str) -> None:
    """RFC 8725, 3.10: keys and addresses in a header are not looked at."""
    values = {"jwk": RSA_2.jwk(), "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/", "x5c": ["MII"]}
    by = verifier("", jwt_public_key=RSA.public)
    text = token(secret=RSA_2.private, algorithm="RS256", headers={name: values[name]})

    assert Code.TOKEN_INVALID == (await refusal(text, by)).code


async def test_only_algorithms_on_the_list() -> None:
    """`jwt_algorithms` narrows and widens what a key verifies, within its family."""
    by = verifier("", jwt_public_key=RSA.public, jwt_algorithms=("PS256", "RS512"))
    texts = {name: token("7", secret=RSA.private, algorithm=name) for name in ("PS256", "RS512", "RS256")}
    got = [(await by.verify(texts[name])).user_id for name in ("PS256", "RS512")]

    assert ["7", "7"] == got
    assert Code.TOKEN_INVALID == (await refusal(texts["RS256"], by)).code


async def test_a_public_key_may_be_a_file(tmp_path: Path) -> None:
    """`jwt_public_key` is PEM text, as it is or with its line ends as ``\\n``, or the path of a file."""
    path = tmp_path / "key.pem"
    path.write_text(P256.public)
    text = token("7", secret=P256.private, algorithm="ES256")
    ways = (P256.public, P256.public.replace("\n", "\\n"), str(path))
    got = [(await identity(text, secret="", jwt_public_key=way)).user_id for way in ways]

    assert ["7"] * 3 == got


LONG = "x" * 64
BROKEN_PEM = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
BAD_KEYS: dict[str, tuple[str, dict[str, Any], str]] = {
    "not PEM": ("", {"jwt_public_key": "/dev/null"}, "--jwt-public-key"),
    "no file": ("", {"jwt_public_key": "/no/such/file.pem"}, "--jwt-public-key"),
    "a directory": ("", {"jwt_public_key": "/"}, "--jwt-public-key"),
    "a null in the path": ("", {"jwt_public_key": "a\0b"}, "--jwt-public-key"),
    "broken PEM": ("", {"jwt_public_key": BROKEN_PEM}, "--jwt-public-key"),
    "a private key": ("", {"jwt_public_key": RSA.private}, "--jwt-public-key"),
    "another kind of key": ("", {"jwt_public_key": X25519.public}, "--jwt-public-key"),
    "another Edwards curve": ("", {"jwt_public_key": ED_448.public}, "--jwt-public-key"),
    "another curve": ("", {"jwt_public_key": K1.public}, "--jwt-public-key"),
    "a short RSA key": ("", {"jwt_public_key": SHORT_RSA.public}, "--jwt-public-key"),
    "a secret too short for its algorithm": ("x" * 32, {"jwt_algorithms": ("HS512",)}, "--"),
    "a public key as secret": (RSA.public, {"jwt_secret": RSA.public}, "--jwt-secret"),
    "a public key as previous secret": (LONG, {"jwt_previous_secret": RSA.public}, "--jwt-previous-secret"),
    "a previous secret too short for its algorithm": (
        LONG, {"jwt_previous_secret": "x" * 32, "jwt_algorithms": ("HS512",)}, "--jwt-previous-secret"
    ),
    "unknown algorithm": (LONG, {"jwt_algorithms": ("HS256", "XX256")}, "--jwt-algorithms"),
    "none": (LONG, {"jwt_algorithms": ("HS256", "none")}, "--jwt-algorithms"),
    "wrong case": (LONG, {"jwt_algorithms": ("hs256",)}, "--jwt-algorithms"),
    "an algorithm without a key": (LONG, {"jwt_algorithms": ("HS256", "RS256")}, "--jwt-algorithms"),
    "a key without an algorithm": (
        LONG, {"jwt_algorithms": ("HS256",), "jwt_public_key": RSA.public}, "--jwt-algorithms"
    ),
    "another curve's algorithm": (
        "", {"jwt_algorithms": ("ES384",), "jwt_public_key": P256.public}, "--jwt-algorithms"
    ),
    "a demo whose tokens would not verify": (
        LONG, {"demo": True, "jwt_jwks_url": "http://h/", "jwt_algorithms": ("RS256",)}, "--jwt-algorithms"
    ),
    "a key set without an algorithm": (
        LONG, {"jwt_jwks_url": "http://h/", "jwt_algorithms": ("HS256",)}, "--jwt-algorithms"
    ),
    "an unknown algorithm for a key set": (
        "", {"jwt_jwks_url": "http://h/", "jwt_algorithms": ("RS256", "none")}, "--jwt-algorithms"
    ),
    "a key set by another protocol": ("", {"jwt_jwks_url": "ftp://h/jwks.json"}, "--jwt-jwks-url"),
    "a file as key set": ("", {"jwt_jwks_url": "file:///etc/hostname"}, "--jwt-jwks-url"),
    "a key set without scheme": ("", {"jwt_jwks_url": "shop.example/jwks.json"}, "--jwt-jwks-url"),
    "a key set without host": ("", {"jwt_jwks_url": "https:///jwks.json"}, "--jwt-jwks-url"),
    "a key set at a broken address": ("", {"jwt_jwks_url": "http://[::1/"}, "--jwt-jwks-url"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_KEYS)
def test_keys_that_make_no_sense_are_refused_at_once(name: str) -> None:
    """One clear line that names the option, and repeats no key."""
    secret, options, option = BAD_KEYS[name]
    with pytest.raises(ConfigError) as caught:
        verifier(secret, **options)
    said = str(caught.value)

    assert said.startswith(option)
    assert "\n" not in said
    assert len(said) < 300
    assert "BEGIN" not in said


# --- turning the secret ---


async def test_a_previous_secret_is_believed_and_signs_nothing() -> None:
    """Beside the secret or alone it verifies sign-in and refresh tokens, told from those of the secret;
    all that is signed is signed with the secret; and without it nobody believes its tokens any more."""
    config = Config(jwt_previous_secret=OTHER_SECRET)
    old, new = Issuer(Config(), OTHER_SECRET), Issuer(config, SECRET)
    both, alone, before = Verifier(config, SECRET), Verifier(config, ""), Verifier(Config(), OTHER_SECRET)
    told: list[str] = []
    both.on_previous = lambda: told.append("previous")
    refresh = RefreshToken("mina", "s-1", 3, now() + 60)
    pairs = [issuer.access("mina", "user", "s-1", now())[0] for issuer in (new, old)]

    assert ["mina", "mina"] == [(await both.verify(text)).user_id for text in pairs]
    assert ["previous"] == told
    assert "mina" == (await alone.verify(pairs[1])).user_id
    strangers = ((pairs[0], alone), (pairs[0], before), (pairs[1], None))
    assert [Code.TOKEN_INVALID] * 3 == [(await refusal(text, by)).code for text, by in strangers]
    assert [refresh, refresh] == [new.verify_refresh(by.refresh(refresh)) for by in (old, new)]
    assert refresh == Issuer(Config(), SECRET).verify_refresh(new.refresh(refresh))
    assert Issuer(config, "").entry("mina", "7", None, now() * 1000) is None


# --- issuing ---


async def test_an_access_token_lets_its_user_in() -> None:
    """What the demo issues, the verifier takes, with and without issuer and audience."""
    for options in ({}, {"jwt_issuer": "me", "jwt_audience": "mine"}, {"jwt_algorithms": ("HS512",)}):
        config = Config(access_token_ttl=60.0, **options)  # type: ignore[arg-type]
        text, expires_at = Issuer(config, LONG).access("mina", "user", "s-1", now())
        got = await Verifier(config, LONG).verify(text)

        assert ("mina", "user", "s-1") == (got.user_id, got.role, got.sign_in)
        assert expires_at == got.expires_at * 1000
        assert now() + 55 <= got.expires_at <= now() + 60
        assert got.may_join("chat:1")
        assert got.may_publish("chat:1")
        assert 3 == len(got.marks)


def test_access_tokens_differ() -> None:
    """Two of the same moment are two: each has an id."""
    issuer = Issuer(Config(), SECRET)

    assert issuer.access("1", "user", "s", 0) != issuer.access("1", "user", "s", 0)


def test_a_refresh_token_is_the_same_each_time() -> None:
    """A generation of a sign-in is one text, whoever writes it and whenever, and reads back."""
    refresh = RefreshToken("mina", "s-1", 3, now() + 60)
    texts = {Issuer(Config(), SECRET).refresh(refresh) for _ in range(2)}
    other = Issuer(Config(), SECRET).refresh(RefreshToken("mina", "s-1", 4, refresh.ends_at))

    assert 1 == len(texts)
    assert other not in texts
    assert refresh == Issuer(Config(), SECRET).verify_refresh(texts.pop())


def made(**extra: Any) -> str:
    return forged(
        HS256, {"sub": "1", "sid": "s", "n": 1, "exp": now() + 60, "purpose": "refresh", "iss": "me"} | extra
    )


BAD_REFRESH: dict[str, tuple[Callable[[], str], Code]] = {
    "nothing": (lambda: "", Code.TOKEN_INVALID),
    "nonsense": (lambda: "nonsense", Code.TOKEN_INVALID),
    "lone surrogate": (lambda: "\ud800", Code.TOKEN_INVALID),
    "too long": (lambda: made(x="x" * 20_000), Code.TOKEN_INVALID),
    "an access token": (lambda: token(iss="me", sid="s", n=1), Code.TOKEN_INVALID),
    "no purpose": (lambda: forged(HS256, claims(iss="me", sid="s", n=1)), Code.TOKEN_INVALID),
    "another purpose": (lambda: made(purpose="top secret"), Code.TOKEN_INVALID),
    "no sign-in": (lambda: made(sid=None), Code.TOKEN_INVALID),
    "no generation": (lambda: made(n=None), Code.TOKEN_INVALID),
    "generation 0": (lambda: made(n=0), Code.TOKEN_INVALID),
    "half a generation": (lambda: made(n=1.5), Code.TOKEN_INVALID),
    "a huge generation": (lambda: made(n=2**53), Code.TOKEN_INVALID),
    "no user": (lambda: made(sub=None), Code.TOKEN_INVALID),
    "another issuer": (lambda: made(iss="you"), Code.TOKEN_INVALID),
    "expired": (lambda: made(exp=now() - 60), Code.TOKEN_EXPIRED),
    "none": (lambda: made().replace(encoded(HS256), encoded({"alg": "none"})), Code.TOKEN_INVALID),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_REFRESH)
def test_a_refresh_token_is_refused(name: str) -> None:
    """Only what this server (or one with its secret) has issued as such is a refresh token."""
    make, code = BAD_REFRESH[name]
    with pytest.raises(Refused) as caught:
        Issuer(Config(jwt_issuer="me"), SECRET).verify_refresh(make())

    assert code == caught.value.code
    assert "secret" not in caught.value.message


def test_without_a_secret_no_refresh_token_is_valid() -> None:
    """An issuer without a secret takes nothing, least of all what was signed with an empty one."""
    for text in (
        made(),
        forged(HS256, {"sub": "1", "sid": "s", "n": 1, "exp": now() + 60, "purpose": "refresh"}, ""),
    ):
        with pytest.raises(Refused) as caught:
            Issuer(Config(), "").verify_refresh(text)

        assert Code.TOKEN_INVALID == caught.value.code


async def test_a_digest_is_what_is_documented() -> None:
    """The mark of a token is the sha256 of what is signed, so that other programs can revoke it too."""
    text = token()
    digest = hashlib.sha256(text.rpartition(".")[0].encode()).digest()

    assert "t:" + encoded(digest)[:22] == (await identity(text)).mark


# --- what of PyJWT is done quicker ---

URL_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NEARLY = st.lists(st.sampled_from([bytes((c,)) for c in URL_SAFE + b".=+/ \n\xff"]), max_size=9).map(b"".join)
WELL_MADE = st.binary(max_size=40).map(lambda data: encoded(data).encode())
HEADERS = st.sampled_from(
    [b'{"alg":"HS256","typ":"JWT"}', b'{"alg":1}', b"[]", b"{", b'"a"', b'{"alg":"HS256","b64":false}',
     b"\xff", b'{"alg":"HS256","alg":"none"}', b'{"crit":["b64"],"b64":true}'],
).map(lambda data: encoded(data).encode())  # fmt: skip
SEGMENTS = WELL_MADE | HEADERS | NEARLY | st.binary(max_size=9)


@given(HEADERS | SEGMENTS, SEGMENTS, SEGMENTS)
@example(HS256_HEADER, b"YQ", b"YR")
@example(HS256_HEADER, b"YQ==", b"YQ")
@example(HS256_HEADER, b"YQ=", b"YQ=Q")
@example(HS256_HEADER, b"", b"")
def test_a_token_is_taken_apart_as_pyjwt_does_it(header: bytes, payload: bytes, signature: bytes) -> None:
    """The same parts, and the same is refused: padding in the wrong place, bits that stand for nothing."""

    def parts(by: jwt.PyJWS) -> object:
        try:
            found, signed, head, mac = by._load(b".".join((header, payload, signature)))  # type: ignore[attr-defined]
        except jwt.DecodeError as error:
            return str(error)
        return found, signed, {**head}, mac

    assert parts(jwt.PyJWS()) == parts(_make_jws())


def test_pyjwt_takes_tokens_apart_where_it_is_done_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this fails after an update of PyJWT nothing is wrong but the time that a sign-in takes."""
    taken: list[str] = []
    jws = _make_jws()
    quick = jws._load  # type: ignore[attr-defined]
    monkeypatch.setattr(type(jws), "_load", lambda self, token: taken.append(token) or quick(token))
    text = token()
    jws.decode_complete(text, SECRET.encode(), ["HS256"])

    assert [text] == taken
