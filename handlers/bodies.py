"""Bodies of requests within limits, before anybody has looked at them.

Tornado keeps a whole body before a handler may say that it is too large, or that its sender has no key.
"""

from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from handlers.base import MAX_EVENT_BODY_BYTES, Handler
from session.services import Services

MAX_DRAINED_BYTES = 2 * MAX_EVENT_BODY_BYTES
"""Most of a body that is read at all. Up to here one that is too large is read and thrown away, so that its
sender hears the answer: a line that is closed while it sends is reset, and the answer is lost."""


class BoundedApplication(Application):
    """`Application` that keeps no more of a body than its handler wants."""

    def get_handler_delegate(self, request: HTTPServerRequest, target_class: type[RequestHandler],
                             *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """What takes in this request, once its head has come."""
        if _declared(request) > MAX_DRAINED_BYTES:
            return super().get_handler_delegate(request, TooLarge)
        services: Services = self.settings["services"]
        most = target_class.most_body_bytes(request, services) if issubclass(target_class, Handler) else 0
        return _Bounded(super().get_handler_delegate(request, target_class, *args, **kwargs), most)


def _declared(request: HTTPServerRequest) -> int:
    """What the request says that its body has; Tornado refuses what is no number."""
    length = request.headers.get("Content-Length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


class _Bounded(HTTPMessageDelegate):
    """Passes on one byte more of a body than is allowed, by which the handler knows that it is too large."""

    def __init__(self, inner: Any, most: int) -> None:
        self._inner = inner
        self._left = most + 1
        self.finish = inner.finish  # type: ignore[method-assign]
        self.on_connection_close = inner.on_connection_close  # type: ignore[method-assign]

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        """Pass on."""
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        """Pass on what there is room for."""
        piece, self._left = chunk[: self._left], max(0, self._left - len(chunk))
        return self._inner.data_received(piece) if piece else None


@stream_request_body
class TooLarge(Handler):
    """Whatever comes with a body that nobody here would read: refused before it is sent."""

    def prepare(self) -> None:
        """Refuse; the line is closed behind the answer."""
        raise HTTPError(413, "body too large")

    def data_received(self, chunk: bytes) -> None:
        """Nobody wants it."""
