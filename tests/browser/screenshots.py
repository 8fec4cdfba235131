"""Draws the main states of the demo page into ``docs/images``: ``make screenshots``."""

import base64
import json
import os
import struct
import zlib
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright
from websockets.sync.client import connect

from tests.support.api import Api
from tests.support.demo import CHROMIUM, arena_settings, demo
from tests.support.servers import ServerProcess
from tests.support.tokens import API_KEY, token

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LARGE = {"width": 1120, "height": 700}
SMALL = {"width": 390, "height": 780}
MAX_BYTES = 150_000


def main() -> None:
    """Start a demo, walk through it, and take its pictures."""
    with demo() as server, sync_playwright() as playwright:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        fill_house(server)
        walk(sign_in(chromium, server, "mina", viewport=LARGE))
        queue(sign_in(chromium, server, "joon", viewport=SMALL, color_scheme="dark"), server)
        break_line(sign_in(chromium, server, "sua", viewport=LARGE))
        operate(chromium, server)
        chromium.close()


def fill_house(server: ServerProcess) -> None:
    """Let the arena look like a sale: many seats have gone."""
    api = Api(server)
    api.request("PUT", "/api/events/demo-arena", {**arena_settings(api), "maxSeats": 1000})
    for section, rows in (("FLOOR", 7), ("EAST", 9), ("WEST", 5)):
        hold_and_buy(
            server, [f"{section}-{r}-{s}" for r in range(1, rows) for s in range(8, 44) if (r * s) % 7]
        )
    api.request("PUT", "/api/events/demo-arena", arena_settings(api))


def hold_and_buy(server: ServerProcess, seats: list[str]) -> None:
    """Somebody takes these seats, and pays for most of them."""
    user = f"crowd-{seats[0]}"
    with connect(f"{server.ws_url}?token={token(user)}") as socket:
        socket.recv()
        socket.send(json.dumps({"type": "hold-seats", "eventId": "demo-arena", "seats": seats, "id": 1}))
        while json.loads(socket.recv()).get("id") != 1:
            pass
    bought = seats[: len(seats) * 2 // 3]
    Api(server).request("POST", "/api/events/demo-arena/bookings", {"userId": user, "seats": bought})


def sign_in(chromium: Browser, server: ServerProcess, name: str, **look: object) -> Page:
    page = chromium.new_context(reduced_motion="reduce", **look).new_page()  # type: ignore[arg-type]
    page.goto(server.url)
    if name == "mina":
        take(page, "sign-in")
    page.get_by_role("textbox").fill(name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Paper Comets")).to_be_visible()
    return page


def walk(page: Page) -> None:
    """The list, an event with seats held, and the ticket."""
    take(page, "events")
    page.get_by_role("link", name="Paper Comets").click()
    page.get_by_role("combobox", name="How many seats").select_option("2 seats")
    page.get_by_role("button", name="Pick the best").click()
    expect(page.get_by_role("timer")).to_be_visible()
    page.get_by_role("textbox", name="Message").fill("Two in row 7!")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("log", name="Chat")).to_contain_text("Two in row 7!")
    page.evaluate("scrollTo(0, 330)")
    take(page, "event-page")
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("dialog", name="Your ticket")).to_be_visible()
    take(page, "ticket")


def queue(page: Page, server: ServerProcess) -> None:
    """On a phone, at night: the waiting room."""
    event = {
        "title": "The Lighthouse Keeper's Daughter, a musical",
        "capacity": 1,
        "startsAt": 4_102_444_800_000,
    }
    Api(server).request("PUT", "/api/events/demo-musical", event)
    page.reload()
    page.get_by_role("link", name="Lighthouse").click()
    page.get_by_role("button", name="Join the waiting room").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    take(page, "waiting-room")


def break_line(page: Page) -> None:
    """The line was cut, and the drawer tells of it."""
    page.get_by_role("link", name="Seorin Quartet").click()
    expect(page.get_by_role("grid")).to_be_visible()
    page.get_by_role("button", name="What just happened").click()
    page.get_by_role("combobox", name="For how long").select_option("30 seconds")
    page.get_by_role("button", name="Cut the line").click()
    expect(page.locator("connection-status").get_by_text("Reconnecting")).to_be_visible()
    take(page, "reconnecting")


def operate(chromium: Browser, server: ServerProcess) -> None:
    page = chromium.new_context(viewport=LARGE, color_scheme="dark").new_page()  # type: ignore[arg-type]
    page.goto(f"{server.url}/ops")
    page.locator("#key").fill(API_KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("rowheader", name="Paper Comets")).to_be_visible()
    take(page, "operations")


def take(page: Page, name: str) -> None:
    """One picture; a large one would weigh on everyone who clones."""
    path = IMAGES / f"{name}.png"
    blank = page.context.browser.new_page()  # type: ignore[union-attr]
    width, height, pixels = blank.evaluate(PIXELS, base64.b64encode(page.screenshot()).decode())
    blank.close()
    path.write_bytes(png(width, height, base64.b64decode(pixels)))
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path.name} has {path.stat().st_size} bytes, more than {MAX_BYTES}")


PIXELS = """async (picture) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height);
    const brush = canvas.getContext('2d');
    brush.drawImage(image, 0, 0);
    const { data } = brush.getImageData(0, 0, image.width, image.height);
    const coarse = (value) => Math.round(value / 5) * 5;
    let rgb = '';
    for (let i = 0; i < data.length; i += 4)
        rgb += String.fromCharCode(coarse(data[i]), coarse(data[i + 1]), coarse(data[i + 2]));
    return [image.width, image.height, btoa(rgb)];
}"""
"""Size and RGB of a picture, in fewer colours: what dithers a gradient is most of its bytes."""


def png(width: int, height: int, rgb: bytes) -> bytes:
    """The same as a PNG (ISO/IEC 15948) as small as zlib makes it; browsers write theirs in a hurry."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + rgb[y * width * 3 : (y + 1) * width * 3] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"".join(rows), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


if __name__ == "__main__":
    main()
