"""The first visit: what this is, what a stem is, where a key comes from, and links that bring one."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.servers import Api
from tests.support.web_world import World
from tests.web.visitor import Visitor

CONTACT = "music@example.com"
DOCS = "https://docs.example.com/keys?of=us&for=you"
STORED = "JSON.stringify([{...sessionStorage}, {...localStorage}])"


@pytest.fixture(scope="module")
def known(running: World) -> Iterator[Api]:
    """A deployment that names whom to ask."""
    with running.another_api(WEB_CONTACT=CONTACT, WEB_DOCS_URL=DOCS) as api:
        yield api


def test_it_explains_itself_to_somebody_who_has_never_seen_a_stem(visitor: Visitor) -> None:
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Ask for a song.Get its parts.")
    expect(page.locator("dfn")).to_have_text("stems")
    expect(page.get_by_text("the voice on its own, and everything else on its own")).to_be_visible()
    expect(page.get_by_role("img", name="One recording becomes two stems")).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_text(
        [
            "Name a song by title, link or file.",
            "Wait a minute while it is separated.",
            "Play its stems together, mute the voice to sing along, or download them.",
        ]
    )
    visitor.check_stable()


def test_it_says_whom_to_ask_for_a_key(browser: Browser, known: Api) -> None:
    with Visitor.arriving(browser, known.url) as visitor:
        form = visitor.page.get_by_role("region", name="You need an API key")
        expect(form.get_by_role("link", name=CONTACT)).to_have_attribute("href", f"mailto:{CONTACT}")
        expect(form.get_by_role("link", name="How to get a key")).to_have_attribute("href", DOCS)


def test_without_a_contact_it_says_to_ask_the_operator(visitor: Visitor) -> None:
    form = visitor.page.get_by_role("region", name="You need an API key")
    expect(form).to_contain_text("Ask whoever runs this service.")
    link = form.get_by_role("link", name="How to get a key").get_attribute("href") or ""
    assert link.startswith("https://")


def test_a_key_in_the_address_is_filled_in_taken_away_and_used_when_confirmed(
    running: World, browser: Browser, song: str
) -> None:
    with Visitor.arriving(browser, running.url, f"/#key=team-a-key&track={song}") as visitor:
        page = visitor.page
        expect(page.get_by_label("Your API key")).to_have_value("team-a-key")
        expect(page.get_by_role("region", name="This link brings an API key")).to_be_visible()
        assert page.url == f"{running.url}/#/track/{song}"
        assert json.loads(page.evaluate(STORED)) == [{}, {}]
        page.keyboard.press("Enter")  # the focus is on the button
        visitor.has_player()
        assert json.loads(page.evaluate(STORED)) == [{"stemyard.key": "team-a-key"}, {}]
        page.go_back()
        assert "team-a-key" not in page.url


def test_a_link_never_replaces_the_key_in_use_unasked(running: World, visitor: Visitor) -> None:
    visitor.enter()
    visitor.page.goto(f"{running.url}/#key=team-b-key")
    expect(visitor.page.get_by_label("Your API key")).to_have_value("team-b-key")
    expect(visitor.page.get_by_text("whoever has the key sees what you separate with it")).to_be_visible()
    assert json.loads(visitor.page.evaluate(STORED)) == [{"stemyard.key": "test-key"}, {}]
    visitor.page.get_by_role("button", name="Keep my own key").click()
    expect(visitor.page.get_by_label("Song or link")).to_be_visible()
    assert "team-b-key" not in visitor.page.url
    assert visitor.page.get_by_label("Your API key").input_value() == ""


def test_a_link_to_a_track_says_what_opens_it(running: World, browser: Browser, song: str) -> None:
    with Visitor.arriving(browser, running.url, f"/#/track/{song}") as visitor:
        form = visitor.page.get_by_role("region", name="This track opens with an API key")
        expect(form).to_contain_text("ask whoever sent you here for a share link, which needs no key")
        visitor.enter()
        visitor.has_player()
