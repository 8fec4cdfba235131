"""The map of the seats, what one holds of them, and the time that is left."""

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import EVENT, BackEnd, Visit, Visitor
from tests.browser.seating import basket, press, seat, warning
from tests.browser.test_event_page import LOW_CONTRAST
from tests.conftest import Servers
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess

pytestmark = pytest.mark.browser

SMALL = {"width": 360, "height": 740}
LARGE = {"width": 1280, "height": 800}


def arrive(visit: Visit, name: str = "mina", title: str = "Paper Boats", **options: Any) -> Visitor:
    """Sign in, open an event, and see its seats."""
    visitor = visit(**options)
    visitor.sign_in(name)
    visitor.enter(title)
    expect(visitor.page.get_by_role("grid")).to_be_visible()
    return visitor


def test_each_sees_what_the_other_holds(visit: Visit, servers: Servers) -> None:
    """Two browsers on two servers: taken here is taken there, and free again when it is let go."""
    (second,) = servers(demo="true")
    mina, joon = arrive(visit), arrive(visit, "joon", url=second.url)

    seat(mina, "A", 1, 1).click()
    expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()
    expect(seat(joon, "A", 1, 1, "held by someone else")).to_be_visible()
    seat(joon, "A", 2, 5).click()
    expect(seat(mina, "A", 2, 5, "held by someone else")).to_be_visible()

    seat(joon, "A", 1, 1).press("Enter")
    taken = joon.page.get_by_role("alert").get_by_text("Already taken: Section A, row 1, seat 1")
    expect(taken).to_be_visible()
    expect(basket(joon).get_by_role("listitem")).to_have_count(1)

    seat(mina, "A", 1, 1).click()
    expect(seat(joon, "A", 1, 1, "available")).to_be_visible()
    expect(seat(mina, "A", 1, 1, "available")).to_be_visible()
    expect(basket(mina)).to_have_count(0)


def test_states_differ_by_more_than_colour(visit: Visit, back_end: BackEnd) -> None:
    """Free, mine, somebody's and sold: each has a sign and a shape of its own."""
    mina, joon = arrive(visit), arrive(visit, "joon")
    seat(mina, "A", 1, 1).click()
    expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()
    back_end.call("POST", "/api/events/boats/bookings", {"userId": "mina", "seats": ["A-1-1"]})
    seat(mina, "A", 1, 2).click()
    seat(joon, "A", 1, 3).click()

    kinds = [
        seat(mina, "A", 1, 1, "sold"),
        seat(mina, "A", 1, 2, "yours"),
        seat(mina, "A", 1, 3, "held by someone else"),
        seat(mina, "A", 1, 4, "available"),
    ]
    for kind in kinds:
        expect(kind).to_be_visible()

    assert 4 == len({sign(kind) for kind in kinds})
    assert 4 == len({shape(kind) for kind in kinds})


def sign(cell: Locator) -> str:
    """What is written on a seat."""
    written: str = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
    return written


def shape(cell: Locator) -> str:
    corners: str = cell.evaluate("cell => getComputedStyle(cell).borderRadius")
    return corners


def test_the_keyboard_is_enough(visit: Visit) -> None:
    """One stop for the tab key, arrows from seat to seat, Enter and Space to take and to let go; Tab leads on
    to the way to pay, and the ticket's dialog has the focus, and gives it back."""
    mina = arrive(visit)
    keys = mina.page.keyboard
    mina.page.get_by_role("group", name="Sections").get_by_role("button").last.focus()
    keys.press("Tab")
    expect(seat(mina, "A", 1, 1)).to_be_focused()

    keys.press("End")
    keys.press("Enter")
    expect(seat(mina, "A", 1, 5, "yours")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("ArrowLeft")
    keys.press("Space")
    expect(seat(mina, "A", 2, 4, "yours")).to_be_focused()
    keys.press("Home")
    expect(seat(mina, "A", 2, 1, "available")).to_be_focused()
    keys.press("Control+Home")
    keys.press("ArrowRight")
    keys.press("ArrowUp")
    expect(seat(mina, "A", 1, 2, "available")).to_be_focused()
    keys.press("Control+End")
    keys.press("ArrowLeft")
    keys.press("Enter")
    expect(seat(mina, "A", 2, 4, "available")).to_be_focused()

    assert 1 == mina.page.get_by_role("grid").locator('[tabindex="0"]').count()
    expect(basket(mina).get_by_role("listitem")).to_have_text(["Section A, row 1, seat 5"])

    mina.tab_to(basket(mina).get_by_role("button", name="Pay"))
    keys.press("Enter")
    ticket = mina.page.get_by_role("dialog", name="Your ticket")
    expect(ticket).to_contain_text("Section A, row 1, seat 5")
    assert ticket.evaluate("dialog => dialog.contains(document.activeElement)")
    keys.press("Escape")
    expect(mina.page.get_by_role("heading", name="Seats", exact=True)).to_be_focused()


def test_the_end_is_warned_of_and_put_off(visit: Visit, back_end: BackEnd) -> None:
    """Time runs; half a minute before the end, and no sooner, comes a warning, with a button against it."""
    back_end.call("PUT", "/api/events/boats", {**EVENT, "holdSeconds": 35})
    mina = arrive(visit)
    mina.page.evaluate(NOTE_TIMES)
    expect(mina.page.get_by_role("button", name="Extend")).to_have_count(0)

    seat(mina, "A", 1, 1).click()
    expect(warning(mina)).to_be_visible()
    calm = [left for left, warned in mina.page.evaluate("times") if not warned]
    assert calm
    assert min(calm) > "0:30"
    press(mina, "Extend")

    expect(warning(mina)).to_have_count(0)
    expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()


NOTE_TIMES = """() => {
    const basket = document.querySelector('.basket'), times = globalThis.times = [];
    const text = (role) => basket.querySelector(`[role=${role}]`).textContent;
    const note = () => {
        if (text('timer') !== times.at(-1)?.[0]) times.push([text('timer'), text('alert') !== '']);
    };
    new MutationObserver(note).observe(basket, { subtree: true, childList: true });
}"""
"""Writes down each time that is shown to be left, and whether a warning stood beside it."""


def test_an_expiry_is_told(visit: Visit, back_end: BackEnd) -> None:
    """Who lets the time run out reads which seats are gone; to others they are free."""
    back_end.call("PUT", "/api/events/boats", {**EVENT, "holdSeconds": 2})
    mina, joon = arrive(visit), arrive(visit, "joon")

    seat(mina, "A", 1, 1).click()

    ended = mina.page.get_by_role("alert").get_by_text("Your hold has ended")
    expect(ended).to_contain_text("Section A, row 1, seat 1")
    expect(basket(mina)).to_have_count(0)
    for visitor in (mina, joon):
        expect(seat(visitor, "A", 1, 1, "available")).to_be_visible()


def test_the_best_are_picked(visit: Visit) -> None:
    """Two side by side in the section asked for, shown, and summed up."""
    mina = arrive(visit)
    mina.page.get_by_role("combobox", name="How many seats").select_option("2 seats")
    mina.page.get_by_role("combobox", name="Where").select_option("Section B")

    press(mina, "Pick the best")

    expect(basket(mina)).to_contain_text("Total ₩100,000")
    own = mina.page.get_by_role("gridcell", name="yours")
    expect(own).to_have_count(2)
    first, second = (int(cell.get_attribute("data-id").rpartition("-")[2]) for cell in own.all())
    assert first + 1 == second


def test_what_is_paid_for_is_sold(visit: Visit, servers: Servers) -> None:
    """The payer reads the booking's number, everybody sees the seat sold."""
    (second,) = servers(demo="true")
    mina, joon = arrive(visit), arrive(visit, "joon", url=second.url)
    seat(mina, "A", 1, 1).click()
    expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()

    press(mina, "Pay")

    expect(mina.page.get_by_role("status").get_by_text("Paid: Section A, row 1, seat 1")).to_be_visible()
    for visitor in (mina, joon):
        expect(seat(visitor, "A", 1, 1, "sold")).to_be_visible()
    expect(basket(mina)).to_have_count(0)


def test_a_dropped_line_costs_no_seat(visit: Visit, server: ServerProcess) -> None:
    """The map says that it is the last known; back, it has what was missed, and the hold still stands."""
    with Proxy(server.port) as proxy:
        mina = arrive(visit, url=f"http://127.0.0.1:{proxy.port}")
        joon = arrive(visit, "joon")
        stale = mina.page.get_by_role("status").get_by_text("Last known: this is how the seats were")
        seat(mina, "A", 1, 1).click()
        expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()

        proxy.cut()
        expect(stale).to_be_visible()
        seat(joon, "A", 1, 2).click()
        expect(seat(joon, "A", 1, 2, "yours")).to_be_visible()
        expect(seat(mina, "A", 1, 2, "available")).to_be_visible()
        proxy.mend()

        expect(stale).to_have_count(0)
        expect(seat(mina, "A", 1, 2, "held by someone else")).to_be_visible()
        expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()


def test_a_list_of_seats_has_rows(visit: Visit, back_end: BackEnd) -> None:
    """Where an event has no sections, its seats' ids tell of rows."""
    back_end.call("PUT", "/api/events/club", {"title": "Small Club", "seats": ["A-1", "A-2", "B-1", "C7"]})
    mina = arrive(visit, title="Small Club")
    rows = mina.page.get_by_role("row")
    expect(rows.get_by_role("rowheader")).to_have_text(["A", "B", "C"])

    mina.page.get_by_role("gridcell", name="row A, seat 2, available").click()

    expect(basket(mina).get_by_role("listitem")).to_have_text(["row A, seat 2"])


@pytest.mark.parametrize(
    ("scheme", "viewport", "locale"),
    [("light", LARGE, "en-GB"), ("dark", SMALL, "ko-KR")],
    ids=["light-large-english", "dark-small-korean"],
)
def test_seats_fit_and_can_be_read(
    visit: Visit, back_end: BackEnd, scheme: str, viewport: dict[str, int], locale: str
) -> None:
    """The map scrolls in its own box, and every word and number can be told from its ground (WCAG AA)."""
    sections = [{"name": "WIDE", "rows": 3, "seatsPerRow": 60, "price": 154_000}]
    back_end.call("PUT", "/api/events/boats", {**EVENT, "sections": sections, "holdSeconds": 29})
    mina = visit(color_scheme=scheme, viewport=viewport, locale=locale)
    mina.page.get_by_role("textbox").fill("mina")
    mina.page.keyboard.press("Enter")
    mina.page.get_by_role("link", name="Paper Boats").click()

    mina.page.get_by_role("gridcell").first.click()
    expect(mina.page.get_by_role("timer")).to_be_visible()
    expect(mina.page.locator(".hold-warning").get_by_role("alert")).not_to_be_empty()

    assert mina.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert [] == mina.page.evaluate(LOW_CONTRAST)
