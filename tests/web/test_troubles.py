"""What people meet when something is wrong: in plain words, with the code, and with a way on."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from stemyard_contract.handover import WorkStage
from tests.support.servers import Api
from tests.support.web_world import World
from tests.web.songs import fail_search, findable, finished, unfindable
from tests.web.visitor import Visitor

FETCH, SEPARATE = WorkStage
_COLLECT_PLAYERS = """
  window.players = [];
  window.Audio = class extends Audio { constructor() { super(); players.push(this); } };
"""


def test_a_wrong_key_is_asked_for_again(visitor: Visitor) -> None:
    visitor.expected = "status of 401"
    visitor.page.get_by_label("Your API key").fill("no-such-key")
    visitor.page.get_by_role("button", name="Use this key").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("This key was not accepted")
    visitor.enter()
    expect(visitor.page.get_by_label("Song or link")).to_be_focused()


def test_a_key_that_only_reads_is_offered_nothing_else(song: str, visitor: Visitor) -> None:
    visitor.enter("reader-key")
    expect(visitor.page.get_by_label("Song or link")).to_be_hidden()
    visitor.open(song)
    visitor.has_player()
    expect(visitor.card.get_by_role("button", name="Delete")).to_be_hidden()


def test_what_cannot_be_found_can_be_asked_for_differently(running: World, visitor: Visitor) -> None:
    visitor.enter()
    query = unfindable(running).query
    track = visitor.ask(query)
    fail_search(running, track)
    visitor.sees("No recording matches this query.")
    visitor.sees("Try the exact title and the artist")
    visitor.sees("SOURCE_NOT_FOUND")
    visitor.page.get_by_role("button", name="Edit the request").click()
    expect(visitor.page.get_by_label("Song or link")).to_be_focused()
    expect(visitor.page.get_by_label("Song or link")).to_have_value(query)


def test_a_track_that_is_not_there_is_said_to_be_so(visitor: Visitor) -> None:
    visitor.expected = "status of 404"
    visitor.enter()
    visitor.open("7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34")
    visitor.sees("No track has this id.")
    visitor.sees("TRACK_NOT_FOUND")


def test_what_the_api_refuses_is_explained(visitor: Visitor) -> None:
    visitor.expected = "status of 422"
    visitor.enter()
    ask = visitor.page.get_by_label("Song or link")
    visitor.page.get_by_role("button", name="Separate").click()
    expect(visitor.page.locator("#compose-problem")).to_contain_text("Type a title and an artist")
    expect(ask).to_be_focused()
    ask.fill("https://somebody:secret@example.com/a.mp3")
    ask.press("Enter")
    expect(visitor.page.locator("#compose-problem")).to_contain_text("must not contain a user name or password")
    expect(visitor.page.locator("#compose-problem")).to_contain_text("INVALID_REQUEST")


def test_a_file_that_is_too_large_is_not_even_sent(visitor: Visitor, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(51 * 1024 * 1024)
    visitor.enter()
    visitor.page.locator("#file").set_input_files(large)
    visitor.page.get_by_role("button", name="Separate").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("larger than the 50 MiB")


def test_hostile_titles_are_only_text(running: World, visitor: Visitor) -> None:
    text = '"><img src=x onerror=window.pwned=1><script>window.pwned=1</script><b>{{7*7}}${7*7}'
    visitor.enter()
    visitor.open(finished(running, title=text, channel=f"{text} - Topic"))
    visitor.has_player()
    expect(visitor.card.get_by_role("heading")).to_have_text(text)
    visitor.card.get_by_text("What the search found").click()
    expect(visitor.card.locator(".candidates")).to_contain_text(text)
    expect(visitor.page.locator("#recent-list .title").first).to_have_text(text)
    assert visitor.page.evaluate("window.pwned") is None
    assert visitor.page.locator("img, b, main script").count() == 0
    links = visitor.page.locator("a").evaluate_all("all => all.map((a) => a.protocol)")
    assert set(links) <= {"http:", "https:"}


def test_a_stream_that_breaks_is_taken_up_again(running: World, visitor: Visitor) -> None:
    visitor.expected = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET"
    asked: list[str] = []
    visitor.page.on(
        "request", lambda r: asked.append(r.headers.get("last-event-id", "")) if r.url.endswith("/events") else None
    )
    visitor.enter()
    track = visitor.ask(findable(running).query)
    visitor.sees("Getting the audio")
    running.api.server.stop(signal.SIGKILL)
    work = running.work(track, FETCH)
    running.api.server.start()
    visitor.has_reconnected(asked)
    work.report(0.5, "download")
    visitor.sees("Downloading the recording")
    assert asked[0] == ""
    assert asked[-1] != ""
    work.fail("SOURCE_DRM")
    visitor.sees("protected by DRM")


def test_without_streams_the_state_is_asked_for(running: World, visitor: Visitor) -> None:
    visitor.expected = "ERR_FAILED"
    visitor.page.route("**/events", lambda route: route.abort())
    visitor.enter()
    track = visitor.ask(findable(running).query)
    visitor.sees("Getting the audio")
    running.work(track, FETCH).fail("SOURCE_LIVE")
    visitor.sees("Choose a recording that has ended.")


@pytest.fixture(scope="module")
def strict(running: World) -> Iterator[Api]:
    with running.another_api(
        RATE_LIMIT_SUBMITS_PER_MINUTE="1", YOUTUBE_ENABLED="false", ENABLED_MODELS="spleeter-2stems,htdemucs_6s"
    ) as api:
        yield api


def test_limits_say_when_to_come_again(browser: Browser, strict: Api) -> None:
    with Visitor.arriving(browser, strict.url) as visitor:
        visitor.expected = "status of 429"
        visitor.enter("team-a-key")
        link = visitor.page.get_by_label("Link", exact=True)
        for number in range(2):
            link.fill(f"https://example.com/{time.time_ns()}-{number}.mp3")
            link.press("Enter")
            expect(link).to_have_value("" if number == 0 else link.input_value())
        problem = visitor.page.locator("#compose-problem")
        expect(problem).to_contain_text("RATE_LIMITED")
        expect(problem).to_contain_text("You can try again in")


def test_only_what_is_offered_can_be_chosen(browser: Browser, strict: Api) -> None:
    with Visitor.arriving(browser, strict.url) as visitor:
        visitor.enter("team-b-key")
        visitor.page.get_by_label("Link", exact=True).fill("words to search")
        visitor.page.get_by_role("button", name="Separate").click()
        expect(visitor.page.get_by_role("alert")).to_contain_text("Search is disabled")
        visitor.page.get_by_text("Options").click()
        visitor.page.get_by_label("Model").select_option("htdemucs_6s")
        expect(visitor.page.get_by_role("checkbox", name="Guitar")).to_be_visible()
        visitor.page.get_by_label("Quality").select_option("Best, slower")
        visitor.page.get_by_label("Model").select_option("spleeter-2stems")
        expect(visitor.page.get_by_role("checkbox", name="Guitar")).to_be_hidden()


def test_a_store_that_lets_no_page_read_is_still_heard_in_time(browser: Browser, strict: Api, song: str) -> None:
    with Visitor.arriving(browser, strict.url) as visitor:
        visitor.expected = "CORS policy|ERR_FAILED"
        visitor.page.add_init_script(_COLLECT_PLAYERS)
        visitor.page.reload()
        visitor.enter()
        visitor.open(song)
        visitor.page.get_by_role("button", name="Play", exact=True).click()
        visitor.plays_past(3)
        visitor.page.wait_for_function("Math.abs(players[0].currentTime - players[1].currentTime) < 0.05")
        visitor.page.get_by_role("button", name="Mute Vocals").click()
        assert visitor.page.evaluate("players.map((each) => each.muted)") == [True, False]


def test_an_upload_the_store_refuses_is_explained(browser: Browser, strict: Api, tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    song.write_bytes(b"ID3" * 100)
    with Visitor.arriving(browser, strict.url) as visitor:
        visitor.expected = "CORS policy|ERR_FAILED|status of 403"
        visitor.enter("boss-key")  # the key of other tests has not spent this deployment's small limit
        visitor.page.locator("#file").set_input_files(song)
        visitor.page.get_by_role("button", name="Separate").click()
        expect(visitor.page.locator("#compose-problem")).to_contain_text("UPLOAD_BLOCKED")
        expect(visitor.page.locator("#compose-problem")).to_contain_text("CORS")
