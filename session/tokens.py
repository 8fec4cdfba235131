"""Tokens: who a client is, by a signature; and the tokens that the demo's sign-in issues.

Only this module imports jwt. RFC 8725 says how not to be fooled: the algorithms are a fixed list, each key is
used with its own family only (a public RSA key never verifies an HMAC), and a token made for another purpose
is no sign-in token.
"""

import asyncio
import base64
import binascii
import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import HMACAlgorithm
from msgspec import UNSET, Struct

from session.claims import (
    MAX_TOKEN_LENGTH,
    REFRESHING,
    SIGN_IN,
    Header,
    SignInClaims,
    invalid,
    marks_of,
    read_claims,
    read_header,
    user_of,
)
from session.config import Config, ConfigError
from session.identity import Identity
from session.jwks import KeySet
from session.protocol import Code, Refused
from session.verified import Verified

SHARED = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS = frozenset((*SHARED, *RSA, *CURVES.values(), "EdDSA"))
KEY_SET_DEFAULT = ("RS256", "ES256", "EdDSA")

REFRESH = "refresh"
"""The purpose of a refresh token."""
ENTRY = "entry"
"""The purpose of the pass that a waiting room gives to whom it lets in."""
ENTRY_SECONDS = 600


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a valid refresh token says: its ``generation``, from 1, and when the sign-in ends (Unix
    seconds)."""

    user_id: str
    sign_in: str
    generation: int
    ends_at: int


# --- keys ---


@dataclass(frozen=True, slots=True)
class _Key:
    """A key with the only algorithms that it is used with."""

    material: Any
    algorithms: tuple[str, ...]
    kid: str | None = None
    is_previous: bool = False
    """Whether it is on its way out: nothing is signed with it."""


class _PreparedHMAC(HMACAlgorithm):
    """HMAC whose key was checked when it was read: PyJWT looks at it again with each token, which takes as
    long as all the rest."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else super().prepare_key(key)


def _decoded(segment: bytes) -> bytes | None:
    """The bytes of a segment that is the only way to write them; None where it is not."""
    try:
        decoded = base64.urlsafe_b64decode(segment + b"==")
    except binascii.Error:
        return None
    return decoded if base64.urlsafe_b64encode(decoded).rstrip(b"=") == segment else None


@lru_cache(maxsize=64)
def _usual_header(segment: bytes) -> dict[str, Any] | None:
    """A header that may be of any token; all of a signer have the same, which is not to be changed."""
    try:
        header = json.loads(_decoded(segment) or b"")
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) and "b64" not in header else None


class _QuickJWS(jwt.PyJWS):
    """PyJWT looks at each character of a token by itself, which takes longer than all the rest. What is the
    only way to write what it stands for needs no second look; anything else is taken apart there. The
    signature is always PyJWT's to verify."""

    def _load(self, jwt: str | bytes) -> tuple[bytes, bytes, dict[str, Any], bytes]:
        parts = (jwt.encode() if isinstance(jwt, str) else jwt).split(b".")
        if len(parts) == 3:
            header, payload, signature = _usual_header(parts[0]), _decoded(parts[1]), _decoded(parts[2])
            if header is not None and payload is not None and signature is not None:
                return payload, b".".join(parts[:2]), dict(header), signature
        return super()._load(jwt)


def _make_jws() -> jwt.PyJWS:
    jws = _QuickJWS()
    digests = (HMACAlgorithm.SHA256, HMACAlgorithm.SHA384, HMACAlgorithm.SHA512)
    for name, digest in zip(SHARED, digests, strict=True):
        jws.unregister_algorithm(name)
        jws.register_algorithm(name, _PreparedHMAC(digest))
    return jws


def _fitting(material: Any) -> tuple[str, ...]:
    """The algorithms of a key's family, the usual one first."""
    if isinstance(material, bytes):
        return SHARED
    if isinstance(material, rsa.RSAPublicKey):
        return RSA
    if isinstance(material, ec.EllipticCurvePublicKey):
        return (CURVES[material.curve.name],) if material.curve.name in CURVES else ()
    return ("EdDSA",) if isinstance(material, ed25519.Ed25519PublicKey) else ()


def _is_weak(material: Any, algorithms: Iterable[str]) -> bool:
    """Whether a key is shorter than RFC 7518, 3.2 and 3.3 demand."""
    return any(jwt.get_algorithm_by_name(name).check_key_length(material) for name in algorithms)


def _configured(option: str, material: Any, allowed: Sequence[str]) -> _Key:
    """A key that an option gives, with the algorithms allowed for it.

    Raises:
        ConfigError: there are none, or the key is too short for one.
    """
    fitting = _fitting(material)
    if not fitting:
        raise ConfigError(f"{option}: must be an RSA, P-256, P-384, P-521 or Ed25519 key")
    algorithms = tuple(name for name in fitting if name in allowed) if allowed else fitting[:1]
    if not algorithms:
        raise ConfigError(f"--jwt-algorithms: none of them fits the key of {option}")
    if _is_weak(material, algorithms):
        raise ConfigError(f"{option}: the key is too short for {' or '.join(algorithms)}")
    return _Key(material, algorithms)


def _secret_keys(config: Config, secret: str) -> list[_Key]:
    """The secret that signs, and the previous one; first the one that most tokens are signed with."""
    given = [_secret_key(config, "--jwt-secret" if config.jwt_secret else "--demo", secret)] if secret else []
    if config.jwt_previous_secret:
        key = _secret_key(config, "--jwt-previous-secret", config.jwt_previous_secret)
        given.append(replace(key, is_previous=True))
    return given


def _secret_key(config: Config, option: str, secret: str) -> _Key:
    try:
        material = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except (jwt.InvalidKeyError, UnicodeError):
        raise ConfigError(f"{option}: is a key of another kind, and no secret") from None
    return _configured(option, material, config.jwt_algorithms)


def _public_key(config: Config) -> _Key:
    text = config.jwt_public_key.replace("\\n", "\n")
    try:
        pem = text if "-----BEGIN" in text else Path(config.jwt_public_key).read_text()
        material = load_pem_public_key(pem.encode())
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise ConfigError(f"--jwt-public-key: neither PEM nor a file to read ({reason})") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("--jwt-public-key: holds no public key in PEM") from None
    return _configured("--jwt-public-key", material, config.jwt_algorithms)


def _key_set(config: Config) -> KeySet[_Key]:
    url = config.jwt_jwks_url
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", url):
        raise ConfigError("--jwt-jwks-url: must be an http:// or https:// URL")
    algorithms = [name for name in config.jwt_algorithms or KEY_SET_DEFAULT if name not in SHARED]
    if not algorithms:
        raise ConfigError("--jwt-algorithms: none of them fits the keys of --jwt-jwks-url")
    return KeySet(url, lambda body: _parse_key_set(body, algorithms))


class _JWKS(Struct):
    keys: list[Any]


def _parse_key_set(body: bytes, allowed: Sequence[str]) -> list[_Key]:
    """The keys of a set that verify signatures; others are skipped (RFC 7517, 5).

    Raises:
        ValueError: there are none.
    """
    found = [_remote_key(data, allowed) for data in msgspec.json.decode(body, type=_JWKS).keys]
    keys = [key for key in found if key is not None]
    if not keys:
        raise ValueError("the set has no key that verifies signatures")
    return keys


def _remote_key(data: Any, allowed: Sequence[str]) -> _Key | None:
    try:
        if data.get("use", "sig") != "sig" or "verify" not in data.get("key_ops", ["verify"]):
            return None
        material = jwt.PyJWK(data).key
    except Exception:  # a key may be bad in more ways than its readers have names for
        return None
    kid, only = data.get("kid"), data.get("alg")
    algorithms = tuple(name for name in _fitting(material) if name in allowed and only in (None, name))
    # a shared secret has no place in a set that is fetched
    if not algorithms or isinstance(material, bytes) or _is_weak(material, algorithms):
        return None
    return _Key(material, algorithms, kid if isinstance(kid, str) else None)


def _open(jws: jwt.PyJWS, token: str, keys: Iterable[_Key]) -> tuple[bytes, _Key] | None:
    """The payload of a token, and which of the keys has signed it; None where none has."""
    for key in keys:
        try:
            payload: bytes = jws.decode_complete(token, key.material, key.algorithms)["payload"]
        except (jwt.PyJWTError, ValueError):
            continue
        return payload, key
    return None


# --- verifying ---


class Verifier:
    """Checks sign-in tokens with the keys of the options. `run` it as a task."""

    def __init__(self, config: Config, secret: str) -> None:
        """Read the keys; ``secret`` is the HMAC secret, empty for none.

        Raises:
            ConfigError: one cannot be read, or the algorithms do not fit them.
        """
        unknown = set(config.jwt_algorithms) - ALGORITHMS
        if unknown:
            raise ConfigError(
                f"--jwt-algorithms: {min(unknown)!r} is none of {', '.join(sorted(ALGORITHMS))}"
            )
        self._config = config
        self._jws = _make_jws()
        self._verified = Verified(config.max_connections)
        self.on_previous: Callable[[], object] = lambda: None
        """Told that a token came that the previous secret has signed."""
        self._keys = _secret_keys(config, secret)
        self._keys += [_public_key(config)] if config.jwt_public_key else []
        self._key_set = _key_set(config) if config.jwt_jwks_url else None
        used = {name for key in self._keys for name in key.algorithms}
        stray = [name for name in config.jwt_algorithms if name not in used]
        if self._key_set is not None:
            stray = [name for name in stray if name in SHARED]
        if stray:
            raise ConfigError(f"--jwt-algorithms: there is no key for {stray[0]}")

    async def run(self) -> None:
        """Keep the key set fresh; without one, do nothing for ever."""
        if self._key_set is None:
            await asyncio.Event().wait()
        else:
            await self._key_set.run()

    async def verify(self, token: str) -> Identity:
        """Who the token says its bearer is. Waits, for 2 s at most, only where its key is missing.

        Raises:
            Refused: it is invalid or expired; or the keys to tell with could not be had yet (unavailable).
        """
        keys = self._keys if self._key_set is None else self._key_set.keys
        known = self._verified.find(token, keys)
        if known is not None:
            return known
        header = read_header(token)
        opened = _open(self._jws, token, self._candidates(header))
        if opened is None and await self._learn(header):
            opened = _open(self._jws, token, self._candidates(header))
        if opened is None:
            invalid("the token is not signed with a key and an algorithm that count here")
        payload, key = opened
        identity = self._identity(token, read_claims(SIGN_IN, payload, self._config))
        if key.is_previous:
            self.on_previous()
        else:
            self._verified.keep(token, identity)
        return identity

    def _candidates(self, header: Header) -> list[_Key]:
        """The keys that may have signed it: of a set the one it names, or the only one possible."""
        keys = [key for key in self._keys if header.alg in key.algorithms]
        if self._key_set is None:
            return keys
        remote = [key for key in self._key_set.keys if header.alg in key.algorithms]
        if header.kid is not None:
            return keys + [key for key in remote if key.kid == header.kid]
        return keys + (remote if len(remote) == 1 else [])

    async def _learn(self, header: Header) -> bool:
        """Wait for the key set where it is missing, or lacks the key that the token names; whether another
        look makes sense.

        Raises:
            Refused: no set was ever had.
        """
        key_set = self._key_set
        if key_set is None or header.alg not in (self._config.jwt_algorithms or KEY_SET_DEFAULT):
            return False
        if header.alg in SHARED:
            return False
        if key_set.keys and (header.kid is None or any(key.kid == header.kid for key in key_set.keys)):
            return False
        await key_set.demand()
        if not key_set.keys:
            raise Refused(Code.UNAVAILABLE, "the keys to check tokens with are away", {"outcome": "none"})
        return True

    @staticmethod
    def _identity(token: str, claims: SignInClaims) -> Identity:
        if claims.purpose is not UNSET:
            invalid("the token is for another purpose than signing in")
        return Identity(
            user_id=user_of(claims),
            role=claims.role or "user",
            expires_at=int(claims.exp),
            sign_in=claims.sid,
            marks=marks_of(token, claims),
            issued_at_ms=int((claims.iat or 0) * 1000),
            rooms=claims.rooms or (),
            publish=claims.publish or (),
        )


# --- issuing ---


class Issuer:
    """Signs passes, and the tokens of the demo's sign-in, with the HMAC secret."""

    def __init__(self, config: Config, secret: str) -> None:
        """Read the secret; an empty one signs nothing. The previous one is good for refresh tokens only.

        Raises:
            ConfigError: it is of no use.
        """
        self._config = config
        self._jws = _make_jws()
        self._keys = _secret_keys(config, secret)
        self._own = next((key for key in self._keys if not key.is_previous), None)

    def access(
        self, user_id: str, role: str, sign_in: str, now: float, life: float | None = None
    ) -> tuple[str, int]:
        """An access token, and when it expires (Unix ms); ``now`` is Unix seconds, ``life`` another one than
        the option's."""
        expires_at = int(now + (life or self._config.access_token_ttl))
        claims = {
            "jti": secrets.token_urlsafe(12),
            "sub": user_id,
            "role": role,
            "sid": sign_in,
            "iat": int(now),
            "exp": expires_at,
            "rooms": ["chat:*"],
            "publish": ["chat:*"],
        }
        return self._sign(claims, self._config.jwt_audience), expires_at * 1000

    def refresh(self, refresh: RefreshToken) -> str:
        """A refresh token; always the same one for the same generation of a sign-in."""
        claims = {
            "purpose": REFRESH,
            "sub": refresh.user_id,
            "sid": refresh.sign_in,
            "n": refresh.generation,
            "exp": refresh.ends_at,
        }
        return self._sign(claims, self._config.jwt_audience)

    def entry(self, user_id: str, event_id: str, until_ms: int | None, now_ms: int) -> str | None:
        """A pass: this user was let in. It is good for ten minutes, or until ``until_ms`` if that is sooner.

        None where there is no secret to sign it with.
        """
        if self._own is None:
            return None
        end = now_ms // 1000 + ENTRY_SECONDS
        claims: dict[str, Any] = {
            "purpose": ENTRY,
            "sub": user_id,
            "eventId": event_id,
            "iat": now_ms // 1000,
            "exp": end if until_ms is None else min(end, until_ms // 1000),
        }
        # without an audience: who wants one of a sign-in token takes no pass for one
        return self._sign(claims, audience="")

    def verify_refresh(self, token: str) -> RefreshToken:
        """What a refresh token says; whether it still stands, the store knows.

        Raises:
            Refused: it is invalid or expired.
        """
        opened = _open(self._jws, token, self._keys) if len(token) <= MAX_TOKEN_LENGTH else None
        if opened is None:
            invalid("this is no refresh token of this server")
        claims = read_claims(REFRESHING, opened[0], self._config)
        if claims.purpose != REFRESH:
            invalid("the token is for another purpose than refreshing")
        return RefreshToken(user_of(claims), claims.sid, claims.n, int(claims.exp))

    def _sign(self, claims: dict[str, Any], audience: str) -> str:
        key = self._own
        if key is None:
            raise RuntimeError("there is no secret to sign tokens with")
        common = {"iss": self._config.jwt_issuer, "aud": audience}
        claims |= {name: value for name, value in common.items() if value}
        return self._jws.encode(msgspec.json.encode(claims), key.material, key.algorithms[0])
