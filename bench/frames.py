"""Does a browser keep its pace while a house of 5,000 seats changes under its eyes?

A real Chromium on a real server shows the demo's arena, while others hold and release seats all over it: ten
frames a second come, of a hundred seats each. What the browser drew is told by its own clock; what its main
thread worked for each frame, in CPU time, which others on this machine cannot lengthen. Run:
``.venv/bin/python -m bench.frames [--seconds 5]``; it wants Debian's chromium.
"""

import argparse
import itertools
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import CDPSession, Page, expect, sync_playwright
from websockets.sync.client import ClientConnection, connect

from bench.report import percentile
from tests.support.api import Api
from tests.support.demo import CHROMIUM, arena_settings, demo
from tests.support.servers import ServerProcess
from tests.support.tokens import token

EVENT = "demo-arena"
SECTIONS = {"FLOOR": 20, "EAST": 40, "WEST": 40}
SEATS_A_ROW = 50
SEATS_AT_ONCE = 50
COMMANDS_A_SECOND = 20
VIEWPORT = {"width": 1280, "height": 800}
ZOOM_STEPS = 4
SETTLE_MS = 500
"""What was done before is over by then."""
WANTED_FRAMES = 58
"""A second; a screen has 60."""
WANTED_WORK_MS = 8
"""Half of the time that there is for a frame: the other half is for slower machines."""


@dataclass
class Pace:
    """What a browser did in a while: the times between frames, and the CPU time of its main thread."""

    gaps_ms: list[float]
    work_ms: float
    changes: int

    @property
    def frames_a_second(self) -> float:
        return 1000 * len(self.gaps_ms) / sum(self.gaps_ms)

    @property
    def work_a_frame(self) -> float:
        return self.work_ms / len(self.gaps_ms)

    @property
    def is_kept(self) -> bool:
        return self.frames_a_second >= WANTED_FRAMES and self.work_a_frame <= WANTED_WORK_MS


class Sale:
    """Users who take and let go seats, in a thread of their own, for as long as asked for."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._seats = [
            f"{section}-{row}-{seat}"
            for section, rows in SECTIONS.items()
            for row in range(1, rows + 1)
            for seat in range(1, SEATS_A_ROW + 1)
        ]
        self._stop = threading.Event()
        self.changes = 0
        """Seats that have changed hands."""

    @contextmanager
    def going(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        with connect(f"{self._server.ws_url}?token={token('crowd')}") as socket:
            for number in itertools.count():
                chosen = random.sample(self._seats, SEATS_AT_ONCE)
                for command in ("hold-seats", "release-seats"):
                    self._say(socket, {"type": command, "eventId": EVENT, "seats": chosen, "id": number})
                    self.changes += SEATS_AT_ONCE
                    if self._stop.wait(1 / COMMANDS_A_SECOND):
                        return

    def _say(self, socket: ClientConnection, command: dict[str, object]) -> None:
        socket.send(json.dumps(command))
        while json.loads(socket.recv()).get("id") != command["id"]:
            pass


NOTE_FRAMES = """() => {
    let last = 0;
    globalThis.gaps = [];
    const tick = (now) => {
        if (last) gaps.push(now - last);
        last = now;
        requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
}"""
"""From now on the times between frames are written down."""


def watch(page: Page, cdp: CDPSession, sale: Sale, seconds: float, act: Callable[[], None]) -> Pace:
    """Do something again and again, and see how the browser keeps its pace."""
    page.wait_for_timeout(SETTLE_MS)
    work, changes = worked(cdp), sale.changes
    page.evaluate("gaps.length = 0")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        act()
    gaps = page.evaluate("[...gaps]")
    return Pace(gaps, 1000 * (worked(cdp) - work), sale.changes - changes)


def worked(cdp: CDPSession) -> float:
    """Seconds of CPU time that the page's main thread has worked."""
    told = {metric["name"]: metric["value"] for metric in cdp.send("Performance.getMetrics")["metrics"]}
    return float(told["TaskDuration"])


def arrive(page: Page, server: ServerProcess) -> None:
    """Into the arena, with the whole house in sight."""
    page.goto(server.url)
    page.get_by_role("textbox").fill("mina")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Paper Comets").click()
    expect(page.get_by_role("grid")).to_be_visible()
    page.locator("seat-map canvas").scroll_into_view_if_needed()


def scenes(page: Page) -> Iterator[tuple[str, Callable[[], None]]]:
    """What is done while the seats change, one after the other: a name, and what to do again and again."""
    step = itertools.count()

    def look() -> None:
        page.wait_for_timeout(100)

    yield "the whole house in sight", look
    x, y = middle(page)
    for _ in range(ZOOM_STEPS):
        page.get_by_role("button", name="Zoom in").click()
    page.mouse.move(x, y)
    page.mouse.down()

    def drag() -> None:
        at = next(step)
        page.mouse.move(x + 4 * (at % 60 - 30), y + 3 * (at % 40 - 20))

    yield "enlarged, and dragged", drag
    page.mouse.up()
    grid = page.locator("seat-map .seat-scroll")
    grid.scroll_into_view_if_needed()

    def scroll() -> None:
        grid.evaluate("(box, top) => box.scrollTo(0, top)", 20 * (next(step) % 60))

    yield "a section scrolled", scroll


def middle(page: Page) -> tuple[float, float]:
    """Of the house that is drawn."""
    box = page.locator("seat-map canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def told(pace: Pace) -> str:
    """The figures in a line."""
    gaps = ", ".join(f"{percentile(pace.gaps_ms, share):.1f}" for share in (50, 95, 99, 100))
    return (
        f"{pace.frames_a_second:.1f} frames a second (ms between them, 50, 95, 99 and 100 %: {gaps}), "
        f"{pace.work_a_frame:.1f} ms of CPU for each, {pace.changes:,} seats changed"
    )


def measure(page: Page, server: ServerProcess, seconds: float) -> bool:
    """Scene by scene; whether the pace was kept in each."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
    arrive(page, server)
    page.evaluate(NOTE_FRAMES)
    sale = Sale(server)
    rest = watch(page, cdp, sale, seconds, lambda: page.wait_for_timeout(100))
    print(f"nothing happens: {told(rest)}")
    good = True
    with sale.going():
        for name, act in scenes(page):
            pace = watch(page, cdp, sale, seconds, act)
            good &= pace.is_kept
            print(f"{name}: {told(pace)}: {'ok' if pace.is_kept else 'MISSED'}")
    return good


def main() -> int:
    """Run it; returns 1 where a target was missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="for each scene")
    seconds = options.parse_args().seconds
    if not Path(CHROMIUM).exists():
        print("needs Debian's chromium: nothing was measured")
        return 0
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with demo() as server, sync_playwright() as playwright:
        api = Api(server)
        api.request("PUT", f"/api/events/{EVENT}", {**arena_settings(api), "maxSeats": 1000})
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        good = measure(chromium.new_page(viewport=VIEWPORT), server, seconds)  # type: ignore[arg-type]
        chromium.close()
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
