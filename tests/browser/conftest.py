"""A real Chromium on a real server. What is looked for is what people see: roles, names and words."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocket, expect, sync_playwright

from tests.conftest import Servers
from tests.support import spoken
from tests.support.api import Api
from tests.support.demo import CHROMIUM
from tests.support.servers import ServerProcess

EVENT = {
    "title": "Paper Boats",
    "venue": "Harbour Hall",
    "sections": [
        {"name": "A", "rows": 2, "seatsPerRow": 5},
        {"name": "B", "rows": 1, "seatsPerRow": 4, "price": 50_000},
    ],
}
EXPECTED_NOISE = re.compile(r"net::ERR_|WebSocket connection to .* failed|status of (401|404)")
"""What Chromium itself writes to the console when a server is away or says no."""
CLOCK_STEP_MS = 31_000
"""A little longer than the longest pause between two tries."""
NO_JITTER = "Math.random = () => 0.5"
"""For a page: it waits half of 1 s, 2 s, 4 s … for its next try. By chance five tries could fail before the
yellow banner is seen, or the first come only when it stands there."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of one file: its loop must be gone before another file's tests run."""
    if not Path(CHROMIUM).exists():
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        # a page that a test gives counts as one from the internet, which may not talk to this machine
        args = ["--disable-features=LocalNetworkAccessChecks"]
        # root, as in most containers, has no sandbox
        args += ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield chromium
        chromium.close()


@pytest.fixture
def server(servers: Servers) -> ServerProcess:
    """A server where people sign in by name."""
    (server,) = servers(demo="true")
    return server


@pytest.fixture
def back_end(server: ServerProcess) -> "BackEnd":
    """The shop behind it, with one event for sale."""
    back_end = BackEnd(server)
    back_end.call("PUT", "/api/events/boats", EVENT)
    return back_end


class BackEnd:
    """What the shop's back end does in these tests, blocking."""

    def __init__(self, server: ServerProcess) -> None:
        self._api = Api(server)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API, which must succeed; its JSON."""
        answer = self._api.request(method, path, body)
        assert answer.status < 300, answer
        return answer.json

    def announce(self, text: str, event: str = "boats") -> None:
        """Publish to all who are in the event."""
        room = quote(f"event:{event}", safe="")
        self.call("POST", f"/api/rooms/{room}/messages", {"data": {"text": text}})

    def sockets(self, user: str) -> list[str]:
        """The connections that a user has."""
        return [c["socketId"] for c in self.call("GET", f"/api/users/{user}")["connections"]]


class Visitor:
    """Somebody at the page."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.paths: list[str] = []
        """The paths that were asked for, in order."""
        self.errors: list[str] = []
        self._is_in_chat = False
        page.on("request", lambda request: self.paths.append(request.url.removeprefix(url)))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)
        page.on("websocket", self._listen)

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"} and not EXPECTED_NOISE.search(message.text):
            self.errors.append(message.text)

    def _listen(self, socket: WebSocket) -> None:
        """Judge what is said on the line to the server, in both directions."""
        if urlsplit(socket.url).path == "/ws":
            self._socket, self._is_in_chat = socket, False
            socket.on("framereceived", self._receive)
            socket.on("framesent", lambda text: spoken.said(json.loads(text)))

    def _receive(self, text: str | bytes) -> None:
        frame = json.loads(text)
        spoken.heard(frame)
        if frame["type"] == "room-joined":
            self._is_in_chat = True

    # --- what is there ---

    @property
    def name_field(self) -> Locator:
        return self.page.get_by_role("textbox", name="Your name")

    @property
    def banner(self) -> Locator:
        return self.page.locator("connection-status")

    @property
    def reconnecting(self) -> Locator:
        """The yellow banner's words."""
        return self.banner.get_by_role("status").get_by_text("Reconnecting")

    @property
    def disconnected(self) -> Locator:
        """The red banner's words."""
        return self.banner.get_by_role("alert").get_by_text("Disconnected")

    @property
    def restored(self) -> Locator:
        """The notice that the session was restored."""
        return self.page.get_by_role("status").get_by_text("your session was restored")

    @property
    def expired(self) -> Locator:
        return self.page.get_by_role("alert").get_by_text("Your session has expired. Please sign in again.")

    def announcement(self, text: str) -> Locator:
        return self.page.get_by_role("log", name="Announcements").get_by_text(text, exact=True)

    def said(self, text: str) -> Locator:
        """What somebody said in the chat."""
        return self.page.get_by_role("log", name="Chat").get_by_text(text, exact=True)

    @property
    def token(self) -> str | None:
        token: str | None = self.page.evaluate("localStorage.getItem('token')")
        return token

    @token.setter
    def token(self, token: str) -> None:
        self.page.evaluate("token => localStorage.setItem('token', token)", token)

    # --- what people do ---

    def sign_in(self, name: str = "mina") -> None:
        """Sign in by name, and see the list."""
        self.name_field.fill(name)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()

    def enter(self, title: str = "Paper Boats") -> None:
        """Open an event from the list, and be in it."""
        self.page.get_by_role("link", name=title).click()
        expect(self.page.get_by_role("heading", name=title, level=1)).to_be_visible()
        self.wait_until_in()

    def wait_until_in(self) -> None:
        """The event's room was joined: the count of people came with the answer. So was the chat's, a moment
        later and without a sign."""
        expect(self.page.get_by_text(re.compile(r"here now|보고 있습니다"))).to_be_visible()
        if not self._is_in_chat:
            self._socket.wait_for_event("framereceived", lambda _: self._is_in_chat)

    def say(self, text: str) -> None:
        """Say something in the chat."""
        self.page.get_by_role("textbox", name="Message").fill(text)
        self.page.get_by_role("button", name="Send").click()

    def tab_to(self, wanted: Locator) -> None:
        """Press Tab until something has the focus, as who uses no mouse does."""
        for _ in range(20):
            self.page.keyboard.press("Tab")
            if wanted.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"Tab does not lead to {wanted}")

    def stop_clock(self) -> None:
        """From now on the page's time passes only when it is told to."""
        # it runs on until it is stopped, and cannot be stopped at a time that is over
        self.page.clock.pause_at(self.page.evaluate("Date.now()") / 1000 + 5)

    def pass_time_until(self, wanted: Locator) -> None:
        """Let the page's clock run ahead until something is seen."""
        for _ in range(20):
            self.page.clock.fast_forward(CLOCK_STEP_MS)
            try:
                expect(wanted).to_be_visible(timeout=500)
            except AssertionError:
                continue
            return
        raise AssertionError(f"the page's clock ran ahead in vain for {wanted}")


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(browser: Browser, back_end: BackEnd, server: ServerProcess) -> Iterator[Visit]:
    """Opens the page in a browser of its own: ``visit(locale="ko-KR")``; ``clock`` makes time pliable.

    At the end no page may have said anything wrong on its console.
    """
    visitors: list[Visitor] = []
    contexts: list[BrowserContext] = []

    def open_page(
        *, path: str = "/", url: str = "", clock: bool = False, beside: Visitor | None = None, **options: Any
    ) -> Visitor:
        context = beside.context if beside else browser.new_context(**options)
        context.set_default_timeout(15_000)
        context.add_init_script(NO_JITTER)
        page = context.new_page()
        if clock:
            page.clock.install()
        visitor = Visitor(context, page, url or server.url)
        visitors.append(visitor)
        contexts.append(context)
        page.goto(visitor.url + path)
        return visitor

    yield open_page
    errors = [error for visitor in visitors for error in visitor.errors]
    for context in contexts:
        context.close()
    assert [] == errors


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """A slow machine is no failure."""
    expect.set_options(timeout=15_000)
    yield
    expect.set_options(timeout=5_000)
