"""Somebody who visits the page: what they do, and everything that went wrong in their browser meanwhile."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

_WATCH = """
  window.blocked = [];
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
    blocked.push(`${violatedDirective} ${blockedURI}`);
  });
  window.shifted = 0;
  window.moved = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      shifted += entry.value;
      for (const { node, previousRect: was, currentRect: is } of entry.sources)
        moved.push(`${node?.id || node?.className || node?.nodeName} ${was.x},${was.y} -> ${is.x},${is.y}`);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""
"""Runs before the page: notes what its policy blocks, and how far things jump without the user's doing."""

_DROP = """(names) => {
  const dataTransfer = new DataTransfer();
  for (const name of names) dataTransfer.items.add(new File([name.repeat(512)], name, { type: "audio/mpeg" }));
  for (const type of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
}"""

_BROKEN_WORDS = r"""() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { currentNode: node } = walker;
    if (!node.parentElement.checkVisibility() || node.parentElement.closest(".hidden, select")) continue;
    for (const match of node.data.matchAll(/\p{L}{1,20}/gu)) {
      const range = document.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      const cut = node.parentElement.closest(".title"); // ends in an ellipsis
      const out = !cut && range.getBoundingClientRect().right > document.documentElement.clientWidth;
      if (lines.size > 1 || out) found.push(match[0]);
    }
  }
  return found;
}"""

_SERIOUS = {"serious", "critical"}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@dataclass
class Visitor:
    """A page with a fresh context of its own."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    expected: str | None = None
    """What the console may say, as a pattern: browsers log every answer that is no success."""
    origins: set[str] = field(default_factory=set)
    """Where the page's requests went."""

    @classmethod
    @contextlib.contextmanager
    def arriving(cls, browser: Browser, url: str, path: str = "/", **context: Any) -> Iterator[Self]:
        """Open the page; at the end, complain about what went wrong."""
        opened = browser.new_context(**{"viewport": {"width": 1120, "height": 860}, **context})
        opened.set_default_timeout(60_000)
        opened.add_init_script(_WATCH)
        visitor = cls(opened.new_page(), url)
        visitor.page.on("request", lambda request: visitor.origins.add(_origin(request.url)))
        visitor.page.on("console", visitor._hear)
        visitor.page.on("pageerror", lambda error: visitor.errors.append(str(error)))
        try:
            visitor.page.goto(url + path)
            yield visitor
            assert visitor.page.evaluate("blocked") == []
            assert visitor.errors == []
        finally:
            print("errors in the browser:", visitor.errors)  # shown only if the test fails
            opened.close()

    def _hear(self, message: ConsoleMessage) -> None:
        tolerated = self.expected is not None and re.search(self.expected, message.text)
        if message.type == "error" and not tolerated:
            self.errors.append(message.text)

    # what people do

    def enter(self, key: str = "test-key") -> None:
        """Enter an API key; by default the one with every scope."""
        self.page.get_by_label("Your API key").fill(key)
        self.page.get_by_role("button", name="Use this key").click()
        expect(self.page.get_by_role("button", name="forget it")).to_be_visible()

    def ask(self, text: str) -> str:
        """Ask for a song; return its track id once the page shows it."""
        self.page.get_by_label("Song or link").fill(text)
        self.page.get_by_role("button", name="Separate").click()
        return self.shown_track()

    def shown_track(self) -> str:
        """The id of the track that the page has opened."""
        self.page.wait_for_url("**/#/track/*")
        return self.page.url.rpartition("/")[2]

    def open(self, track: str) -> None:
        """Follow a link to a track."""
        self.page.goto(f"{self.url}/#/track/{track}")

    # what they see

    @property
    def card(self) -> Locator:
        return self.page.locator("#track")

    def drop(self, *names: str) -> None:
        """Drop files of these names on the page."""
        self.page.evaluate(_DROP, list(names))

    def sees(self, text: str) -> None:
        """Wait until the track's card says something."""
        expect(self.card).to_contain_text(text, timeout=60_000)

    def has_player(self) -> None:
        """Wait for the player and its waveforms."""
        expect(self.card.locator(".wave svg.rest path").first).to_be_attached(timeout=60_000)

    def position(self) -> float:
        """Where the player is, in seconds."""
        text = self.card.get_by_label("Position").get_attribute("aria-valuetext") or ""
        minutes, seconds = text.split(" of ")[0].split(":")
        return int(minutes) * 60 + float(seconds)

    def plays_past(self, seconds: float) -> None:
        """Wait until the player has passed a position."""
        played = self.card.locator(".now")
        expect(played).to_have_text(re.compile(rf"0:(0[{int(seconds) + 1}-9]|[1-9]\d)"), timeout=60_000)

    def has_reconnected(self, asked: list[str]) -> None:
        """Wait until the page has asked for a stream of events again."""
        known = len(asked)
        deadline = time.monotonic() + 60
        while len(asked) == known:
            assert time.monotonic() < deadline, "the page does not come back"
            self.page.wait_for_timeout(100)

    def check_accessible(self) -> None:
        """Let axe look at the page as it is."""
        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [(each["id"], each["nodes"][0]["html"][:160]) for each in found if each["impact"] in _SERIOUS]
        assert not serious, serious

    def check_fits(self) -> None:
        """Nothing sticks out to the side."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    def broken_words(self) -> list[str]:
        """Return the words of up to twenty letters that are set on two lines or stick out of their element."""
        return list(self.page.evaluate(_BROKEN_WORDS))

    def check_stable(self) -> None:
        """Nothing has jumped without the visitor's doing; a hundredth is a line of text in a corner."""
        moved = self.page.evaluate("moved")
        assert self.page.evaluate("shifted") < 0.01, moved
