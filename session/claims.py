"""What tokens say: their header and claims, read before and after the signature.

RFC 7519 says what the claims mean. A message that refuses one names claims, and nothing that they say: it is
logged.
"""

import base64
import re
import time
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from session.config import Config
from session.identity import sign_in_mark, token_mark
from session.protocol import Code, Refused

LEEWAY_SECONDS = 5
"""Clocks of two machines differ by so much at most."""
MAX_TOKEN_LENGTH = 16384
USER_ID = re.compile(r"[A-Za-z0-9_.@:|-]{1,128}")

Patterns = tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...]
Word = Annotated[str, Meta(pattern=r"\A[!-~]{1,128}\Z")]
"""Printable, without space: marks stand in notices, with spaces between."""
Moment = Annotated[int, Meta(ge=0, lt=253_402_300_800)] | Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""Unix seconds (RFC 7519, 2: NumericDate) until the year 9999; later ones are milliseconds by mistake."""


class Header(Struct, frozen=True):
    """What of a token's header chooses the key; the signature is checked against that key's own list."""

    alg: str
    kid: str | None = None


class Claims(Struct, rename="camel", kw_only=True):
    """What is read of any token; other claims may be anything."""

    exp: Moment
    sub: str | int | None = None
    user_id: str | int | None = None
    role: str | None = None
    sid: Word | None = None
    jti: Word | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    nbf: Moment | None = None
    iat: Moment | None = None


class SignInClaims(Claims, kw_only=True):
    """Those of a token that signs somebody in."""

    rooms: Patterns | None = None
    publish: Patterns | None = None
    purpose: Raw | UnsetType = UNSET


class RefreshClaims(Claims, kw_only=True):
    """Those of a refresh token: ``n`` is its generation."""

    purpose: str
    sid: Word
    n: Annotated[int, Meta(ge=1, lt=2**53)]


C = TypeVar("C", bound=Claims)
_header = msgspec.json.Decoder(Header)
SIGN_IN = msgspec.json.Decoder(SignInClaims)
REFRESHING = msgspec.json.Decoder(RefreshClaims)
"""What `read_claims` reads them with."""


def read_header(token: str) -> Header:
    """The header of a token, which nobody has verified.

    Raises:
        Refused: it has none.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        invalid("the token is too long")
    try:
        return _decode_header(token.partition(".")[0])
    except (ValueError, RecursionError):
        invalid("this is not a signed token")


@lru_cache(maxsize=64)
def _decode_header(encoded: str) -> Header:
    """All tokens of a signer have the same."""
    return _header.decode(base64.urlsafe_b64decode(encoded.encode() + b"=="))


class Expired(Refused):
    """A token that was good once; ``user_id`` is whose."""

    def __init__(self, user_id: str) -> None:
        super().__init__(Code.TOKEN_EXPIRED, "the token has expired")
        self.user_id = user_id


def invalid(message: str) -> NoReturn:
    """Refuse a token, for good."""
    raise Refused(Code.TOKEN_INVALID, message) from None


def read_claims(decoder: msgspec.json.Decoder[C], payload: bytes, config: Config) -> C:
    """The claims of a token, if it is for us and now (RFC 7519, 4.1).

    Raises:
        Refused: it is not; the message names claims, and nothing that they say.
    """
    try:
        claims = decoder.decode(payload)
    except msgspec.ValidationError as error:
        invalid(f"a claim of the token is wrong: {error}")
    except (ValueError, RecursionError):
        invalid("the token's claims are not a JSON object")
    if config.jwt_issuer and claims.iss != config.jwt_issuer:
        invalid("the token is of another issuer")
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
    if config.jwt_audience and config.jwt_audience not in audience:
        invalid("the token is for another audience")
    now = time.time()
    if max(claims.nbf or 0, claims.iat or 0) > now + LEEWAY_SECONDS:
        invalid("the token is not valid yet")
    if claims.exp <= now - LEEWAY_SECONDS:
        raise Expired(user_of(claims))
    return claims


def user_of(claims: Claims) -> str:
    """The user that a token names.

    Raises:
        Refused: it names none.
    """
    named = claims.user_id if claims.sub is None else claims.sub
    if isinstance(named, int) and abs(named) < 10**127:
        return str(named)
    if not isinstance(named, str) or not USER_ID.fullmatch(named):
        invalid("the token names no user, or one that is not 1 to 128 characters of A-Z a-z 0-9 _ . @ : | -")
    return named


def marks_of(token: str, claims: Claims) -> tuple[str, ...]:
    """By what a token can be revoked; the last is of this very one.

    Only what is signed is hashed: whoever has an ECDSA signature can write it in another way.
    """
    signed = token.rpartition(".")[0].encode()
    digest = base64.urlsafe_b64encode(sha256(signed).digest())[:22].decode()
    marks = [sign_in_mark(claims.sid)] if claims.sid else []
    return (*marks, *([token_mark(claims.jti)] if claims.jti else []), f"t:{digest}")
