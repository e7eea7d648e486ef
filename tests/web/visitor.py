"""Somebody who visits the page: what they do, and everything that went wrong in their browser meanwhile."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

_WATCH = """
  window.blocked = [];
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
    blocked.push(`${violatedDirective} ${blockedURI}`);
  });
  window.shifted = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) shifted += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""
"""Runs before the page: notes what its policy blocks, and how far things jump without the user's doing."""

_SERIOUS = {"serious", "critical"}


@dataclass
class Visitor:
    """A page with a fresh context of its own."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    expected: str | None = None
    """What the console may say, as a pattern: browsers log every answer that is no success."""

    @classmethod
    @contextlib.contextmanager
    def arriving(cls, browser: Browser, url: str, **context: Any) -> Iterator[Self]:
        """Open the page; at the end, complain about what went wrong."""
        opened = browser.new_context(**{"viewport": {"width": 1120, "height": 860}, **context})
        opened.set_default_timeout(60_000)
        opened.add_init_script(_WATCH)
        visitor = cls(opened.new_page(), url)
        visitor.page.on("console", visitor._hear)
        visitor.page.on("pageerror", lambda error: visitor.errors.append(str(error)))
        try:
            visitor.page.goto(url + "/")
            yield visitor
            assert visitor.page.evaluate("blocked") == []
            assert visitor.errors == []
        finally:
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
