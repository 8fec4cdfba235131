"""``/auth``: signing in by name for the demo, renewing a sign-in, and signing out.

The refresh token of a browser is a cookie that scripts cannot read and other sites cannot send (RFC
6265bis); a client that keeps its refresh token itself sends it in the body. Nothing here is cached.
"""

import time

from msgspec import UNSET, Struct, UnsetType
from tornado.web import HTTPError

from handlers.base import Handler
from session.protocol import Code, Refused, UnixMs
from session.sign_ins import SignedIn

COOKIE = "keepseat_refresh"
PATH = "/auth"


class LoginBody(Struct):
    name: str


class RefreshBody(Struct, rename="camel"):
    refresh_token: str | None = None


class Tokens(Struct, rename="camel", frozen=True):
    """What a client gets; ``expires_at`` is Unix milliseconds."""

    token: str
    expires_at: UnixMs
    user_id: str
    refresh_token: str | UnsetType = UNSET


class AuthHandler(Handler):
    """Base: answers with tokens, and keeps the cookie."""

    def set_default_headers(self) -> None:
        """Tokens are nobody else's (RFC 6749, 5.1)."""
        self.set_header("Cache-Control", "no-store")

    def answer_with_cookie(self, signed_in: SignedIn) -> None:
        """Answer a browser: the refresh token goes where no script reads it."""
        self.set_cookie(
            COOKIE,
            signed_in.refresh_token,
            path=PATH,
            max_age=max(0, int(signed_in.ends_at - time.time())),
            httponly=True,
            samesite="Strict",
            secure=self._is_https,
        )
        self.answer(Tokens(signed_in.token, signed_in.expires_at, signed_in.user_id))

    def drop_cookie(self) -> None:
        """Make the browser forget the refresh token."""
        self.clear_cookie(COOKIE, path=PATH, httponly=True, samesite="Strict", secure=self._is_https)

    @property
    def _is_https(self) -> bool:
        """Whether the browser uses https. A balancer's header is believed from anyone: who lies about it
        only loses a cookie."""
        hops = self.request.headers.get("X-Forwarded-Proto", "").lower().split(",")
        return self.request.protocol == "https" or "https" in (hop.strip() for hop in hops)


class Login(AuthHandler):
    """``/auth/login``: the demo lets everyone in under any name."""

    async def post(self) -> None:
        """Begin a sign-in."""
        if not self.services.config.is_demo:
            raise HTTPError(404, "there is no sign-in by name here")
        self.answer_with_cookie(await self.services.sign_ins.login(self.body(LoginBody).name))


class Refresh(AuthHandler):
    """``/auth/refresh``: a new pair of tokens for a refresh token, which is then used up."""

    async def post(self) -> None:
        """Renew, by body or else by cookie."""
        body = self.body(RefreshBody) if self.request.body else RefreshBody()
        if body.refresh_token is not None:
            signed_in = await self.services.sign_ins.refresh(body.refresh_token)
            self.answer(
                Tokens(signed_in.token, signed_in.expires_at, signed_in.user_id, signed_in.refresh_token)
            )
            return
        cookie = self.get_cookie(COOKIE)
        if cookie is None:
            raise Refused(Code.TOKEN_REQUIRED, "there is no refresh token")
        self.answer_with_cookie(await self.services.sign_ins.refresh(cookie))


class Logout(AuthHandler):
    """``/auth/logout``: ends a sign-in, and closes its connections on every server."""

    async def post(self) -> None:
        """Sign out, by cookie, bearer token, or both."""
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        try:
            await self.services.sign_ins.logout(
                refresh_token=self.get_cookie(COOKIE) or "",
                token=credentials.strip() if scheme.lower() == "bearer" else "",
            )
        except Refused as refused:
            # what is no good is not worth keeping; what is may be needed to try again
            if refused.code is not Code.UNAVAILABLE:
                self.drop_cookie()
            raise
        self.drop_cookie()
        self.set_status(204)


ROUTES = [
    (rf"{PATH}/login", Login),
    (rf"{PATH}/refresh", Refresh),
    (rf"{PATH}/logout", Logout),
]
