"""The page as a whole: for everyone, in both languages, on small and large screens, and quickly there."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.axe import violations
from tests.browser.conftest import EVENT, BackEnd, Visit, Visitor
from tests.browser.seating import basket
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess
from tests.support.tokens import API_KEY

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}
LOOKS = [
    pytest.param({"locale": "en-GB", "viewport": DESKTOP, "color_scheme": "light"}, id="english-large-light"),
    pytest.param({"locale": "en-GB", "viewport": PHONE, "color_scheme": "dark"}, id="english-small-dark"),
    pytest.param({"locale": "ko-KR", "viewport": DESKTOP, "color_scheme": "dark"}, id="korean-large-dark"),
    pytest.param({"locale": "ko-KR", "viewport": PHONE, "color_scheme": "light"}, id="korean-small-light"),
]
"""Each language, size and scheme meets each of the others once."""
FIRST_PAINT_BYTES = 200_000
FIRST_PAINT_REQUESTS = 60
MAX_SHIFT = 0.1
"""What counts as good (web.dev/articles/cls)."""


@pytest.mark.parametrize("look", LOOKS)
def test_the_way_to_a_ticket_is_for_everyone(visit: Visit, back_end: BackEnd, look: dict[str, Any]) -> None:
    """From the sign-in to the tickets: axe-core finds nothing, and nothing is cut off."""
    back_end.call("PUT", "/api/events/boats", {**EVENT, "capacity": 1})
    mina = visit(reduced_motion="reduce", **look)
    page = mina.page
    expect(page.get_by_role("textbox")).to_be_visible()
    assert_good(mina, "the sign-in")

    page.get_by_role("textbox").fill("mina")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Paper Boats")).to_be_visible()
    assert_good(mina, "the list")

    page.get_by_role("link", name="Paper Boats").click()
    mina.wait_until_in()
    expect(page.get_by_role("grid")).to_be_visible()
    assert_good(mina, "the event, from outside")

    page.locator(".gate .primary").click()
    expect(page.locator(".gate")).to_have_attribute("data-phase", "admitted")
    page.get_by_role("gridcell").first.click()
    expect(page.get_by_role("timer")).to_be_visible()
    assert_good(mina, "seats held")

    page.locator(".basket .primary").click()
    expect(page.get_by_role("dialog")).to_contain_text("Paper Boats")
    assert_good(mina, "the ticket")

    page.get_by_role("dialog").get_by_role("link").click()
    expect(page.get_by_role("article")).to_contain_text("Paper Boats")
    assert_good(mina, "all tickets")


@pytest.mark.parametrize("look", LOOKS)
def test_waiting_and_watching_are_for_everyone(visit: Visit, back_end: BackEnd, look: dict[str, Any]) -> None:
    """The waiting room, a sold-out house, the developers' drawer and the operators' page."""
    back_end.call("PUT", "/api/events/boats", {**EVENT, "capacity": 1, "startsAt": 4_102_444_800_000})
    back_end.call("PUT", "/api/events/full", {"title": "Full House", "seats": ["A-1"]})
    mina = visit(reduced_motion="reduce", **look)
    page = mina.page
    page.get_by_role("textbox").fill("mina")
    page.keyboard.press("Enter")

    page.get_by_role("link", name="Full House").click()
    page.get_by_role("gridcell").click()
    expect(page.get_by_role("timer")).to_be_visible()
    # whoever has the last seat is about to pay, and reads nothing of a house that is sold out
    expect(page.locator(".sold-out")).not_to_be_visible()
    back_end.call("POST", "/api/events/full/bookings", {"userId": "mina", "seats": ["A-1"]})
    expect(page.locator(".sold-out")).to_be_visible()
    assert_good(mina, "sold out")
    page.get_by_role("link", name="Keepseat").click()

    page.get_by_role("link", name="Paper Boats").click()
    page.locator(".gate .primary").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    assert_good(mina, "the waiting room")
    page.keyboard.press("Escape")

    page.locator(".drawer-opener").click()
    expect(page.locator(".drawer")).to_contain_text("queue-joined")
    assert_good(mina, "the drawer")

    page.goto(f"{mina.url}/ops")
    expect(page.locator("#key")).to_be_visible()
    assert_good(mina, "the key")
    page.locator("#key").fill(API_KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("rowheader", name="Paper Boats")).to_be_visible()
    assert_good(mina, "the figures")


@pytest.mark.parametrize("look", LOOKS[1:3])
def test_where_there_is_nothing_to_show_is_for_everyone(
    visit: Visit, server: ServerProcess, look: dict[str, Any]
) -> None:
    """No ticket, no such event, no event at all, no answer; and a line that is broken."""
    with Proxy(server.port) as proxy:
        mina = visit(url=f"http://127.0.0.1:{proxy.port}", reduced_motion="reduce", **look)
        page = mina.page
        page.get_by_role("textbox").fill("mina")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Paper Boats")).to_be_visible()
        nothing = page.locator(".placeholder")

        # by its heading, too: what stood there before is of another level, and goes a moment later
        for path, heading in (("#/tickets", "h2"), ("#/events/nothing", "h1")):
            page.goto(f"{mina.url}/{path}")
            expect(nothing.locator(heading)).to_be_visible()
            assert_good(mina, path)
        page.route("**/events", lambda route: route.fulfill(json={"events": []}), times=1)
        page.goto(f"{mina.url}/#/")
        expect(nothing.locator("h2")).to_be_visible()
        expect(nothing.get_by_role("button")).to_have_count(0)
        assert_good(mina, "no events")

        proxy.cut()
        expect(mina.banner.locator(".spinner, .mark")).to_be_visible()
        assert_good(mina, "away")
        page.goto(f"{mina.url}/#/events/boats")
        expect(nothing.get_by_role("button")).to_be_visible()
        assert_good(mina, "no answer")
        proxy.mend()
        nothing.get_by_role("button").click()
        expect(page.get_by_role("heading", name="Paper Boats", level=1)).to_be_visible()


def test_a_page_without_words_comes_again(visit: Visit) -> None:
    """A dictionary that cannot be had is no blank page: it is asked for again, by itself."""
    mina = visit(path="/static/favicon.svg")
    mina.page.route("**/i18n/en.js", lambda route: route.abort(), times=1)

    mina.page.goto(mina.url)

    expect(mina.name_field).to_be_visible()
    assert mina.paths.count("/static/i18n/en.js") == 2


def assert_good(visitor: Visitor, state: str) -> None:
    page = visitor.page
    assert [] == violations(page), state
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width, state


def test_the_first_paint_is_light_and_stays_where_it_is(
    browser: Browser, server: ServerProcess, back_end: BackEnd, record_property: Any
) -> None:
    """Few bytes and requests, all of them this server's; nothing that is shown jumps, on any page."""
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    sizes: dict[str, int] = {}
    page.on("response", lambda r: sizes.__setitem__(r.url, int(r.headers.get("content-length", 0))))
    page.add_init_script(WATCH)

    page.goto(server.url)
    expect(page.get_by_role("textbox")).to_be_focused()
    first = dict(sizes)
    page.get_by_role("textbox").fill("mina")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Paper Boats").click()
    expect(page.get_by_role("grid")).to_be_visible()
    expect(page.get_by_text("1 person here now")).to_be_visible()
    walked = page.evaluate("seen")
    page.reload()
    expect(page.get_by_role("grid")).to_be_visible()
    expect(page.get_by_text("your session was restored")).to_be_visible()
    loaded = page.evaluate("seen")
    context.close()

    assert [] == [url for url in sizes if not url.startswith(server.url)]
    assert sum(first.values()) < FIRST_PAINT_BYTES
    assert len(first) < FIRST_PAINT_REQUESTS
    assert walked["shift"] < MAX_SHIFT, walked["moved"]
    assert loaded["shift"] < MAX_SHIFT, loaded["moved"]
    # told, not judged: how long a task takes is a matter of the machine
    record_property("long tasks", walked["long"] + loaded["long"])


WATCH = """
globalThis.seen = { shift: 0, long: 0, moved: [] };
const watch = (type, note) => new PerformanceObserver((list) => list.getEntries().forEach(note))
    .observe({ type, buffered: true });
watch('layout-shift', ({ value, sources, hadRecentInput }) => {
    if (hadRecentInput) return;
    seen.shift += value;
    const told = ({ node, previousRect: { y }, currentRect }) =>
        `${node?.nodeName}.${node?.className} ${y} -> ${currentRect.y}`;
    seen.moved.push(...sources.map(told));
});
watch('longtask', () => { seen.long += 1; });
"""
"""Sums up the layout shifts that no press has caused; counts the tasks of over 50 ms."""


def test_the_language_is_a_matter_of_choice(visit: Visit) -> None:
    """The browser's at first; another one by a press, which stays chosen; one is still where one was."""
    mina = visit()
    mina.sign_in()
    mina.enter()

    mina.page.get_by_role("button", name="한국어").click()
    expect(mina.page.locator("html")).to_have_attribute("lang", "ko")
    expect(mina.page.get_by_text("지금 1명이 보고 있습니다")).to_be_visible()
    expect(mina.page.get_by_role("banner").get_by_role("meter", name="연결 품질")).to_be_visible()
    mina.page.reload()
    expect(mina.page.get_by_role("button", name="로그아웃")).to_be_visible()

    mina.page.get_by_role("button", name="English").click()
    expect(mina.page.get_by_role("button", name="Sign out")).to_be_visible()


def test_what_is_paid_for_becomes_a_ticket(visit: Visit, back_end: BackEnd) -> None:
    """With a code to show at the door, kept under the user's name; given back, it is gone."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    mina.page.get_by_role("group", name="Sections").get_by_role("button").last.click()
    mina.page.get_by_role("gridcell", name=re.compile("Section B, row 1, seat 2")).click()
    basket(mina).get_by_role("button", name="Pay").click()
    ticket = mina.page.get_by_role("dialog", name="Your ticket")
    expect(ticket).to_contain_text("Section B, row 1, seat 2")
    expect(ticket).to_contain_text("₩50,000")
    code = ticket.locator(".barcode p").inner_text()

    ticket.get_by_role("button", name="Close").click()
    expect(mina.page.get_by_role("heading", name="Seats", exact=True)).to_be_focused()
    mina.page.get_by_role("link", name="My tickets").click()
    mine = mina.page.get_by_role("article").filter(has_text=code)
    expect(mine).to_contain_text("Section B, row 1, seat 2")

    back_end.call("DELETE", "/api/events/boats/bookings", {"seats": ["B-1-2"]})
    mina.page.reload()
    expect(mina.page.get_by_role("heading", name="No tickets yet")).to_be_visible()
