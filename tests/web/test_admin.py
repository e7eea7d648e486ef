"""The admin page before the whole system: it shows what the operator does, and changes it."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from stemyard_contract.handover import WorkStage
from tests.support.web_world import World
from tests.web.songs import findable, finished
from tests.web.test_everybody import PHONE, SMALL, WIDTHS
from tests.web.visitor import Visitor

FETCH, SEPARATE = WorkStage
HOSTILE = '"><img src=x onerror=window.pwned=1><script>window.pwned=1</script><b>{{7*7}}${7*7}'
OVERVIEW = "**/admin/overview"


@pytest.fixture
def admin(browser: Browser, running: World) -> Iterator[Visitor]:
    """Somebody who has opened the admin page with a key that has every scope."""
    with Visitor.arriving(browser, running.url, "/admin") as found:
        enter(found)
        yield found


def enter(visitor: Visitor, key: str = "boss-key") -> None:
    visitor.enter(key)
    expect(visitor.page.locator("#updated")).to_contain_text("Updated at")


def row(visitor: Visitor, part: str, track: str) -> Locator:
    """A track in a list of the page."""
    return visitor.page.locator(f'#{part}-list [data-track="{track}"]')


def spec(running: World, track: str) -> dict[str, Any]:
    path = running.cluster.path("separationjobs", f"sep-{track}")
    return dict(running.cluster.plane.api.get(path)["spec"])


def altered(page: Page, change: Callable[[dict[str, Any]], None], path: str = OVERVIEW) -> None:
    """Let the page find something else in the service's answers."""

    def answer(route: Route) -> None:
        response = route.fetch()
        document = response.json()
        change(document)
        route.fulfill(response=response, json=document)

    page.route(path, answer)


def test_what_runs_is_shown_and_cancelled_when_confirmed(running: World, admin: Visitor) -> None:
    song = findable(running)
    track = running.submit(search_query=song.query)
    running.work(track, FETCH).report(0.5, "download")
    shown = row(admin, "running", track)
    expect(shown).to_contain_text("Downloading the recording")
    expect(shown).to_contain_text(f"{running.cluster.namespace} / default · default · for")
    expect(shown.get_by_role("progressbar")).to_have_attribute("aria-label", f"Progress of {song.query}")
    assert int(admin.page.locator("#total-running").inner_text()) >= 1
    expect(admin.page.locator("#queue-rows tr").filter(has_text=running.cluster.namespace)).to_be_visible()
    expect(admin.page.locator("#usage-rows tr").filter(has_text="default")).to_be_visible()
    cancel = shown.get_by_role("button", name=f"Cancel: {song.query}")
    dialog = admin.page.get_by_role("dialog")
    cancel.click()
    expect(dialog).to_have_accessible_name(f"Cancel {song.query}?")
    expect(dialog).to_contain_text("The key default asked for it.")
    expect(dialog.get_by_role("button", name="Let it go on")).to_be_focused()
    admin.page.keyboard.press("Escape")
    expect(cancel).to_be_focused()
    assert spec(running, track).get("cancel", False) is False
    cancel.click()
    dialog.get_by_role("button", name="Cancel it").click()
    expect(dialog).to_be_hidden()
    expect(admin.page.locator("#says")).to_have_text(f"{song.query} is being cancelled.")
    assert spec(running, track)["cancel"] is True
    running.stop_jobs(track)
    ended = row(admin, "failed", track)
    expect(ended).to_contain_text("Cancelled.")
    expect(admin.page.locator("#codes-list")).to_contain_text("CANCELLED")
    expect(shown).to_have_count(0)
    ended.get_by_role("button", name=f"Retry: {song.query}").click()
    expect(ended).to_have_count(0)
    assert spec(running, track)["run"] == 2
    running.work(track, FETCH, run=2).fail("SOURCE_GEO_BLOCKED")
    expect(ended).to_contain_text("(SOURCE_GEO_BLOCKED)")


def test_the_priority_is_changed_by_keyboard(running: World, admin: Visitor) -> None:
    song = findable(running)
    track = running.submit(search_query=song.query)
    work = running.work(track, FETCH)
    page, shown = admin.page, row(admin, "running", track)
    button = shown.get_by_role("button", name=f"Priority: {song.query}")
    button.focus()
    with page.expect_response(OVERVIEW):
        pass  # the focus outlives that the list is brought up to date
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    field = page.get_by_label("Priority, from -100 to 100")
    expect(field).to_be_focused()
    expect(field).to_have_value("0")
    for wrong in ("101", "1.5", ""):
        field.fill(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("Enter a whole number from -100 to 100.")
        expect(field).to_be_focused()
    field.fill("7")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()
    expect(page.locator("#says")).to_have_text(f"{song.query} has priority 7.")
    assert spec(running, track)["priority"] == 7
    work.fail("SOURCE_GEO_BLOCKED")


def test_finished_songs_are_counted(running: World, admin: Visitor) -> None:
    total = admin.page.locator("#total-completed")
    before = int(total.inner_text())
    track = finished(running)
    expect(total).to_have_text(str(before + 1))
    expect(admin.page.locator("#hours-list li").last).to_contain_text(re.compile(r"[1-9]\d* completed"))
    expect(row(admin, "running", track)).to_have_count(0)


def test_other_keys_see_nothing(running: World, browser: Browser) -> None:
    with Visitor.arriving(browser, running.url, "/admin") as visitor:
        asked: list[str] = []
        visitor.page.on("request", lambda request: asked.append(request.url))
        visitor.enter("team-a-key")
        expect(visitor.page.get_by_role("heading", name="This page is for admins")).to_be_visible()
        expect(visitor.page.locator("#dashboard")).to_be_hidden()
        assert not [url for url in asked if "/admin/" in url]
        visitor.check_accessible()
        visitor.page.get_by_role("button", name="Use another key").click()
        enter(visitor)


def test_a_scope_that_is_withdrawn_ends_the_page(admin: Visitor) -> None:
    admin.expected = "status of 403"
    body = {"code": "FORBIDDEN", "detail": "This API key lacks the scope admin."}
    admin.page.route(OVERVIEW, lambda route: route.fulfill(status=403, body=json.dumps(body)))
    expect(admin.page.get_by_role("heading", name="This page is for admins")).to_be_visible()
    expect(admin.page.locator("#dashboard")).to_be_hidden()


def test_an_admin_without_the_scope_submit_only_looks(running: World, browser: Browser) -> None:
    track = running.submit(search_query=findable(running).query)
    work = running.work(track, FETCH)
    with Visitor.arriving(browser, running.url, "/admin") as visitor:
        altered(visitor.page, lambda found: found["key"].update(scopes=["admin"]), "**/capabilities")
        enter(visitor)
        expect(row(visitor, "running", track).get_by_role("button", name="Priority")).to_be_visible()
        expect(visitor.page.get_by_role("button", name="Cancel:")).to_have_count(0)
        expect(visitor.page.get_by_text("it can neither cancel nor retry")).to_be_visible()
    work.fail("SOURCE_GEO_BLOCKED")


def test_the_song_page_links_to_it_for_admins_only(running: World, browser: Browser) -> None:
    with Visitor.arriving(browser, running.url) as visitor:
        link = visitor.page.get_by_role("link", name="Admin")
        visitor.enter("team-a-key")
        expect(visitor.page.get_by_label("Song or link")).to_be_visible()
        expect(link).to_be_hidden()
        visitor.page.get_by_role("button", name="forget it").click()
        expect(link).to_be_hidden()
        visitor.enter("boss-key")
        link.click()
        expect(visitor.page.locator("#updated")).to_contain_text("Updated at")
        visitor.page.get_by_role("link", name="Stemyard").click()
        expect(visitor.page.get_by_label("Song or link")).to_be_visible()


def test_it_says_that_it_is_out_of_date_until_the_service_is_back(running: World, admin: Visitor) -> None:
    admin.expected = "ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET"
    seen = admin.page.locator("#total-completed").inner_text()
    running.api.server.stop(signal.SIGKILL)
    stale = admin.page.locator("#stale")
    expect(stale).to_contain_text("The service could not be reached. What you see is of")
    expect(stale).to_contain_text("(UNREACHABLE)")
    admin.check_accessible()
    admin.check_stable()
    expect(admin.page.locator("#total-completed")).to_have_text(seen)
    running.api.server.start()
    expect(stale).to_have_text("", timeout=60_000)


def test_updates_pause(admin: Visitor) -> None:
    asked: list[float] = []
    admin.page.on("request", lambda request: asked.append(time.monotonic()) if "overview" in request.url else None)
    pause = admin.page.get_by_role("button", name="Pause updates")
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    admin.page.wait_for_timeout(6500)  # longer than the page waits between two updates
    assert asked == []
    with admin.page.expect_request(OVERVIEW):
        pause.click()
    expect(pause).to_have_attribute("aria-pressed", "false")


def test_nothing_to_show_is_said(running: World, browser: Browser) -> None:
    with (
        running.another_api(STEMYARD_INSTALL_ID="empty") as api,
        Visitor.arriving(browser, api.url, "/admin") as visitor,
    ):
        enter(visitor)
        for words in (
            "Nothing is running.",
            "Nothing is waiting.",
            "The queue is empty.",
            "No key has requested anything.",
        ):
            expect(visitor.page.get_by_text(words)).to_be_visible()
        expect(visitor.page.get_by_text("Nothing has failed.")).to_have_count(2)
        expect(visitor.page.get_by_text("are not complete")).to_be_visible()  # no operator says so
        visitor.check_accessible()


def many(found: dict[str, Any]) -> None:
    """Fill an overview: tracks of two namespaces, in every list, with names of every kind."""
    track = {
        "status": "processing",
        "created_at": found["at"] - 300,
        "started_at": found["at"] - 60,
        "query": "A song",
        "model": "spleeter-2stems",
        "profile": "default",
        "priority": 0,
        "key_ids": ["team-a", "team-b"],
        "cancelling": False,
        "changeable": True,
        "namespace": "stemyard",
    }
    titles = ["Slow Motion Dream", HOSTILE, "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 2, "A Day"]

    def those(name: str, **changes: Any) -> list[dict[str, Any]]:
        return [
            {**track, "track_id": f"{name}.song-{n}", "title": titles[n % 4], **changes, "changeable": n % 3 != 0}
            for n in range(12)
        ]

    found["running_tracks"] = those("running", phase="Separating", step="separate", progress=42.5)
    found["waiting_tracks"] = those("waiting", phase="Queued", progress=30, reason="ConcurrencyLimit", priority=5)
    ended = {"status": "failed", "code": "SOURCE_DRM", "error": "The recording is protected by DRM.", "progress": 0}
    found["failed_tracks"] = those("failed", phase="Failed", ended_at=found["at"] - 9, **ended)
    found["queue"] = [
        {"namespace": f"songs-{n}", "profile": "gpu", "waiting": 1234, "running": 12, "suspended": n} for n in range(9)
    ]
    found["usage"] = [
        {
            "key_id": f"team-{n}",
            "tracks": 12345,
            "processing": 9,
            "completed": 12335,
            "failed": 1,
            "audio_seconds": 2345678.5,
            "processing_seconds": 345678.5,
        }
        for n in range(9)
    ]
    found["failures"] = [{"code": "SOURCE_DRM", "tracks": 12}, {"code": "SOURCE_NOT_FOUND", "tracks": 3}]
    found["complete"] = False
    for number, hour in enumerate(found["hours"]):
        hour.update(completed=number * 50, failed=number % 5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1120, "height": 860}, PHONE], ids=["desktop", "phone"])
def test_it_is_accessible_and_fits(
    running: World, browser: Browser, scheme: Literal["light", "dark"], viewport: dict[str, int]
) -> None:
    with Visitor.arriving(browser, running.url, "/admin", color_scheme=scheme, viewport=viewport) as visitor:
        visitor.check_accessible()
        altered(visitor.page, many)
        enter(visitor)
        visitor.check_accessible()
        visitor.check_fits()
        visitor.page.get_by_role("button", name="Priority: A Day").first.click()
        visitor.check_accessible()
        visitor.check_fits()
        visitor.page.keyboard.press("Escape")
        visitor.page.get_by_role("button", name="Cancel: A Day").first.click()
        visitor.check_accessible()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_is_broken_and_no_update_moves_anything(running: World, browser: Browser, width: int) -> None:
    with Visitor.arriving(browser, running.url, "/admin", viewport={"width": width, "height": 860}) as visitor:
        visitor.enter("boss-key")
        altered(visitor.page, many)
        expect(visitor.page.locator("#running-list li")).to_have_count(12)
        assert [word for word in visitor.broken_words() if word not in HOSTILE] == []
        visitor.check_fits()
        for _ in range(2):
            with visitor.page.expect_response(OVERVIEW):
                pass
        visitor.check_stable()


def test_hostile_names_are_only_text(admin: Visitor) -> None:
    def hostile(found: dict[str, Any]) -> None:
        many(found)
        for track in found["failed_tracks"]:
            track.update(error=HOSTILE, namespace=HOSTILE, key_ids=[HOSTILE], profile=HOSTILE, code=HOSTILE)
        found["queue"][0].update(namespace=HOSTILE, profile=HOSTILE)
        found["usage"][0].update(key_id=HOSTILE)
        found["failures"][0].update(code=HOSTILE)
        found["waiting_tracks"][1].update(track_id=f"javascript:{HOSTILE}", key_ids=[HOSTILE])

    altered(admin.page, hostile)
    expect(admin.page.locator("#failed-list")).to_contain_text(HOSTILE)
    expect(admin.page.locator("#codes-list")).to_contain_text(HOSTILE)
    expect(admin.page.locator("#queue-rows")).to_contain_text(HOSTILE)
    expect(admin.page.locator("#usage-rows")).to_contain_text(HOSTILE)
    admin.page.locator("#waiting-list").get_by_role("button", name="Cancel:").first.click()
    expect(admin.page.get_by_role("dialog")).to_contain_text(HOSTILE)
    assert admin.page.evaluate("window.pwned") is None
    assert admin.page.locator("img, b, main script").count() == 0
    links = admin.page.locator("a").evaluate_all("all => all.map((a) => a.protocol + a.host)")
    assert all(link.startswith(("http:", "https:")) for link in links)
    assert admin.origins == {admin.url}


def test_a_refused_change_is_explained_and_can_be_repeated(running: World, admin: Visitor) -> None:
    admin.expected = "status of 503"
    song = findable(running)
    track = running.submit(search_query=song.query)
    work = running.work(track, FETCH)
    body = {"code": "UNAVAILABLE", "detail": "A backend is unavailable.", "retryable": True}
    admin.page.route("**/cancel", lambda route: route.fulfill(status=503, body=json.dumps(body)), times=1)
    row(admin, "running", track).get_by_role("button", name="Cancel:").click()
    dialog = admin.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel it").click()
    expect(dialog.get_by_role("alert")).to_have_text("A backend is unavailable. (UNAVAILABLE)")
    dialog.get_by_role("button", name="Let it go on").click()
    work.fail("SOURCE_GEO_BLOCKED")
    admin.page.route("**/retry", lambda route: route.fulfill(status=503, body=json.dumps(body)), times=1)
    ended = row(admin, "failed", track)
    ended.get_by_role("button", name="Retry:").click()
    problem = admin.page.get_by_role("alert").filter(has_text="could not be retried: A backend is unavailable.")
    expect(problem).to_be_visible()
    expect(ended.get_by_role("button", name="Retry:")).to_be_enabled()
    admin.check_accessible()
    admin.page.get_by_role("button", name="Close").click()
    expect(problem).to_be_hidden()


def test_without_motion_and_on_a_small_phone_it_works(running: World, browser: Browser) -> None:
    with Visitor.arriving(browser, running.url, "/admin", viewport=SMALL, reduced_motion="reduce") as visitor:
        altered(visitor.page, many)
        altered(visitor.page, lambda found: found["key"].update(id="a" * 63), "**/capabilities")
        enter(visitor)
        visitor.check_fits()
        assert visitor.page.evaluate("document.getAnimations().length") == 0
