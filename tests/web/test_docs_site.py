"""The site of the documentation in Chromium: it fits, it is searched, and it asks nobody else for anything."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.docs_site import build_site

PLACES = (
    "",
    "concepts/",
    "benchmarks/",
    "07-install/",
    "14-reference/",
    "16-failure-codes/",
    "17-command-line/",
    "reference/api/",
    "tutorials/karaoke-from-a-folder/",
    "quick-start/one-machine/",
    "quick-start/your-cluster/",
)
SIZES = ({"width": 390, "height": 844}, {"width": 1280, "height": 900})


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the standard library's name
        """Print nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    site = build_site(tmp_path_factory.mktemp("site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def reader(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of somebody who reads; at the end nothing went elsewhere, was blocked or threw."""
    scheme: Literal["light", "dark"] = getattr(request, "param", "light")
    context = browser.new_context(color_scheme=scheme)
    page, asked, troubles = context.new_page(), list[str](), list[str]()
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    context.close()
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert troubles == []


@pytest.mark.parametrize("reader", ["light", "dark"], indirect=True)
@pytest.mark.parametrize("place", PLACES)
def test_pages_fit_on_a_phone_and_on_a_desktop(reader: Page, address: str, place: str) -> None:
    for size in SIZES:
        reader.set_viewport_size({"width": size["width"], "height": size["height"]})
        reader.goto(address + place)
        expect(reader.locator("article h1")).to_be_visible()
        assert reader.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
        unloaded = "[...document.images].filter(one => one.complete && !one.naturalWidth).map(one => one.src)"
        assert reader.evaluate(unloaded) == []


@pytest.mark.parametrize("reader", ["light", "dark"], indirect=True)
def test_everybody_can_read_it(reader: Page, address: str) -> None:
    """What axe calls serious, but for tables that scroll: Chromium lets the keyboard reach these by itself."""
    reader.set_viewport_size({"width": 1280, "height": 900})
    for place in PLACES:
        reader.goto(address + place)
        expect(reader.get_by_role("textbox", name="Search")).to_be_visible()
        found = Axe().run(reader, options={"rules": {"scrollable-region-focusable": {"enabled": False}}}).response
        serious = [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == [], place


def test_the_search_finds_a_page(reader: Page, address: str) -> None:
    reader.set_viewport_size({"width": 1280, "height": 900})
    reader.goto(address)
    reader.get_by_role("textbox", name="Search").click()
    reader.keyboard.type("karaoke")
    found = reader.locator(".md-search-result__link", has_text="Karaoke from a folder of songs").first
    expect(found).to_be_visible()
    found.click()
    expect(reader.locator("article h1")).to_contain_text("Karaoke from a folder of songs")


def test_the_colours_can_be_changed(reader: Page, address: str) -> None:
    reader.goto(address)
    body = reader.locator("body")
    expect(body).to_have_attribute("data-md-color-scheme", "default")
    reader.locator("label[title=Dark]").click()
    expect(body).to_have_attribute("data-md-color-scheme", "slate")
