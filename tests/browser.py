"""A real headless Chromium on a small page, where the control room's own module is mounted.

What the page sends goes to a `Room`, and its frames go to the page: as in a notebook, but without
a server. Chromium is Debian's (`apt-get install chromium`), Playwright drives it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped, with a reason, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def a_page(browser: Any, width: int = 1280, dark: bool = False) -> Iterator[Any]:
    """A page with nothing of those before; it must end without an error."""
    scheme = "dark" if dark else "light"
    page = browser.new_page(viewport={"width": width, "height": 1500}, color_scheme=scheme)
    page.set_default_timeout(10_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on(
        "console",
        lambda line: page.errors.append(line.text) if line.type == "error" else None,
    )
    try:
        yield page
        assert page.errors == []
    finally:
        page.close()


class Shown:
    """A control room in a page: what a person would click there, by what it is called."""

    def __init__(self, page: Any, room: Any) -> None:
        from pathlib import Path

        import p2pqg.control
        from p2pqg.page import front

        self.page, self.room = page, room
        self.frames: deque[dict[str, Any]] = deque()
        module = (Path(p2pqg.control.__file__).parent / "control.js").read_text()
        esm = front.script() + module.replace("export default", "window.control =")
        page.set_content(f"<style>{front.style()}</style><div id=here></div>")
        page.expose_function("toKernel", room.act)
        page.evaluate(
            """(esm) => {
              const heard = [], known = { card: "<p>the card</p>", attacks: ["sign-flip", "noise"],
                topologies: ["ring8", "exponential8"] };
              window.fromKernel = (frame) => heard.forEach((listener) => listener(frame));
              const script = document.createElement("script");
              script.textContent = `(() => {${esm}})()`;
              document.body.append(script);
              control.render({ el: document.getElementById("here"), model: {
                get: (key) => known[key], send: (message) => toKernel(message),
                on: (name, listener) => { if (name === "msg:custom") heard.push(listener); },
                off: () => {},
              } });
            }""",
            esm,
        )
        room.listeners.append(lambda frame: self.frames.append(json.loads(json.dumps(frame))))
        page.evaluate("toKernel({do: 'hello'})")
        self.settle()

    def deliver(self) -> None:
        while self.frames:
            self.page.evaluate("(frame) => fromKernel(frame)", self.frames.popleft())

    def settle(self) -> None:
        """Until the room stands and the page shows how."""
        self.page.wait_for_timeout(30)
        while self.room.is_busy:
            self.page.wait_for_timeout(20)
            self.deliver()
        self.deliver()

    def press(self, name: str) -> None:
        """Click a button by its name."""
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.settle()

    def key(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.settle()

    def spot(self, client: int, branch: int = 0) -> tuple[float, float]:
        """Where a client is, in the pixels of its canvas."""
        scene = self.room.branches[branch]._scene[1]
        box = self.canvas(branch).bounding_box()
        scale = min(box["width"] / scene["width"], 520 / scene["height"], 1.6)
        left = (box["width"] - scene["width"] * scale) / 2
        x, y = scene["spots"][client]
        top = max(0, box["height"] - math.ceil(scene["height"] * scale))  # room for names
        return left + x * scale, top + y * scale

    def canvas(self, branch: int = 0) -> Any:
        return self.page.locator("section.network canvas[tabindex]").nth(branch)

    def click_client(self, client: int, item: str, branch: int = 0) -> None:
        """Open its menu and take an item of it."""
        x, y = self.spot(client, branch)
        self.canvas(branch).click(position={"x": x, "y": y})
        self.page.get_by_role("menuitem", name=item, exact=True).click()
        self.settle()

    def click_link(self, a: int, b: int, branch: int = 0) -> None:
        (ax, ay), (bx, by) = self.spot(a, branch), self.spot(b, branch)
        self.canvas(branch).click(position={"x": (ax + bx) / 2, "y": (ay + by) / 2})
        self.settle()

    def drag(self, a: int, b: int, branch: int = 0) -> None:
        """From client to client: a new link."""
        box = self.canvas(branch).bounding_box()
        (ax, ay), (bx, by) = self.spot(a, branch), self.spot(b, branch)
        mouse = self.page.mouse
        mouse.move(box["x"] + ax, box["y"] + ay)
        mouse.down()
        mouse.move(box["x"] + (ax + bx) / 2, box["y"] + (ay + by) / 2)
        mouse.move(box["x"] + bx, box["y"] + by)
        mouse.up()
        self.settle()

    def choose(self, label: str, value: str) -> None:
        self.page.get_by_label(label).first.select_option(value)
        self.settle()

    def fill(self, label: str, value: str) -> None:
        box = self.page.get_by_label(label).first
        box.fill(value)
        box.press("Enter")
        self.settle()

    def slide(self, label: str, value: float) -> None:
        """Move a slider and let go."""
        self.page.get_by_label(label, exact=True).first.evaluate(
            """(input, value) => { input.value = value; input.dispatchEvent(new Event("input"));
                 input.dispatchEvent(new Event("change")); }""",
            value,
        )
        self.settle()

    @property
    def sentence(self) -> str:
        return self.page.locator(".sentence").inner_text()
