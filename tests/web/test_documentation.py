"""The page of the OpenAPI document in a browser."""

import pytest
from playwright.sync_api import Browser, expect

from tests.support.web_world import World
from tests.web.visitor import Visitor


@pytest.mark.parametrize("width", [390, 1120])
def test_the_documentation_is_read_without_errors_and_requests_to_others(
    running: World, browser: Browser, width: int
) -> None:
    with Visitor.arriving(browser, running.api.url, viewport={"width": width, "height": 860}) as visitor:
        page = visitor.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{running.api.url}/docs")
        page.get_by_role("link", name="Request a separation").click()
        expect(page.locator("#createSeparation")).to_be_in_viewport()
        page.get_by_role("link", name="SeparationRequest").first.click()
        expect(page.locator("#schema-SeparationRequest")).to_be_in_viewport()
        page.get_by_text("Example").first.click()
        visitor.check_fits()
        assert [url for url in asked if not url.startswith(f"{running.api.url}/")] == []
        visitor.check_accessible()
