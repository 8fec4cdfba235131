"""The developers' drawer and the operators' page: promises that can be seen being kept."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import BackEnd, Visit, Visitor
from tests.browser.seating import basket, press, seat
from tests.conftest import Servers
from tests.support.servers import ServerProcess
from tests.support.tokens import API_KEY
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser


def open_drawer(visit: Visit, url: str = "") -> tuple[Visitor, Locator]:
    """Mina in the event, with a seat, and the drawer beside it."""
    mina = visit(url=url)
    mina.sign_in()
    mina.enter()
    seat(mina, "A", 1, 1).click()
    expect(basket(mina)).to_be_visible()
    press(mina, "What just happened")
    return mina, mina.page.get_by_role("region", name="What just happened")


def test_a_line_that_was_cut_costs_nothing(visit: Visit, back_end: BackEnd) -> None:
    """Nobody gets through for as long as was chosen; then all is as it was, and what was said is there."""
    mina, drawer = open_drawer(visit)
    expect(drawer.get_by_role("row", name="event:boats")).to_be_visible()
    token = mina.token or "?"

    mina.page.evaluate(NOTE_STATES)
    drawer.get_by_role("combobox", name="For how long").select_option("10 seconds")
    press(mina, "Cut the line")
    expect(mina.banner).to_have_attribute("state", "reconnecting")
    expect(drawer.get_by_role("status")).to_contain_text("The line is cut")
    meter = mina.page.get_by_role("banner").get_by_role("meter", name="Connection quality")
    expect(meter).to_have_attribute("aria-valuetext", re.compile("^Poor"))
    back_end.announce("meanwhile")

    expect(drawer.get_by_role("status")).to_contain_text("whole again")
    expect(mina.banner).to_have_attribute("state", "connected")
    expect(mina.announcement("meanwhile")).to_have_count(1)
    expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()
    expect(drawer).to_contain_text("session-restored")
    expect(drawer).to_contain_text("Broken in the last hour1")
    assert token not in drawer.inner_text()
    assert "eyJ" not in drawer.inner_text()
    (lost, lost_at), (back, back_at) = mina.page.evaluate("states")
    assert ("reconnecting", "connected") == (lost, back)
    assert back_at - lost_at > 9_000


def test_a_page_without_its_tools_is_a_whole_page(visit: Visit) -> None:
    """Where the drawer cannot be had, nothing else is missing, and nothing is thrown."""
    mina = visit()
    mina.page.route("**/tools/drawer.js", lambda route: route.abort())

    with mina.page.expect_event("requestfailed", lambda request: request.url.endswith("/drawer.js")):
        mina.sign_in()

    mina.enter()
    expect(mina.page.get_by_role("button", name="What just happened")).to_have_count(0)


NOTE_STATES = """() => {
    const banner = document.querySelector('connection-status'), states = globalThis.states = [];
    new MutationObserver(() => {
        const state = banner.getAttribute('state');
        // five failed tries make it "disconnected": still without a line
        if (state !== states.at(-1)?.[0] && state !== 'disconnected') states.push([state, performance.now()]);
    }).observe(banner, { attributeFilter: ['state'] });
}"""
"""Writes down when the line was lost, and when it was back."""


def test_a_server_can_be_killed_where_that_is_allowed(visit: Visit, servers: Servers) -> None:
    """By a press, as by kill -9; back again, the seat is still held. Elsewhere there is no such button."""
    (mortal,) = servers(demo="true", demo_kill="true")
    mina, _ = open_drawer(visit, mortal.url)

    press(mina, "Kill my server")
    wait_until(lambda: not mortal.is_running, "the server is gone", 30)
    mortal.start()
    mortal.wait_ready()

    expect(mina.banner).to_have_attribute("state", "connected")
    expect(mina.restored).to_be_visible()
    expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()
    joon, drawer = open_drawer_of(visit)
    expect(drawer.get_by_role("button", name="Cut the line")).to_be_visible()
    expect(drawer.get_by_role("button", name="Kill my server")).to_have_count(0)
    assert joon.token


def open_drawer_of(visit: Visit) -> tuple[Visitor, Locator]:
    """Joon on the list, on a server that nobody may kill."""
    joon = visit()
    joon.sign_in("joon")
    press(joon, "What just happened")
    return joon, joon.page.get_by_role("region", name="What just happened")


def test_a_token_that_runs_out_is_renewed_on_the_open_line(visit: Visit, server: ServerProcess) -> None:
    """Seconds before its end another one is fetched; the connection is the same as before."""
    mina, drawer = open_drawer(visit)
    opened = server.metric("keepseat_connections_opened_total")
    mina.paths.clear()

    press(mina, "Expire my token")
    expect(drawer).to_contain_text("token-expiring")
    wait_until_asked(mina, "/auth/refresh")

    expect(mina.banner).to_have_attribute("state", "connected")
    expect(seat(mina, "A", 1, 1, "yours")).to_be_visible()
    assert opened == server.metric("keepseat_connections_opened_total")


def wait_until_asked(visitor: Visitor, path: str) -> None:
    """Until the page has asked for something; its events come while it is waited for."""
    if path not in visitor.paths:
        visitor.page.wait_for_event("request", lambda request: request.url.endswith(path), timeout=60_000)


def test_operators_see_all_servers(visit: Visit, server: ServerProcess, servers: Servers) -> None:
    """Whoever has the key sees sums that move; it is neither in an address nor left behind for other tabs."""
    (second,) = servers(demo="true")
    mina, joon = visit(), visit(url=second.url)
    mina.sign_in()
    joon.sign_in("joon")
    mina.enter()
    ops = visit(path="/ops").page

    ops.get_by_label("API key").fill("not the key")
    ops.keyboard.press("Enter")
    expect(ops.get_by_role("alert").get_by_text("not the key of this server")).to_be_visible()
    ops.get_by_label("API key").fill(API_KEY)
    ops.keyboard.press("Enter")

    servers_table = ops.get_by_role("region", name="Servers")
    expect(servers_table.get_by_role("row")).to_have_count(3)
    tile = ops.locator(".tile")
    expect(tile.filter(has_text="Connections").locator("b")).to_have_text("2")
    expect(tile.filter(has_text="Held").locator("b")).to_have_text("0")
    seat(mina, "A", 1, 1).click()
    expect(tile.filter(has_text="Held").locator("b")).to_have_text("1")
    assert API_KEY not in ops.url
    assert API_KEY not in ops.evaluate("JSON.stringify(localStorage)")

    ops.get_by_role("button", name="Forget the key").click()
    expect(ops.get_by_label("API key")).to_be_focused()
    assert API_KEY not in ops.evaluate("JSON.stringify(sessionStorage)")
