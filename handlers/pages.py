"""The demo page and the browser client: plain files from ``static/``, behind strict security headers."""

import re
from pathlib import Path

from tornado.web import StaticFileHandler

from handlers.base import Handler

STATIC = Path(__file__).parents[1] / "static"
HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
"""What of a Host header may be written into a policy: nothing that could end a directive."""

PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "magnetometer",
        "microphone", "midi", "payment", "serial", "usb", "xr-spatial-tracking",
    )
)  # fmt: skip
"""The page asks for none of them, and nor may what got into it."""


def _policy(host: str) -> str:
    """The content security policy: this server only, and nothing inline.

    ``'self'`` means the WebSocket too, but older Safari wants it spelled out.
    """
    sockets = f" ws://{host} wss://{host}" if HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


class File(Handler, StaticFileHandler):
    """A file from ``static/``; errors are JSON, as everywhere."""

    def set_default_headers(self) -> None:
        """The security headers, on errors too."""
        self.set_header("Content-Security-Policy", _policy(self.request.host))
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Permissions-Policy", PERMISSIONS)
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def set_extra_headers(self, path: str) -> None:
        """Cached copies are asked about each time: a deploy must not mix two versions of the modules."""
        self.set_header("Cache-Control", "no-cache")

    def get_content_type(self) -> str:
        """As Tornado guesses, but a script is ``text/javascript`` whatever this machine's tables say."""
        if self.path.endswith(".js"):
            return "text/javascript; charset=utf-8"
        guess = super().get_content_type()
        return f"{guess}; charset=utf-8" if guess.startswith("text/") else guess

    def compute_etag(self) -> str | None:
        """A hash of what the file holds now; Tornado's own remembers the first one for good."""
        return f'"{self.get_content_version(self.absolute_path)}"' if self.absolute_path else None


class Page(File):
    """A page at an address of its own: ``name`` is its file."""

    def initialize(self, path: str, name: str) -> None:  # type: ignore[override]
        """Which one it is."""
        super().initialize(path)
        self._name = name

    async def get(self, path: str = "", include_body: bool = True) -> None:
        await super().get(self._name, include_body)

    async def head(self, path: str = "") -> None:
        await self.get(include_body=False)


class Document(Page):
    """What a machine reads of the API: from any site, for it holds nothing of anybody's."""

    def set_default_headers(self) -> None:
        """Tools that show it or make clients of it run on pages of their own."""
        super().set_default_headers()
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")

    async def get(self, path: str = "", include_body: bool = True) -> None:
        """The description of the API for machines."""
        await super().get(path, include_body)


_ROOT = {"path": str(STATIC)}
ROUTES = [
    (r"/", Page, {**_ROOT, "name": "index.html"}),
    (r"/ops", Page, {**_ROOT, "name": "ops.html"}),
    (r"/openapi.json", Document, {**_ROOT, "name": "openapi.json"}),
    (r"/asyncapi.json", Document, {**_ROOT, "name": "asyncapi.json"}),
    # no escapes: no file of ours needs any, and %00 would be an error of the file system
    (r"/static/([A-Za-z0-9._/-]+)", File, _ROOT),
]
