"""Coming in, staying in, and being shown out."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BackEnd, Visit
from tests.conftest import Servers
from tests.support.servers import ServerProcess
from tests.support.tokens import token

pytestmark = pytest.mark.browser


def test_signing_in_by_name(visit: Visit, back_end: BackEnd) -> None:
    """The name, the list of events, an event, and what is said there, live."""
    mina = visit()

    mina.sign_in()
    expect(mina.page.get_by_role("heading", name="On stage")).to_be_visible()
    mina.enter()
    back_end.announce("Doors open at seven")

    expect(mina.announcement("Doors open at seven")).to_be_visible()
    expect(mina.page.get_by_text("1 person here now")).to_be_visible()
    expect(mina.page).to_have_title(re.compile("Paper Boats"))


def test_signing_in_by_keyboard_alone(visit: Visit) -> None:
    """The name field has the focus, Enter signs in, Tab reaches the event, Enter opens it."""
    mina = visit()
    expect(mina.name_field).to_be_focused()

    mina.page.keyboard.type("mina")
    mina.page.keyboard.press("Enter")
    link = mina.page.get_by_role("link", name="Paper Boats")
    expect(link).to_be_visible()
    mina.tab_to(link)
    mina.page.keyboard.press("Enter")

    mina.wait_until_in()


def test_a_name_is_needed(visit: Visit) -> None:
    """An empty one is complained of where screen readers hear it, and the field has the focus."""
    mina = visit()

    mina.page.get_by_role("button", name="Sign in").click()

    expect(mina.page.get_by_role("alert").get_by_text("Please enter a name.")).to_be_visible()
    expect(mina.name_field).to_be_focused()


def test_without_a_token_one_signs_in(visit: Visit) -> None:
    """Deleted, and the page loaded again: the sign-in page, without a word, and the cookie is left alone."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    mina.page.evaluate("localStorage.removeItem('token')")
    mina.paths.clear()

    mina.page.reload()

    expect(mina.name_field).to_be_visible()
    expect(mina.expired).to_have_count(0)
    assert [] == [path for path in mina.paths if path.startswith("/auth")]


def test_a_refused_token_leads_to_the_sign_in(visit: Visit) -> None:
    """A token that is no good: told why, and asked to sign in; then one is where one was."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    mina.token = token("mina", secret="another secret, and just as long as the first")

    mina.page.reload()

    expect(mina.expired).to_be_visible()
    expect(mina.name_field).to_be_visible()
    assert mina.token is None
    mina.sign_in()
    expect(mina.page.get_by_role("heading", name="Paper Boats", level=1)).to_be_visible()


def test_an_expired_token_is_renewed_by_the_cookie(visit: Visit) -> None:
    """Nobody notices."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    mina.token = old = token("mina", lifetime=-60)

    mina.page.reload()

    mina.wait_until_in()
    expect(mina.banner).to_have_attribute("state", "connected")
    assert mina.token not in (None, old)
    assert 1 == mina.paths.count("/auth/refresh")


def test_an_expired_token_without_the_cookie_ends_it(visit: Visit) -> None:
    """One try to renew, and then the sign-in page with the reason."""
    mina = visit()
    mina.sign_in()
    mina.context.clear_cookies()
    mina.token = token("mina", lifetime=-60)

    mina.page.reload()

    expect(mina.expired).to_be_visible()
    expect(mina.name_field).to_be_visible()
    assert 1 == mina.paths.count("/auth/refresh")


def test_a_sign_in_ended_from_elsewhere_ends_here(visit: Visit, server: ServerProcess) -> None:
    """The connection is closed as revoked while the page is open."""
    mina = visit()
    mina.sign_in()
    mina.enter()

    answer = mina.context.request.post(
        f"{server.url}/auth/logout", headers={"Authorization": f"Bearer {mina.token}"}
    )

    assert 204 == answer.status
    expect(mina.expired).to_be_visible()
    expect(mina.name_field).to_be_visible()


def test_signing_out(visit: Visit, back_end: BackEnd) -> None:
    """In all tabs, at once and without a reproach; what was said is not left for the next one."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    back_end.announce("for mina's eyes")
    expect(mina.announcement("for mina's eyes")).to_be_visible()
    other = visit(beside=mina)
    expect(other.page.get_by_role("button", name="Sign out")).to_be_visible()

    mina.page.get_by_role("button", name="Sign out").click()

    for tab in (mina, other):
        expect(tab.name_field).to_be_visible()
        expect(tab.expired).to_have_count(0)
    assert mina.token is None
    assert "for mina" not in mina.page.evaluate("JSON.stringify(sessionStorage)")
    mina.sign_in("joon")
    mina.page.goto(f"{mina.url}/#/events/boats")
    mina.wait_until_in()
    expect(mina.announcement("for mina's eyes")).to_have_count(0)


def test_the_token_is_renewed_on_the_open_connection(visit: Visit, servers: Servers) -> None:
    """Told that it ends soon, the page renews it, keeps its connection, and says nothing."""
    (short,) = servers(demo="true", access_token_ttl=62)
    mina = visit(url=short.url)
    mina.sign_in()
    mina.enter()
    old = mina.token
    opened = short.metric("keepseat_connections_opened_total")

    mina.page.wait_for_function("old => localStorage.getItem('token') !== old", arg=old)

    assert mina.token is not None
    expect(mina.banner).to_have_attribute("state", "connected")
    assert opened == short.metric("keepseat_connections_opened_total")


def test_where_there_is_no_sign_in_by_name(visit: Visit, servers: Servers) -> None:
    """The page says so, instead of that something went wrong."""
    (closed,) = servers(demo="false")
    mina = visit(url=closed.url)

    mina.name_field.fill("mina")
    mina.page.get_by_role("button", name="Sign in").click()

    expect(mina.page.get_by_role("alert").get_by_text("no sign-in by name")).to_be_visible()


def test_while_nobody_answers(visit: Visit, server: ServerProcess) -> None:
    """A server that is away is told as such, and the name is still there to try again."""
    mina = visit()
    # the page is all there, its words too
    expect(mina.name_field).to_be_focused()
    server.kill()

    mina.name_field.fill("mina")
    mina.page.get_by_role("button", name="Sign in").click()

    expect(mina.page.get_by_role("alert").get_by_text("cannot be reached")).to_be_visible()
    expect(mina.name_field).to_have_value("mina")
