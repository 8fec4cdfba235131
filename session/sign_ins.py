"""Sign-ins: from a login, over ever new refresh tokens, to the logout that ends it on every server.

A refresh token is used once (RFC 9700, 4.14.2). Two tabs that use it at once, or a lost answer, must not
sign anybody out: within the grace it brings its successor again. A use after that means that it was
stolen, and ends the sign-in. The store keeps a number for each sign-in, and no token.
"""

import secrets
import time
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from session import keys
from session.claims import LEEWAY_SECONDS, USER_ID
from session.config import Config
from session.identity import sign_in_mark
from session.protocol import Code, Refused
from session.store import Arg, Store
from session.tokens import Issuer, RefreshToken, Verifier

ROLE = "user"
CLOCK_SLACK_SECONDS = 60
"""The store and whoever signed a token may disagree by so much about when it ends; a revocation, or what
is known of a sign-in, is kept so much longer."""


class _Ending(NamedTuple):
    """What is to be revoked; the arguments of `SignIns.revoke`."""

    user_id: str
    mark: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A pair of tokens. ``expires_at`` is that of the access token in Unix ms, ``ends_at`` that of the
    sign-in, and so of the refresh token, in Unix seconds."""

    user_id: str
    token: str
    expires_at: int
    refresh_token: str
    ends_at: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation that stands: until when (Unix ms), and whether all replicas have it, None where there are
    none."""

    kept_until: int
    replicated: bool | None


class SignIns:
    """Operations on sign-ins; each is one script, and safe to repeat."""

    def __init__(self, store: Store, verifier: Verifier, issuer: Issuer, config: Config) -> None:
        self._store = store
        self._verifier = verifier
        self._issuer = issuer
        self._access_seconds = config.access_token_ttl
        self._life_seconds = config.refresh_token_ttl
        self._grace_ms = int(config.refresh_grace * 1000)

    async def login(self, name: str) -> SignedIn:
        """Begin a sign-in under a name, as the demo lets everyone.

        Raises:
            Refused: the name has not 1 to 128 characters.
            Unavailable: the store did not answer in time.
        """
        user_id = user_id_of(name)
        first = RefreshToken(user_id, secrets.token_urlsafe(16), 1, int(time.time() + self._life_seconds))
        life_ms = int((self._life_seconds + CLOCK_SLACK_SECONDS) * 1000)
        await self._store.script("sign_in", [keys.family(user_id, first.sign_in)], [life_ms])
        return self._pair(first)

    async def refresh(self, token: str) -> SignedIn:
        """A new pair for a refresh token.

        Raises:
            Refused: it is invalid, expired or revoked; or it had been used, and its sign-in is now revoked.
            Unavailable: the store did not answer in time.
        """
        used = self._issuer.verify_refresh(token)
        k = keys.user(used.user_id)
        answer = await self._store.script(
            "sign_in_refresh",
            [keys.family(used.user_id, used.sign_in), k.revoked, k.counter, k.cut],
            [
                k.channel,
                used.user_id,
                sign_in_mark(used.sign_in),
                used.generation,
                secrets.token_urlsafe(8),
                self._grace_ms,
                self._until_ms(used.ends_at),
            ],
        )
        if answer[0] != b"ok":
            raise Refused(Code.TOKEN_REVOKED, "this sign-in has ended")
        return self._pair(RefreshToken(used.user_id, used.sign_in, int(answer[1]), used.ends_at))

    async def logout(self, *, refresh_token: str = "", token: str = "") -> None:
        """End the sign-ins that a refresh token and an access token belong to; either may be empty.

        Raises:
            Refused: there is no token, or none that is valid.
            Unavailable: the store did not answer in time.
        """
        if not refresh_token and not token:
            raise Refused(Code.TOKEN_REQUIRED, "there is no token to sign out with")
        endings: list[_Ending] = []
        refusals: list[Refused] = []
        for read, text in ((self._ending_of_refresh, refresh_token), (self._ending_of_access, token)):
            try:
                endings += [await read(text)] if text else []
            except Refused as refused:
                if refused.code is Code.UNAVAILABLE:
                    raise
                refusals.append(refused)
        for ending in endings:
            await self.revoke(ending.user_id, ending.mark, ending.until_ms)
        if not endings:
            raise refusals[0]

    async def revoke(self, user_id: str, mark: str, until_ms: int) -> None:
        """Revoke a mark of a user's tokens (`session.tokens.Identity.marks`) until all of them have expired:
        connections with one close, on every server, and none is let in.

        Raises:
            Unavailable: the store did not answer in time.
        """
        await self._store.script(*_revoking(user_id, mark, until_ms))

    async def revoke_for_back_end(
        self, user_id: str, mark: str = "", expires_at_ms: int | None = None
    ) -> Revocation:
        """Revoke a mark of a user's tokens, or, without one, all that were issued until now; wait a moment
        for the replicas. ``expires_at_ms`` is when the last of them ends (Unix ms), by default a sign-in's
        whole life from now.

        Raises:
            Refused: that has passed.
            Unavailable: the store did not answer in time.
        """
        now = time.time()
        if expires_at_ms is None:
            until_ms = self._until_ms(now + self._life_seconds)
        elif expires_at_ms > now * 1000:
            until_ms = expires_at_ms + (LEEWAY_SECONDS + CLOCK_SLACK_SECONDS) * 1000
            if not mark:  # nothing else stops the refresh tokens of all the sign-ins
                until_ms = max(until_ms, self._until_ms(now + self._life_seconds))
        else:
            raise Refused(Code.BAD_MESSAGE, "expiresAt: has passed, or is not in milliseconds")
        call = _revoking(user_id, mark, until_ms)
        return Revocation(until_ms, (await self._store.script_replicated(*call))[1])

    async def _ending_of_refresh(self, text: str) -> _Ending:
        refresh = self._issuer.verify_refresh(text)
        return _Ending(refresh.user_id, sign_in_mark(refresh.sign_in), self._until_ms(refresh.ends_at))

    async def _ending_of_access(self, text: str) -> _Ending:
        """A whole sign-in may bring more tokens for as long as one lives; else it is this token alone."""
        identity = await self._verifier.verify(text)
        ends_at = identity.expires_at
        if identity.sign_in is not None:
            ends_at = max(ends_at, int(time.time() + self._life_seconds))
        return _Ending(identity.user_id, identity.mark, self._until_ms(ends_at))

    def _until_ms(self, ends_at: float) -> int:
        """Until when nothing of a sign-in that ends then (Unix seconds) may be let in: the last access
        token may have been issued just before."""
        return int((ends_at + self._access_seconds + LEEWAY_SECONDS + CLOCK_SLACK_SECONDS) * 1000)

    def _pair(self, refresh: RefreshToken) -> SignedIn:
        token, expires_at = self._issuer.access(refresh.user_id, ROLE, refresh.sign_in, time.time())
        return SignedIn(refresh.user_id, token, expires_at, self._issuer.refresh(refresh), refresh.ends_at)


def _revoking(user_id: str, mark: str, until_ms: int) -> tuple[str, list[str], list[Arg]]:
    """The script that revokes a mark, or all for an empty one, its keys and its arguments."""
    k = keys.user(user_id)
    if not mark:
        return "user_revoke", [k.cut, k.counter], [k.channel, user_id, until_ms]
    kind, _, name = mark.partition(":")
    family = [keys.family(user_id, name)] if kind == "s" else []
    return "sign_in_revoke", [k.revoked, k.counter, *family], [k.channel, user_id, mark, until_ms]


def user_id_of(name: str) -> str:
    """The user id of a name: the name itself where it is one, else one derived from it, always the same.

    Raises:
        Refused: the name is empty.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise Refused(Code.BAD_MESSAGE, "name: must not be empty")
    return name if USER_ID.fullmatch(name) else f"u-{sha256(name.encode()).hexdigest()[:32]}"
