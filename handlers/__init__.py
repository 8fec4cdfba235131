"""The edge: URLs and the sockets behind them. With server.py the only code that imports tornado."""

import logging

from tornado.web import RequestHandler

from handlers.api import ROUTES as API
from handlers.audit import Audit
from handlers.auth import ROUTES as AUTH
from handlers.base import NotFound
from handlers.bodies import BoundedApplication
from handlers.demo import ROUTES as DEMO
from handlers.doorway import Doorway
from handlers.ops import ROUTES as OPS
from handlers.pages import ROUTES as PAGES
from handlers.socket import Socket
from session.descriptors import Descriptors
from session.services import Services

access = logging.getLogger("keepseat.access")


def make_app(services: Services, descriptors: Descriptors) -> BoundedApplication:
    """All URLs of a server process."""
    return BoundedApplication(
        [(r"/ws", Socket), *OPS, *AUTH, *API, *DEMO, *PAGES],
        services=services,
        doorway=Doorway(services.config, descriptors),
        audit=Audit(),
        default_handler_class=NotFound,
        cross_origin_protection=True,
        trusted_origins=list(services.config.allowed_origins),
        log_function=log_request,
    )


def log_request(handler: RequestHandler) -> None:
    """The access log: never the query string, where a token may stand."""
    if not access.isEnabledFor(logging.DEBUG):
        return
    request = handler.request
    access.debug(
        "%s %s %d %.1f ms", request.method, request.path, handler.get_status(), 1000 * request.request_time()
    )
