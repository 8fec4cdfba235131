"""The list, the event and the talk, in both languages, on phone and desktop, in light and dark."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BackEnd, Visit
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


def test_two_browsers_talk(visit: Visit) -> None:
    """Each sees what the other says, once, with the name; and how many are here."""
    mina, joon = visit(), visit()
    mina.sign_in("mina")
    joon.sign_in("joon")
    mina.enter()
    joon.enter()
    for visitor in (mina, joon):
        expect(visitor.page.get_by_text("2 people here now")).to_be_visible()

    mina.say("안녕, joon")
    expect(joon.said("안녕, joon")).to_be_visible()
    joon.say("hello mina")
    expect(mina.said("hello mina")).to_be_visible()

    for visitor in (mina, joon):
        expect(visitor.said("안녕, joon")).to_have_count(1)
        expect(visitor.said("hello mina")).to_have_count(1)
    expect(joon.page.get_by_role("listitem").filter(has_text="안녕, joon")).to_contain_text("mina")
    expect(joon.page.get_by_role("textbox", name="Message")).to_have_value("")


def test_what_is_said_while_away_is_sent_once(visit: Visit, server: ServerProcess) -> None:
    """A message given while the server is down waits for it, and is not said twice."""
    mina, joon = visit(), visit()
    mina.sign_in("mina")
    joon.sign_in("joon")
    mina.enter()
    joon.enter()

    server.kill()
    expect(mina.banner).to_have_attribute("state", "reconnecting")
    mina.say("are you there?")
    server.start()
    server.wait_ready()

    # as long as the backoff may last that the tries meanwhile have come to
    expect(joon.said("are you there?")).to_have_count(1, timeout=60_000)
    expect(mina.said("are you there?")).to_have_count(1, timeout=60_000)


def test_words_are_never_markup(visit: Visit, back_end: BackEnd) -> None:
    """What looks like HTML is shown as it was written."""
    mina = visit()
    mina.sign_in("<b>mina</b>")
    mina.enter()

    mina.say("<img src=x onerror=alert(1)>")
    back_end.announce("<script>alert(2)</script>")

    expect(mina.said("<img src=x onerror=alert(1)>")).to_be_visible()
    expect(mina.announcement("<script>alert(2)</script>")).to_be_visible()


def test_leaving_the_event_leaves_its_room(visit: Visit, back_end: BackEnd) -> None:
    """Back on the list one hears nothing more of it, and is not counted there."""
    mina, joon = visit(), visit()
    mina.sign_in("mina")
    joon.sign_in("joon")
    mina.enter()
    joon.enter()
    expect(joon.page.get_by_text("2 people here now")).to_be_visible()

    mina.page.get_by_role("link", name="All events").click()

    expect(joon.page.get_by_text("1 person here now")).to_be_visible()
    assert back_end.call("GET", "/api/users/mina")["session"]["eventId"] is None


def test_prices_are_shown_where_there_are_any(visit: Visit) -> None:
    """The lowest on the list, each on the event's page; a section without one has none."""
    mina = visit()
    mina.sign_in()
    expect(mina.page.get_by_role("article").filter(has_text="Paper Boats")).to_contain_text("from ₩50,000")

    mina.enter()

    sections = mina.page.get_by_role("listitem").filter(has_text=re.compile("^[AB]"))
    expect(sections).to_have_text(["A10 seats", "B₩50,0004 seats"])


def test_another_device_finds_the_way_back(visit: Visit) -> None:
    """A new browser is told of the restored session, and leads to the event that one was in."""
    mina = visit()
    mina.sign_in()
    mina.enter()

    phone = visit(viewport=PHONE)
    phone.sign_in()
    expect(phone.restored).to_be_visible()
    phone.page.get_by_role("link", name="Back to your event").click()

    expect(phone.page.get_by_role("heading", name="Paper Boats", level=1)).to_be_visible()
    phone.wait_until_in()


def test_an_event_that_does_not_exist(visit: Visit) -> None:
    """Says so, and leads back."""
    mina = visit(path="/#/events/nothing")
    mina.sign_in()

    expect(mina.page.get_by_role("heading", name="There is no such event")).to_be_visible()
    mina.page.get_by_role("link", name="All events").click()
    expect(mina.page.get_by_role("link", name="Paper Boats")).to_be_visible()


def test_an_empty_list(visit: Visit, back_end: BackEnd) -> None:
    """Nothing for sale is a state of its own, not a blank."""

    def listed() -> list[str]:
        return [event["id"] for event in back_end.call("GET", "/api/events")["events"]]

    # a demo is ready a moment before the last of its events is made
    wait_until(
        lambda: sum(event.startswith("demo-") for event in listed()) == 3, "the demo's events are there"
    )
    for event in listed():
        back_end.call("DELETE", f"/api/events/{event}")
    mina = visit()
    mina.sign_in()

    expect(mina.page.get_by_role("heading", name="Nothing is on stage yet")).to_be_visible()


def test_a_list_that_cannot_be_had(visit: Visit) -> None:
    """Says so, and a press tries again."""
    mina = visit()
    mina.page.route("**/events", lambda route: route.abort(), times=1)
    mina.sign_in()

    expect(mina.page.get_by_role("heading", name="That could not be loaded")).to_be_visible()
    mina.page.get_by_role("button", name="Try again").click()

    expect(mina.page.get_by_role("link", name="Paper Boats")).to_be_visible()


def test_in_korean(visit: Visit, back_end: BackEnd) -> None:
    """By the browser's language, from the sign-in to the chat; the document says which it is."""
    mina = visit(locale="ko-KR")
    expect(mina.page.locator("html")).to_have_attribute("lang", "ko")

    mina.page.get_by_role("textbox", name="이름").fill("미나")
    mina.page.get_by_role("button", name="로그인").click()
    expect(mina.page.get_by_role("heading", name="공연", exact=True)).to_be_visible()
    mina.page.get_by_role("link", name="Paper Boats").click()
    expect(mina.page.get_by_text("지금 1명이 보고 있습니다")).to_be_visible()
    mina.page.get_by_role("textbox", name="메시지").fill("안녕하세요")
    mina.page.get_by_role("button", name="보내기").click()
    back_end.announce("7시에 문을 엽니다")

    expect(mina.page.get_by_role("log", name="채팅").get_by_text("안녕하세요")).to_be_visible()
    expect(mina.page.get_by_role("log", name="공지").get_by_text("7시에 문을 엽니다")).to_be_visible()


def test_a_name_in_any_script(visit: Visit) -> None:
    """The server makes a plain id of it; people read the name that was typed, also after a reload."""
    mina, joon = visit(), visit()
    mina.sign_in("미나")
    joon.sign_in("joon")
    mina.enter()
    joon.enter()

    mina.say("안녕")
    mina.page.reload()

    expect(mina.page.get_by_role("banner").get_by_text("미나", exact=True)).to_be_visible()
    expect(joon.page.get_by_role("listitem").filter(has_text="안녕")).to_contain_text("미나")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("locale", ["en-GB", "ko-KR"])
def test_nothing_is_cut_off(
    visit: Visit, back_end: BackEnd, scheme: str, viewport: dict[str, int], locale: str
) -> None:
    """Neither page scrolls sideways, and every text can be told from its ground (WCAG AA)."""
    mina = visit(color_scheme=scheme, viewport=viewport, locale=locale)
    for step in ("sign-in", "list", "event"):
        if step == "list":
            mina.page.get_by_role("textbox").fill("mina-with-a-rather-long-name-of-her-own")
            mina.page.keyboard.press("Enter")
            expect(mina.page.get_by_role("link", name="Paper Boats")).to_be_visible()
        elif step == "event":
            mina.page.get_by_role("link", name="Paper Boats").click()
            mina.wait_until_in()
            back_end.announce("word " * 20 + "x" * 200)
            expect(mina.page.get_by_text("x" * 200)).to_be_visible()

        assert mina.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], step
        assert [] == mina.page.evaluate(LOW_CONTRAST), step


LOW_CONTRAST = """() => {
    const channel = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const style = getComputedStyle(e);
            if (style.backgroundImage !== 'none') return null;
            const color = rgba(style.backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
        const style = getComputedStyle(element), back = ground(element);
        if (!back) continue;
        const [a, b] = [luminance(rgba(style.color)), luminance(back)].sort((x, y) => y - x);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < (large ? 3 : 4.5)) low.push(`${ratio.toFixed(2)} ${element.textContent}`);
    }
    return low;
}"""
"""The texts whose contrast to a plain ground is below 4.5, or 3 for large ones."""
