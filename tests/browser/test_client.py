"""The client on pages that are not ours: the one of ``docs/client.md``, and the recipes for React and Vue."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import EVENT, NO_JITTER, BackEnd, Visit, Visitor
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess
from tests.support.tokens import token

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
APPS = Path(__file__).parent / "apps"
NPM = ROOT / ".venv" / "recipes" / "node_modules"
COMMON_JS = {
    "npm/react.js": ("react/cjs/react.development.js", []),
    "npm/scheduler.js": ("scheduler/cjs/scheduler.development.js", []),
    "npm/react-dom.js": ("react-dom/cjs/react-dom.development.js", ["react"]),
    "npm/react-dom-client.js": (
        "react-dom/cjs/react-dom-client.development.js",
        ["react", "scheduler", "react-dom"],
    ),
}
"""React comes as CommonJS only: each of its files, and the ones that it requires."""

Serve = Callable[[str], str]
Bare = Callable[..., Visitor]


def first_page() -> str:
    """The page of ``docs/client.md``, for our event."""
    (html,) = re.findall(r"```html\n(.*?)```", (DOCS / "client.md").read_text(), re.DOTALL)
    return html.replace("123", "boats")


def as_module(path: str, required: list[str]) -> str:
    """A CommonJS file as an ES module, as a bundler would make it."""
    code = (NPM / path).read_text()
    names = sorted(set(re.findall(r"^ +exports\.(\w+) =", code, re.MULTILINE)))
    imports = "".join(f"import m{i} from './{name}.js';\n" for i, name in enumerate(required))
    table = ", ".join(f"'{name}': m{i}" for i, name in enumerate(required))
    return (
        f"{imports}const exports = {{}}, process = {{ env: {{ NODE_ENV: 'development' }} }};\n"
        f"const require = (name) => ({{ {table} }})[name];\n{code}\n"
        f"export default exports;\nexport const {{ {', '.join(names)} }} = exports;\n"
    )


def recipe_file(name: str) -> str:
    """What the page of a recipe loads."""
    if name in COMMON_JS:
        return as_module(*COMMON_JS[name])
    if name == "npm/vue.js":
        return (NPM / "vue/dist/vue.esm-browser.js").read_text()
    homes = {"keepseat": ROOT / "static", "html": APPS, "js": DOCS / "recipes"}
    home = next(homes[part] for part in re.split(r"[/.]", name) if part in homes)
    return (home / name).read_text()


@pytest.fixture
def bare(browser: Browser) -> Iterator[Bare]:
    """Opens a page under ``/bare/`` of a server, signed in as mina: ``bare(url, serve, "page.html")``.

    At the end it may have said nothing wrong on its console.
    """
    visitors: list[Visitor] = []

    def open_page(url: str, serve: Serve, name: str, *, clock: bool = False) -> Visitor:
        context = browser.new_context()
        context.set_default_timeout(15_000)
        context.add_init_script(NO_JITTER)
        context.add_init_script(f"localStorage.setItem('token', '{token('mina')}')")
        page = context.new_page()
        if clock:
            page.clock.install()
        visitor = Visitor(context, page, url)
        visitors.append(visitor)

        def fulfill(route: Route) -> None:
            path = urlsplit(route.request.url).path.removeprefix("/bare/")
            kind = "text/html" if path.endswith("html") else "text/javascript"
            route.fulfill(body=serve(path), content_type=f"{kind}; charset=utf-8")

        page.route(f"{url}/bare/**", fulfill)
        page.goto(f"{url}/bare/{name}")
        return visitor

    yield open_page
    errors = [error for visitor in visitors for error in visitor.errors]
    for visitor in visitors:
        visitor.context.close()
    assert [] == errors


@pytest.fixture
def line(back_end: BackEnd) -> BackEnd:
    """An event with a waiting room that lets nobody in yet."""
    back_end.call("PUT", "/api/events/boats", EVENT | {"capacity": 1})
    back_end.call("POST", "/api/events/boats/queue", {"paused": True})
    return back_end


def spinner(page: Page) -> str:
    """The name of the spinner's motion."""
    found: str = page.locator("connection-status .spinner").evaluate("s => getComputedStyle(s).animationName")
    return found


def test_the_first_page_of_the_docs(bare: Bare, server: ServerProcess, line: BackEnd) -> None:
    """Thirty lines on a page of one's own: banner, meter, place and news, over a server that stops."""
    mina = bare(server.url, lambda _: first_page(), "page.html", clock=True)
    meter = mina.page.get_by_role("meter", name="Connection quality")
    news = mina.page.get_by_role("listitem")

    expect(mina.banner).to_have_attribute("state", "connected")
    assert 0 == mina.banner.evaluate("banner => banner.getBoundingClientRect().height")
    mina.page.get_by_role("button", name="Join").click()
    expect(mina.page.locator("#place")).to_have_text("waiting 1")
    mina.page.clock.run_for(5_000)
    expect(meter).to_have_attribute("aria-valuenow", re.compile("[123]"))
    expect(meter).to_have_attribute("aria-valuetext", re.compile(r"^(Good|Fair|Poor), \d+ ms$"))
    line.announce("before")
    expect(news).to_have_text(["before"])

    server.kill()
    expect(mina.reconnecting).to_be_visible()
    expect(meter).to_have_attribute("aria-valuenow", "1")
    assert "turn" == spinner(mina.page)
    mina.page.emulate_media(reduced_motion="reduce")
    assert "breathe" == spinner(mina.page)
    mina.pass_time_until(mina.disconnected)
    expect(mina.reconnecting).to_have_count(0)

    # or the page's own next try might come first
    mina.stop_clock()
    server.start()
    server.wait_ready()
    line.announce("meanwhile")
    mina.banner.get_by_role("button", name="Try now").click()
    expect(news).to_have_text(["before", "meanwhile"])
    expect(mina.banner).to_have_attribute("state", "connected")
    expect(mina.page.locator("#place")).to_have_text("waiting 1")


@pytest.mark.parametrize("framework", ["react", "vue"])
def test_a_recipe(framework: str, bare: Bare, server: ServerProcess, line: BackEnd) -> None:
    """State, place and messages follow over a cut; who unmounts leaves nothing behind."""
    if not NPM.exists():
        pytest.skip("needs react and vue: make .venv/.recipes")
    with Proxy(server.port) as proxy:
        mina = bare(f"http://127.0.0.1:{proxy.port}", recipe_file, f"{framework}.html")
        state, place = mina.page.locator("#state"), mina.page.locator("#place")
        twice = mina.page.get_by_role("list")
        expect(state).to_have_text("connected true false")
        mina.page.get_by_role("button", name="Join").click()
        expect(place).to_have_text("waiting 1 ")
        line.announce("before")
        expect(twice).to_have_text(["before", "before"])
        mina.page.get_by_role("button", name="One").click()
        expect(twice).to_have_text(["before"])

        proxy.cut()
        expect(state).to_have_text(re.compile("^(reconnecting false true|disconnected)"))
        line.announce("meanwhile")
        proxy.mend()

        expect(twice).to_have_text(["beforemeanwhile"])
        expect(state).to_have_text("connected true false")
        expect(mina.page.locator("#restored")).to_have_text("boats")
        expect(place).to_have_text("waiting 1 ")
        line.call("POST", "/api/events/boats/queue", {"paused": False})
        expect(place).to_have_text("admitted - 3")

        mina.page.evaluate("unmount()")
        server.wait_metric("keepseat_connections", 0)


def test_two_tabs_refresh_once(visit: Visit, server: ServerProcess) -> None:
    """Both are told that the token has expired; one fetches another, and the other one takes that."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    twin = visit(beside=mina, path="/#/events/boats")
    twin.wait_until_in()

    def refresh_when_both_know(route: Route) -> None:
        server.wait_metric('keepseat_refusals_total{reason="token_expired"}', 2, timeout=30)
        route.continue_()

    mina.context.route("**/auth/refresh", refresh_when_both_know)
    twin.page.evaluate("addEventListener('storage', () => location.reload())")
    mina.token = token("mina", lifetime=-60)
    mina.page.reload()

    for visitor in (mina, twin):
        expect(visitor.banner).to_have_attribute("state", "connected", timeout=30_000)
        visitor.wait_until_in()
    assert 1 == (mina.paths + twin.paths).count("/auth/refresh")
