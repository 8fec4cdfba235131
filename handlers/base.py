"""What all HTTP handlers share: JSON in, JSON out, and errors that say what is wrong."""

import hmac
import logging
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from session.protocol import Code, Refused
from session.services import Services

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_BODY_BYTES = 128 * 1024
MAX_EVENT_BODY_BYTES = 8 * 1024 * 1024

STATUS_OF = {
    Code.BAD_JSON: 400,
    Code.BAD_MESSAGE: 422,
    Code.TOKEN_REQUIRED: 401,
    Code.TOKEN_INVALID: 401,
    Code.TOKEN_EXPIRED: 401,
    Code.TOKEN_REVOKED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.SEAT_UNAVAILABLE: 409,
    Code.HOLD_LIMIT: 409,
    Code.NOT_OPEN: 409,
    Code.NOT_ADMITTED: 409,
    Code.UNKNOWN_SEAT: 422,
    Code.TOO_MANY_SEATS: 422,
    Code.RATE_LIMITED: 429,
    Code.UNAVAILABLE: 503,
}
CODE_OF = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    426: "upgrade_required",
    503: "unavailable",
}


class Fault(Struct, frozen=True):
    """What is wrong: ``code`` is for programs, ``message`` for people."""

    code: str
    message: str
    details: dict[str, Any] | UnsetType = UNSET


class Problem(Struct, frozen=True):
    """The body of every error."""

    error: Fault


def api_key_of(request: HTTPServerRequest, services: Services) -> str:
    """Which of the API keys a request from the back end brings; empty where it brings none."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    sent = given.strip().encode()
    # each is compared, whether another fits or not: the time tells nothing
    same = [key for key in services.api_keys if hmac.compare_digest(sent, key.encode())]
    return same[0] if same and scheme.lower() == "bearer" else ""


class Edge(RequestHandler):
    """What HTTP handlers and the WebSocket have in common."""

    @property
    def services(self) -> Services:
        """The services of this process."""
        services: Services = self.settings["services"]
        return services

    def _origin_matches_host(self, origin: str) -> bool:
        """As Tornado's, for which an ``Origin`` that is no URL is a mistake of ours."""
        try:
            return bool(super()._origin_matches_host(origin))
        except ValueError:
            return False

    @classmethod
    def methods(cls) -> list[str]:
        """The methods that there are here (RFC 9110, 15.5.6)."""
        missing = RequestHandler._unimplemented_method
        return [name for name in cls.SUPPORTED_METHODS if getattr(cls, name.lower(), missing) is not missing]

    def answer(self, value: Any, status: int = 200) -> None:
        """Finish with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(msgspec.json.encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error is ``{"error":{"code","message","details"?}}``."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, Refused):
            fault = Fault(error.code.value, error.message, UNSET if error.details is None else error.details)
        else:
            said = error.log_message if isinstance(error, HTTPError) else None
            fault = Fault(CODE_OF.get(status_code, "error"), said or self._reason)
        if status_code == 503:
            self.set_header("Retry-After", "1")
        if status_code == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.methods()))
        if status_code == 426:
            self.set_header("Sec-WebSocket-Version", "13")
        self.answer(Problem(fault), status_code)


class Handler(Edge):
    """Base of the HTTP handlers. A `Refused` that escapes becomes its JSON error."""

    max_body_bytes = MAX_BODY_BYTES

    @classmethod
    def most_body_bytes(cls, request: HTTPServerRequest, services: Services) -> int:
        """How much of a body is kept, asked as soon as the request's head has come."""
        return cls.max_body_bytes

    def prepare(self) -> None:
        """Refuse bodies over this handler's limit."""
        if len(self.request.body) > self.max_body_bytes:
            raise HTTPError(413, "body too large")

    def body(self, type: type[T]) -> T:
        """The request's body as JSON of that type.

        Raises:
            Refused: it is not JSON (400), or breaks a field's rule (422).
        """
        try:
            return msgspec.json.decode(self.request.body.decode("utf-8") or "null", type=type)
        except msgspec.ValidationError as error:
            raise Refused(Code.BAD_MESSAGE, str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused(Code.BAD_JSON, "the body is not JSON") from None

    def require_api_key(self) -> None:
        """Raise 404 where no key is configured, 401 where another or none was sent."""
        if not self.services.api_keys:
            raise HTTPError(404)
        key = api_key_of(self.request, self.services)
        if not key:
            raise HTTPError(401)
        if key != self.services.api_key:
            self.services.metrics.previous_keys.labels("api").inc()

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is ours to mend; a refused request is none."""
        if isinstance(value, Refused):
            return
        if isinstance(value, HTTPError) and value.status_code < 500:
            return
        log.error("request failed: %s %s", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Choose the status that fits a `Refused`."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, Refused):
            status_code = STATUS_OF.get(error.code, 400)
        super().send_error(status_code, **kwargs)


class NotFound(Handler):
    """Whatever no other handler is for."""

    def prepare(self) -> None:
        raise HTTPError(404, "there is nothing here")
