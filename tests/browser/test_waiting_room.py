"""The waiting room: the place in line, what keeps it, and the way in."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import EVENT, BackEnd, Visit, Visitor
from tests.browser.seating import basket, press, room, seat
from tests.browser.test_event_page import LOW_CONTRAST
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess

pytestmark = pytest.mark.browser

QUEUED = {**EVENT, "capacity": 1, "admissionSeconds": 300}
YEAR_2100 = 4_102_444_800_000


@pytest.fixture
def rush(back_end: BackEnd) -> BackEnd:
    """The shop, selling to one at a time."""
    back_end.call("PUT", "/api/events/boats", QUEUED)
    return back_end


def arrive(visit: Visit, name: str, **options: Any) -> Visitor:
    """Sign in, open the event, and go to its waiting room."""
    visitor = visit(**options)
    visitor.sign_in(name)
    visitor.enter()
    press(visitor, "Join the waiting room")
    return visitor


def first_in(visit: Visit) -> Visitor:
    """Joon, whose turn it is at once."""
    joon = arrive(visit, "joon")
    expect(joon.page.get_by_text("It is your turn: choose your seats within")).to_be_visible()
    expect(room(joon)).to_have_count(0)
    return joon


def test_from_the_line_to_a_seat(visit: Visit, rush: BackEnd) -> None:
    """Who waits sees the place, and the seats without taking any; when it is their turn, the way is free."""
    joon = first_in(visit)
    mina = arrive(visit, "mina")
    expect(room(mina)).to_contain_text("Your position1")
    expect(room(mina)).to_contain_text("People in line1")
    expect(room(mina)).to_contain_text("your place is kept for an hour")
    expect(room(mina).get_by_role("heading", name="Waiting room")).to_be_focused()

    press(mina, "Hide, and keep my place")
    expect(room(mina)).to_have_count(0)
    seat(mina, "A", 1, 1).click()
    expect(mina.page.get_by_role("alert").get_by_text("please join the waiting room first")).to_be_visible()
    press(mina, "Show the waiting room")
    expect(room(mina)).to_be_visible()
    press(joon, "Give up my turn")

    expect(room(mina)).to_have_count(0)
    expect(mina.page.get_by_role("status").get_by_text("It is your turn: you can choose")).to_be_visible()
    seat(mina, "A", 1, 1).click()
    expect(basket(mina).get_by_role("listitem")).to_have_count(1)
    expect(joon.page.get_by_role("button", name="Join the waiting room")).to_be_focused()


def test_a_dropped_line_leaves_the_last_known_place(
    visit: Visit, rush: BackEnd, server: ServerProcess
) -> None:
    """The number stays, marked as the last known, beside the yellow banner; back, it is live, and moves."""
    first_in(visit)
    arrive(visit, "sua")
    with Proxy(server.port) as proxy:
        mina = arrive(visit, "mina", url=f"http://127.0.0.1:{proxy.port}")
        expect(room(mina)).to_contain_text("Your position2")
        expect(room(mina).get_by_role("status").get_by_text("Live")).to_be_visible()

        proxy.cut()
        expect(room(mina).get_by_role("status").get_by_text("Last known")).to_be_visible()
        expect(room(mina).locator("connection-status").get_by_text("Reconnecting")).to_be_visible()
        expect(room(mina)).to_contain_text("Your position2")
        proxy.mend()

        expect(room(mina).get_by_role("status").get_by_text("Live")).to_be_visible()
        expect(room(mina)).to_contain_text("Your position2")
        rush.call("POST", "/api/events/boats/queue/sua", {"action": "remove"})
        expect(room(mina)).to_contain_text("Your position1")


def test_a_reload_comes_back_to_the_line(visit: Visit, rush: BackEnd) -> None:
    """The dialog is there again; Escape hides it and keeps the place; only leaving gives it up."""
    first_in(visit)
    mina = arrive(visit, "mina")
    expect(room(mina)).to_contain_text("Your position1")

    mina.page.reload()
    expect(room(mina)).to_contain_text("Your position1")
    mina.page.keyboard.press("Escape")
    expect(mina.page.get_by_text("You are number 1 in line.")).to_be_visible()
    assert 1 == rush.call("GET", "/api/events/boats/stats")["waiting"]

    press(mina, "Show the waiting room")
    room(mina).get_by_role("button", name="Leave the line").click()
    expect(mina.page.get_by_role("button", name="Join the waiting room")).to_be_focused()
    assert 0 == rush.call("GET", "/api/events/boats/stats")["waiting"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_before_the_sale_it_says_when(visit: Visit, back_end: BackEnd, scheme: str) -> None:
    """One can queue before the sale opens, and reads when that is; on a small screen all fits."""
    back_end.call("PUT", "/api/events/boats", {**QUEUED, "startsAt": YEAR_2100})
    mina = arrive(visit, "mina", color_scheme=scheme, viewport={"width": 360, "height": 740})

    expect(room(mina).get_by_text("The sale opens on")).to_contain_text("2100")
    expect(room(mina)).to_contain_text("Your position1")
    assert mina.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert [] == mina.page.evaluate(LOW_CONTRAST)
