"""Share links: made and withdrawn with a key, opened without one."""

import re
import zipfile
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.web_world import World
from tests.web.songs import finished
from tests.web.visitor import Visitor

STEMS = [f"Steven M Bryant - Slow Motion Dream ({stem}).mp3" for stem in ("Vocals", "Instrumental")]


def shared(world: World, track: str) -> str:
    """Share a track; return the path of its page."""
    with world.api.client() as client:
        answer = client.post(f"/job/{track}/share").raise_for_status().json()
    return str(answer["url"]).removeprefix(world.url)


def test_a_link_is_made_copied_and_withdrawn(running: World, browser: Browser) -> None:
    track = finished(running)
    with Visitor.arriving(browser, running.url) as visitor:
        visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visitor.enter()
        visitor.open(track)
        visitor.has_player()
        visitor.card.get_by_role("button", name="Share").click()
        visitor.sees("Whoever has this link can listen and download, without a key. It works until")
        visitor.check_accessible()
        visitor.card.get_by_role("button", name="Copy the link", exact=True).click()
        link = visitor.page.evaluate("navigator.clipboard.readText()")
        expect(visitor.card.get_by_label("Link to share")).to_have_value(link)
        assert link.startswith(f"{running.url}/s/")
        visitor.card.get_by_role("button", name="Withdraw all links").click()
        visitor.sees("No link to this track works any more.")
    with Visitor.arriving(browser, running.url, link.removeprefix(running.url)) as friend:
        friend.expected = "status of 410"
        expect(friend.page.get_by_role("heading", level=1)).to_have_text("This link does not work")
        friend.sees("Ask them for a new one.")
        expect(friend.page.get_by_label("Your API key")).to_be_hidden()
        friend.check_accessible()


@pytest.mark.parametrize("status", [404, 405])
def test_a_service_without_share_links_says_so(song: str, visitor: Visitor, status: int) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=status, json={"code": "NOT_FOUND"})

    visitor.expected = f"status of {status}"
    visitor.page.route("**/share", refuse)
    visitor.enter()
    visitor.open(song)
    visitor.has_player()
    visitor.card.get_by_role("button", name="Share").click()
    visitor.sees("This service makes no share links.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1120])
def test_a_share_link_opens_the_track_without_a_key(
    running: World, song: str, browser: Browser, scheme: Any, width: int
) -> None:
    context: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 860}}
    with Visitor.arriving(browser, running.url, shared(running, song), **context) as visitor:
        visitor.has_player()
        expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Slow Motion Dream")
        expect(visitor.page).to_have_title(re.compile("^Slow Motion Dream"))
        visitor.sees("This page works until")
        expect(visitor.page.get_by_label("Your API key")).to_be_hidden()
        for hidden in ("Share", "Delete"):
            expect(visitor.page.get_by_role("button", name=hidden)).to_have_count(0)
        visitor.check_accessible()
        visitor.check_fits()
        visitor.check_stable()
        assert visitor.broken_words() == []
        for name, check in (("Download Vocals", None), ("Download all (ZIP)", zipfile.ZipFile)):
            with visitor.page.expect_download() as download:
                visitor.card.get_by_role("link", name=name).click()
            assert download.value.suggested_filename.startswith("Steven M Bryant - Slow Motion Dream")
            if check is not None:
                assert sorted(check(download.value.path()).namelist()) == sorted(STEMS)
        visitor.page.keyboard.press("Space")  # the focus is on a link, which has no use for it
        visitor.plays_past(0)
