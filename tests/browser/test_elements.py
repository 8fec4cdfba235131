"""The custom elements, each alone on a page that has nothing else of ours."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import BackEnd, Visit
from tests.support.servers import ServerProcess

pytestmark = pytest.mark.browser

BARE = """<!doctype html><html lang="en"><title>A shop</title><body>{body}
<script type="module" src="/static/keepseat/elements/define.js"></script></body></html>"""
HOUSE = {"sections": [{"name": name, "rows": 20, "seatsPerRow": 30} for name in ("N", "S")]}
"""So large that no seat can be pressed while all of it is in sight."""


def bare(browser: Browser, server: ServerProcess, body: str) -> Page:
    """Somebody else's page, with an element of ours."""
    page = browser.new_context(viewport={"width": 900, "height": 900}).new_page()
    page.route("**/shop", lambda route: route.fulfill(body=BARE.format(body=body), content_type="text/html"))
    page.goto(f"{server.url}/shop")
    return page


def test_a_countdown_warns_and_ends(browser: Browser, server: ServerProcess) -> None:
    """A timer that says, once for each end, that little is left, and that it is over."""
    page = bare(browser, server, "<hold-countdown warn-seconds='60'></hold-countdown>")
    page.evaluate("""() => {
        const element = document.querySelector('hold-countdown');
        globalThis.told = [];
        globalThis.time = 0;
        element.now = () => time;
        for (const type of ['warn', 'ended']) element.addEventListener(type, () => told.push(type));
        element.setAttribute('expires-at', 90_000);
    }""")
    timer = page.get_by_role("timer")
    expect(timer).to_have_text("1:30")

    page.evaluate("time = 30_000")
    expect(timer).to_have_text("1:00")
    page.evaluate("document.querySelector('hold-countdown').setAttribute('expires-at', 120_000)")
    expect(timer).to_have_text("1:30")
    page.evaluate("time = 119_001")
    expect(timer).to_have_text("0:01")
    page.evaluate("document.querySelector('hold-countdown').setAttribute('expires-at', 121_000)")
    expect(timer).to_have_text("0:02")
    page.evaluate("time = 121_000")
    expect(timer).to_have_text("0:00")

    assert ["warn", "warn", "warn", "ended"] == page.evaluate("told")
    page.context.close()


def test_a_place_in_line_is_shown_as_it_changes(browser: Browser, server: ServerProcess) -> None:
    """The figures of whatever queue it is given; live or last known; its buttons only tell."""
    page = bare(browser, server, "<waiting-room live></waiting-room>")
    page.evaluate("""() => {
        const element = document.querySelector('waiting-room');
        globalThis.queue = Object.assign(new EventTarget(),
            { position: 40, firstPosition: 50, total: 120, etaSeconds: 30, available: 7 });
        element.queue = queue;
        globalThis.told = [];
        for (const type of ['leave', 'hide']) element.addEventListener(type, () => told.push(type));
    }""")
    room = page.locator("waiting-room")
    expect(room).to_contain_text("Your position40")
    expect(room).to_contain_text("30 seconds")
    expect(room.get_by_role("status")).to_have_text("Live")

    page.evaluate(
        "Object.assign(queue, { position: 1, etaSeconds: null }).dispatchEvent(new Event('change'))"
    )
    expect(room).to_contain_text("Your position1")
    expect(room).to_contain_text("Unknown, or paused")
    bar = room.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", bar.get_attribute("aria-valuemax") or "?")
    page.evaluate("document.querySelector('waiting-room').removeAttribute('live')")
    expect(room.get_by_role("status")).to_have_text("Last known")
    room.get_by_role("button", name="Hide").click()
    room.get_by_role("button", name="Leave the line").click()

    assert ["hide", "leave"] == page.evaluate("told")
    page.context.close()


def test_a_house_is_pressed_by_mouse_and_keys(browser: Browser, server: ServerProcess) -> None:
    """A press on a section opens it, one on a seat names it, as Enter in the grid does; states follow."""
    page = bare(browser, server, "<seat-map></seat-map>")
    page.evaluate(
        """(house) => {
        const map = document.querySelector('seat-map');
        const states = globalThis.states = new Map();
        globalThis.seats = new (class extends EventTarget {
            stateOf(id) { return states.get(id) ?? 'available'; }
            get taken() { return states.keys(); }
        })();
        map.seating = house;
        map.seats = seats;
        globalThis.told = [];
        map.addEventListener('seat-press', ({ detail }) => told.push(detail.seat.id));
    }""",
        HOUSE,
    )
    sections = page.get_by_role("group", name="Sections").get_by_role("button")
    expect(sections).to_have_text(["N600 free", "S600 free"])

    page.evaluate(LAID_OUT)
    box = canvas_box(page)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.8)
    expect(page.get_by_role("grid", name="Seats of section S")).to_be_visible()
    expect(sections.nth(1)).to_have_attribute("aria-pressed", "true")
    zoom_until_pressed(page)
    assert page.evaluate("told")[0].startswith("S-")

    page.get_by_role("gridcell", name="Section S, row 1, seat 1, available").press("Enter")
    assert "S-1-1" == page.evaluate("told.at(-1)")
    page.evaluate("""() => {
        states.set('S-1-1', 'sold');
        seats.dispatchEvent(new CustomEvent('change', { detail: { seats: ['S-1-1'] } }));
    }""")
    expect(page.get_by_role("gridcell", name="Section S, row 1, seat 1, sold")).to_be_visible()
    expect(sections.nth(1)).to_have_text("S599 free")
    page.context.close()


LAID_OUT = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""The house learns how large it is with the first frame: what is pressed sooner meets nothing."""


def canvas_box(page: Page) -> Any:
    return page.locator("seat-map canvas").bounding_box()


def zoom_until_pressed(page: Page) -> None:
    """Once a section is open its seats are large enough for a finger; some press in its middle meets one."""
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    box = canvas_box(page)
    for dx in range(0, 40, 8):
        for dy in range(0, 40, 8):
            page.mouse.click(box["x"] + box["width"] / 2 + dx, box["y"] + box["height"] / 2 + dy)
            if page.evaluate("told.length"):
                return
    raise AssertionError("no seat was met: " + json.dumps(box))


def test_a_rush_of_changes_costs_a_drawing_a_frame(browser: Browser, server: ServerProcess) -> None:
    """However many seats change within a frame, the house is drawn once, and the document does not grow."""
    page = bare(browser, server, "<seat-map></seat-map>")
    page.evaluate(COUNT_DRAWINGS)
    page.evaluate(SHOW_ARENA)
    nodes = "document.querySelector('seat-map').shadowRoot.querySelectorAll('*').length"
    before = page.evaluate(nodes)

    assert 1 == page.evaluate("rush(1, 500)")
    assert 30 == page.evaluate("rush(30, 40)")

    assert before == page.evaluate(nodes)
    taken = page.evaluate("states.size")
    free = 5000 - taken
    expect(page.get_by_role("group", name="Sections").locator("small")).to_have_count(2)
    shown = page.get_by_role("group", name="Sections").locator("small").all_inner_texts()
    assert free == sum(int(text.split()[0].replace(",", "")) for text in shown)
    assert page.get_by_role("gridcell", name="sold").count() == page.evaluate(
        "[...states.keys()].filter((id) => id.startsWith('N-')).length"
    )
    page.context.close()


COUNT_DRAWINGS = """() => {
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    globalThis.drawings = 0;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        drawings += 1;
        clear.apply(this, box);
    };
}"""
"""Each drawing of the house begins with a clean sheet."""

SHOW_ARENA = """async () => {
    const map = document.querySelector('seat-map');
    const states = globalThis.states = new Map();
    const seats = new (class extends EventTarget {
        stateOf(id) { return states.get(id) ?? 'available'; }
        get taken() { return states.keys(); }
    })();
    map.seating = { sections: ['N', 'S'].map((name) => ({ name, rows: 50, seatsPerRow: 50 })) };
    map.seats = seats;
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    let next = 0;
    const change = () => {
        // all over the house, by a stride that has no factor in common with its size
        const at = (next++ * 1009) % 5000;
        const id = `${at < 2500 ? 'N' : 'S'}-${(Math.floor(at / 50) % 50) + 1}-${(at % 50) + 1}`;
        states.set(id, 'sold');
        seats.dispatchEvent(new CustomEvent('change', { detail: { seats: [id] } }));
    };
    /** So many changes in each of so many frames; how often the house was drawn. */
    globalThis.rush = async (frames, changes) => {
        const before = drawings;
        for (let i = 0; i < frames; i++) {
            for (let j = 0; j < changes; j++) change();
            await frame();
        }
        await frame();
        return drawings - before;
    };
    // laid out, and drawn for the first time
    while (!drawings) await frame();
    await frame();
    await frame();
}"""
"""An arena whose seats are sold as fast as is asked for."""


def test_five_thousand_seats_follow_every_change(visit: Visit, back_end: BackEnd) -> None:
    """An arena: what others take in sections that are not open is counted, and drawn in the whole house."""
    sections = [{"name": name, "rows": 40, "seatsPerRow": 50} for name in ("EAST", "WEST")]
    floor = {"name": "FLOOR", "rows": 20, "seatsPerRow": 50}
    back_end.call("PUT", "/api/events/arena", {"title": "Big Arena", "sections": [floor, *sections]})
    mina = visit()
    mina.sign_in()
    mina.enter("Big Arena")
    expect(mina.page.get_by_role("grid", name="Seats of section FLOOR")).to_be_visible()
    expect(mina.page.locator("seat-map [role=gridcell]")).to_have_count(1000)
    blank = mina.page.evaluate(DRAWN)

    joon = visit()
    joon.sign_in("joon")
    joon.enter("Big Arena")
    joon.page.get_by_role("combobox", name="How many seats").select_option("4 seats")
    joon.page.get_by_role("combobox", name="Where").select_option("Section WEST")
    joon.page.get_by_role("button", name="Pick the best").click()

    west = mina.page.get_by_role("button", name="WEST")
    expect(west).to_contain_text("1,996 free")
    mina.page.wait_for_function(f"(before) => ({DRAWN})() !== before", arg=blank)
    west.click()
    expect(mina.page.get_by_role("gridcell", name="held by someone else")).to_have_count(4)


DRAWN = """() => {
    const canvas = document.querySelector('seat-map').shadowRoot.querySelector('canvas');
    return canvas.toDataURL();
}"""
"""The house as it is drawn."""
