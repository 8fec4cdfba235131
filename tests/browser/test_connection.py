"""What people see of their connection: nothing, yellow, red, nothing; and that nothing was lost."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CLOCK_STEP_MS, BackEnd, Visit
from tests.support.proxy import Proxy
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser


def test_a_stopped_server_is_seen_and_survived(
    visit: Visit, server: ServerProcess, back_end: BackEnd
) -> None:
    """Yellow with a spinner, then red; when it is back nothing of that, and the restored notice."""
    mina = visit(clock=True)
    mina.sign_in()
    mina.enter()
    expect(mina.reconnecting).to_have_count(0)
    back_end.announce("before")
    expect(mina.announcement("before")).to_be_visible()

    server.kill()
    expect(mina.reconnecting).to_be_visible()
    mina.pass_time_until(mina.disconnected)
    expect(mina.reconnecting).to_have_count(0)

    server.start()
    server.wait_ready()
    back_end.announce("meanwhile")
    # once: time that ran ahead while the line is made would break it, and take the notice away behind it
    mina.page.clock.fast_forward(CLOCK_STEP_MS)
    expect(mina.disconnected).to_have_count(0)

    expect(mina.reconnecting).to_have_count(0)
    expect(mina.restored).to_be_visible()
    expect(mina.announcement("meanwhile")).to_have_count(1)
    expect(mina.announcement("before")).to_have_count(1)
    back_end.announce("after")
    expect(mina.announcement("after")).to_have_count(1)


def test_try_now_tries_now(visit: Visit, server: ServerProcess) -> None:
    """The button in the red banner does not wait for the backoff."""
    mina = visit(clock=True)
    mina.sign_in()
    expect(mina.banner).to_have_attribute("state", "connected")
    server.kill()
    expect(mina.reconnecting).to_be_visible()
    mina.pass_time_until(mina.disconnected)
    # or the page's own next try might come first
    mina.stop_clock()
    server.start()
    server.wait_ready()

    mina.banner.get_by_role("button", name="Try now").click()

    expect(mina.disconnected).to_have_count(0)
    expect(mina.restored).to_be_visible()


def test_a_blip_is_not_shown(visit: Visit, server: ServerProcess, back_end: BackEnd) -> None:
    """A line that is back within a second is nobody's business; the missed message comes all the same."""
    with Proxy(server.port) as proxy:
        mina = visit(url=f"http://127.0.0.1:{proxy.port}", clock=True)
        mina.sign_in()
        mina.enter()
        before = back_end.sockets("mina")
        mina.page.evaluate("""() => {
            const seen = globalThis.seenStates = [];
            const banner = document.querySelector('connection-status');
            new MutationObserver(() => seen.push(banner.shadowRoot.textContent.trim())).observe(
                banner.shadowRoot, { childList: true, subtree: true });
        }""")
        mina.stop_clock()

        proxy.blink()
        expect(mina.banner).to_have_attribute("state", "reconnecting")
        mina.page.clock.run_for(500)
        expect(mina.restored).to_be_visible()
        back_end.announce("still here")

        expect(mina.announcement("still here")).to_have_count(1)
        assert before != back_end.sockets("mina")
        assert [] == [words for words in mina.page.evaluate("seenStates") if words]


def test_a_silent_line_is_found_within_ten_seconds(
    visit: Visit, server: ServerProcess, back_end: BackEnd
) -> None:
    """A line that just swallows everything, as in a tunnel: nobody says that it is gone."""
    with Proxy(server.port) as proxy:
        mina = visit(url=f"http://127.0.0.1:{proxy.port}", clock=True)
        mina.sign_in()
        mina.enter()
        mina.stop_clock()
        # behind the answer to what the page asked when its clock was stopped: nothing is under way any more
        back_end.announce("the last that is heard")
        expect(mina.announcement("the last that is heard")).to_be_visible()

        proxy.stall()
        mina.page.clock.run_for(10_000)
        expect(mina.banner).to_have_attribute("state", "reconnecting")

        proxy.cut()
        proxy.mend()
        mina.page.clock.resume()
        expect(mina.banner).to_have_attribute("state", "connected")
        expect(mina.restored).to_be_visible()


def test_a_reload_restores(visit: Visit, back_end: BackEnd) -> None:
    """What was published while the page was loaded anew is there, once; so is what was there before."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    back_end.announce("before")
    expect(mina.announcement("before")).to_be_visible()

    def publish_meanwhile(route) -> None:
        back_end.announce("during")
        route.continue_()

    mina.page.route("**/page/main.js", publish_meanwhile, times=1)
    mina.page.reload()

    expect(mina.restored).to_contain_text("1 missed message")
    expect(mina.announcement("during")).to_have_count(1)
    expect(mina.announcement("before")).to_have_count(1)
    back_end.announce("after")
    expect(mina.announcement("after")).to_have_count(1)
    texts = mina.page.get_by_role("log", name="Announcements").get_by_role("paragraph").all_inner_texts()
    assert ["before", "during", "after"] == texts


def test_going_back_restores(visit: Visit, back_end: BackEnd) -> None:
    """Away to another page and back, whether the browser kept the page alive or not."""
    mina = visit()
    mina.sign_in()
    mina.enter()

    mina.page.goto("about:blank")
    back_end.announce("meanwhile")
    mina.page.go_back()

    expect(mina.announcement("meanwhile")).to_have_count(1)
    expect(mina.banner).to_have_attribute("state", "connected")


def test_a_duplicated_tab_lives_beside_the_first(visit: Visit, back_end: BackEnd) -> None:
    """It starts with a copy of the first one's storage, and takes neither its connection nor its messages."""
    mina = visit()
    mina.sign_in()
    mina.enter()
    with mina.page.expect_popup() as popup:
        mina.page.evaluate("void open(location.href)")
    twin = popup.value
    expect(twin.get_by_text("2 people here now")).to_be_visible()

    back_end.announce("to both")

    expect(mina.announcement("to both")).to_have_count(1)
    expect(twin.get_by_role("log", name="Announcements").get_by_text("to both")).to_have_count(1)
    expect(mina.banner).to_have_attribute("state", "connected")
    assert 2 == len(back_end.sockets("mina"))


def test_an_administrator_can_end_it(visit: Visit, back_end: BackEnd) -> None:
    """Removed: red, and no coming back by itself; asked by hand it connects."""
    mina = visit(clock=True)
    mina.sign_in()
    mina.enter()

    back_end.call("POST", "/api/users/mina/disconnect")
    expect(mina.disconnected).to_be_visible()
    # the page knows of the end before the server is done with it
    wait_until(lambda: not back_end.sockets("mina"), "the connection is forgotten")
    mina.page.clock.fast_forward(120_000)
    expect(mina.disconnected).to_be_visible()
    assert [] == back_end.sockets("mina")

    mina.banner.get_by_role("button", name="Try now").click()
    expect(mina.disconnected).to_have_count(0)


def test_a_restarted_server_is_waited_for(visit: Visit, server: ServerProcess, back_end: BackEnd) -> None:
    """A deploy: told to come back, the page does, and misses nothing."""
    mina = visit()
    mina.sign_in()
    mina.enter()

    assert 0 == server.terminate()
    server.start()
    server.wait_ready()
    back_end.announce("new server")

    # as long as the backoff may last that the tries during the drain have come to
    expect(mina.announcement("new server")).to_have_count(1, timeout=60_000)
    expect(mina.banner).to_have_attribute("state", "connected")
    expect(mina.reconnecting).to_have_count(0)


def test_the_token_is_not_in_the_address(visit: Visit) -> None:
    """The WebSocket's URL names no token: addresses end up in logs."""
    mina = visit(path="/static/favicon.svg")
    with mina.page.expect_websocket() as opened:
        mina.page.goto(mina.url)
        mina.sign_in()

    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/ws", opened.value.url)
