"""The page for everybody: by keyboard alone, read aloud, in the dark, on a phone, without motion."""

import re
import time
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Route, expect

from stemyard_contract.handover import WorkStage
from tests.support.web_world import World
from tests.web.songs import fail_search, findable, unfindable
from tests.web.visitor import Visitor

FETCH, SEPARATE = WorkStage
PHONE = {"width": 390, "height": 844}
WIDTHS = (320, 390, 768, 1120, 1600)
SMALL = {"width": 320, "height": 640}


def test_all_of_it_works_by_keyboard(running: World, visitor: Visitor) -> None:
    press, page = visitor.page.keyboard.press, visitor.page
    expect(page.get_by_label("Your API key")).to_be_focused()
    page.keyboard.type("test-key")
    press("Enter")
    expect(page.get_by_label("Song or link")).to_be_focused()
    page.keyboard.type(findable(running).query)
    press("Enter")
    track = visitor.shown_track()
    expect(visitor.card).to_be_focused()
    running.separate(track)
    visitor.has_player()
    visitor.card.focus()
    reach(visitor, "Play")
    press("Enter")
    visitor.plays_past(0)
    press("Space")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_focused()
    reach(visitor, "Position")
    press("Home")
    assert visitor.position() == 0.0
    press("End")
    assert visitor.position() == 10.0
    reach(visitor, "Solo Vocals: hear nothing else")
    press("Space")
    expect(page.get_by_label("Solo Vocals")).to_have_attribute("aria-pressed", "true")
    press("ArrowLeft")
    assert visitor.position() == 5.0
    reach(visitor, "Volume of Vocals")
    press("ArrowLeft")
    expect(page.get_by_label("Volume of Vocals")).to_have_value("99")
    for name in (
        "Download Vocals",
        "Copy the link to Vocals",
        "Mute Instrumental",
        "Karaoke",
        "Download all (ZIP)",
        "Delete",
    ):
        reach(visitor, name)


def reach(visitor: Visitor, name: str) -> None:
    """Press Tab until something of this name has the focus, which must be visible."""
    told = "[document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent,"
    told += " getComputedStyle(document.activeElement).outlineStyle]"
    for _ in range(30):
        visitor.page.keyboard.press("Tab")
        label, outline = visitor.page.evaluate(told)
        assert outline != "none", label
        if label == name:
            return
    pytest.fail(f"Tab never reaches {name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1120, "height": 860}, PHONE], ids=["desktop", "phone"])
def test_every_state_is_accessible_and_fits(
    running: World, browser: Browser, song: str, failed: str, scheme: Literal["light", "dark"], viewport: dict[str, int]
) -> None:
    context: dict[str, Any] = {"color_scheme": scheme, "viewport": viewport}
    with Visitor.arriving(browser, running.url, **context) as visitor:
        visitor.check_accessible()
        visitor.check_fits()
        visitor.enter()
        visitor.page.get_by_text("Options").click()
        visitor.check_accessible()
        visitor.check_fits()
        visitor.page.get_by_role("button", name="Separate").click()
        visitor.open(song)
        visitor.has_player()
        visitor.page.get_by_role("button", name="Mute Vocals").click()
        visitor.card.get_by_text("What the search found").click()
        visitor.check_accessible()
        visitor.check_fits()
        visitor.open(failed)
        visitor.sees("SOURCE_NOT_FOUND")
        visitor.check_accessible()
        visitor.check_fits()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_is_broken_and_nothing_jumps(running: World, browser: Browser, song: str, width: int) -> None:
    with Visitor.arriving(browser, running.url, viewport={"width": width, "height": 860}) as visitor:
        assert visitor.broken_words() == []
        visitor.enter()
        visitor.page.get_by_text("Options").click()
        expect(visitor.page.get_by_role("checkbox", name="Vocals")).to_be_visible()
        assert visitor.broken_words() == []
        visitor.check_fits()
        visitor.open(song)
        visitor.page.reload()
        visitor.has_player()
        expect(visitor.card.get_by_text("What the search found")).to_be_visible()
        expect(visitor.page.locator("#recent-list a").first).to_be_visible()
        assert visitor.broken_words() == []
        visitor.check_fits()
        visitor.check_stable()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_jumps_while_a_slow_api_answers(running: World, browser: Browser, song: str, width: int) -> None:
    def slowly(route: Route) -> None:
        time.sleep(0.7)  # longer than the half second in which the observer forgives what follows input
        route.continue_()

    with Visitor.arriving(browser, running.url, viewport={"width": width, "height": 1400}) as visitor:
        visitor.enter()
        entry = visitor.page.locator(f'#recent-list a[data-track="{song}"]')
        visitor.page.get_by_label("Search your tracks").fill("slow motion dream")
        expect(entry).to_be_visible()
        visitor.page.route(re.compile(r"/(capabilities|jobs|job/)"), slowly)
        entry.click()
        expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Slow Motion Dream")
        visitor.has_player()
        expect(visitor.card.get_by_text("What the search found")).to_be_visible()
        visitor.check_stable()


def test_a_broken_word_and_a_jump_are_noticed(visitor: Visitor) -> None:
    visitor.page.evaluate("document.querySelector('#key-note').style.cssText = 'width: 3ch; overflow-wrap: anywhere'")
    assert "header" in visitor.broken_words()
    visitor.page.wait_for_timeout(600)  # the observer forgives what follows input for half a second
    visitor.page.evaluate("document.querySelector('main').style.paddingTop = '200px'")
    visitor.page.wait_for_function("shifted > 0.01")
    with pytest.raises(AssertionError):
        visitor.check_stable()


def test_what_is_not_accessible_is_noticed(visitor: Visitor) -> None:
    visitor.page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    with pytest.raises(AssertionError, match="label"):
        visitor.check_accessible()


@pytest.fixture(scope="module")
def failed(running: World) -> str:
    track = running.submit(search_query=unfindable(running).query)
    fail_search(running, track)
    return track


def test_progress_is_accessible_and_fits_a_small_phone_without_motion(running: World, browser: Browser) -> None:
    with Visitor.arriving(browser, running.url, viewport=SMALL, reduced_motion="reduce") as visitor:
        visitor.enter()
        track = visitor.ask(findable(running, title="Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen").query)
        work = running.work(track, FETCH)
        work.report(0.5, "download")
        visitor.sees("Downloading the recording")
        visitor.check_accessible()
        visitor.check_fits()
        assert visitor.page.evaluate("document.getAnimations().length") == 0
        work.separate()
        work = running.work(track, SEPARATE)
        visitor.sees("Separating")
        visitor.check_fits()
        work.fail("SEPARATION_INVALID")
