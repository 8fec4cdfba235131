"""The demo page's files: headers, caching, and nothing from outside of ``static/``."""

import gzip
import re
import string
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application

from handlers import pages
from handlers.base import NotFound

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
MODULE = "/static/keepseat/client.js"
IMPORT = re.compile(r"^import .*? from '(.*?)';\n", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|^\s*//.*?$|\s+//\s.*?$", re.DOTALL | re.MULTILINE)
Get = Callable[..., Awaitable[HTTPResponse]]


@pytest.fixture
def app() -> Application:
    """The pages alone: they need no services."""
    return Application(pages.ROUTES, default_handler_class=NotFound)


@pytest.fixture
def get(http_client: AsyncHTTPClient, base_url: str) -> Get:
    """Fetches a path; an error is an answer, too."""

    async def fetch(path: str, method: str = "GET", **headers: str) -> HTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await http_client.fetch(base_url + path, method=method, headers=sent, raise_error=False)

    return fetch


def policy(response: HTTPResponse) -> dict[str, str]:
    """The content security policy by directive."""
    directives = response.headers["Content-Security-Policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


@pytest.mark.parametrize("path", ["/", "/ops", MODULE, "/static/nothing"])
async def test_says_what_the_page_may_do(get: Get, path: str) -> None:
    """Page, module and error alike: nothing inline, nobody else's, no frame, no referrer."""
    response = await get(path, Host="tickets.example:8443")

    assert POLICY | {"connect-src": "'self' ws://tickets.example:8443 wss://tickets.example:8443"} == policy(
        response
    )
    assert "no-referrer" == response.headers["Referrer-Policy"]
    assert "nosniff" == response.headers["X-Content-Type-Options"]
    assert "same-origin" == response.headers["Cross-Origin-Opener-Policy"]
    assert "DENY" == response.headers["X-Frame-Options"]
    assert {"camera=()", "payment=()"} <= set(response.headers["Permissions-Policy"].split(", "))


@pytest.mark.parametrize("host", ["evil.example;script-src *", "a b", "x'y", ""])
async def test_a_host_does_not_write_the_policy(get: Get, host: str) -> None:
    """A Host header that could end a directive is refused, or not repeated."""
    response = await get("/", Host=host)

    assert 400 == response.code or "'self'" == policy(response)["connect-src"]


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/", "text/html; charset=utf-8"), (MODULE, "text/javascript; charset=utf-8")],
)
async def test_serves_files_as_what_they_are(get: Get, path: str, content_type: str) -> None:
    """A browser runs no module of another type under nosniff."""
    response = await get(path)

    assert 200 == response.code
    assert content_type == response.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/", MODULE])
async def test_a_head_is_the_answer_without_its_body(get: Get, path: str) -> None:
    """Same length, same ETag."""
    whole, head = await get(path), await get(path, "HEAD")

    assert b"" == head.body
    assert str(len(whole.body)) == head.headers["Content-Length"]
    assert whole.headers["Etag"] == head.headers["Etag"]


@pytest.mark.parametrize("path", ["/", MODULE])
async def test_a_copy_is_asked_about_each_time(get: Get, path: str) -> None:
    """Kept, but asked about: 304 while the file is the same."""
    first = await get(path)
    again = await get(path, If_None_Match=first.headers["Etag"])

    assert "no-cache" == first.headers["Cache-Control"]
    assert (304, b"") == (again.code, again.body)


async def test_a_changed_file_is_sent_anew(
    get: Get, tmp_path_factory: pytest.TempPathFactory, app: Application
) -> None:
    """The ETag is of what the file holds now, also when the server has run for long."""
    root = tmp_path_factory.mktemp("static")
    app.add_handlers(".*", [(r"/other/(.*)", pages.File, {"path": str(root)})])
    (root / "a.js").write_text("one")
    first = await get("/other/a.js")
    (root / "a.js").write_text("two")

    second = await get("/other/a.js", If_None_Match=first.headers["Etag"])

    assert (200, b"two") == (second.code, second.body)


@pytest.mark.parametrize(
    "path",
    ["/static/nothing.js", "/static/", "/static/keepseat", "/static/../server.py", "/static/%2e%2e/server.py",
     "/static/..%2fsession/keys.py", "/static//etc/passwd", "/static/a%00b"],
)  # fmt: skip
async def test_nothing_else_is_served(get: Get, path: str) -> None:
    """Neither directories nor files from outside; errors are JSON as everywhere."""
    response = await get(path)

    assert response.code in {400, 403, 404}
    assert response.headers["Content-Type"].startswith("application/json")
    assert b'{"error":{"code":' == response.body[:17]


@pytest.mark.parametrize("path", ["/", MODULE])
async def test_a_page_is_only_read(get: Get, path: str) -> None:
    """No other method does anything."""
    response = await get(path, "DELETE")

    assert 405 == response.code


def core() -> list[Path]:
    """The modules of the client: all that ``client.js`` needs, and what that needs."""
    found = [pages.STATIC / "keepseat" / "client.js"]
    for path in found:
        needed = [path.parent / name for name in IMPORT.findall(path.read_text())]
        found += [module for module in needed if module not in found]
    return found


def shrunk(code: str) -> str:
    """As the plainest of minifiers would leave it: no comments, indents, imports; short names for what is
    private to a class, and for constants."""
    names: dict[str, str] = {}
    bare = re.sub(r"^\s+", "", IMPORT.sub("", COMMENT.sub("", code)), flags=re.MULTILINE)
    for n, constant in enumerate(dict.fromkeys(re.findall(r"\bconst ([A-Z][A-Z_]+) =", bare))):
        bare = re.sub(rf"\b{constant}\b", f"${n}", bare)
    return re.sub(
        r"#(\w+)", lambda found: names.setdefault(found[0], f"#{string.ascii_letters[len(names)]}"), bare
    )


def test_the_client_is_small() -> None:
    """Below 8 KB, minified and compressed; the comments are for those who copy it."""
    modules = core()
    code = "".join(shrunk(path.read_text()) for path in modules)

    assert {"client.js", "quality.js", "room.js", "seats.js"} < {path.name for path in modules}
    assert len(gzip.compress(code.encode())) < 8192
