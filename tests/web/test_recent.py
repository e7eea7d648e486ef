"""The list of recent tracks: it tells repeats apart, is searched, and deletes."""

import time

from playwright.sync_api import expect

from stemyard_contract.handover import WorkStage
from tests.support.web_world import World
from tests.web.songs import findable
from tests.web.visitor import Visitor

FETCH, SEPARATE = WorkStage


def test_repeats_are_told_apart(running: World, visitor: Visitor) -> None:
    query = findable(running).query
    running.submit(search_query=query)
    running.submit(search_query=query, format="flac", bit_depth=16)
    running.submit(search_query=query, bitrate=128)
    visitor.enter()
    visitor.page.get_by_label("Search your tracks").fill(query)
    entries = visitor.page.locator("#recent-list a")
    expect(entries).to_have_count(3)
    for words in ("mp3 320 kbit/s", "flac 16 bit", "mp3 128 kbit/s"):
        one = entries.filter(has_text=words)
        expect(one).to_have_count(1)
        expect(one).to_contain_text("spleeter-2stems")
        expect(one.locator("time")).to_have_text("just now")
        assert one.locator("time").get_attribute("title")


def test_the_list_is_searched_by_every_word(running: World, visitor: Visitor) -> None:
    mark = f"needle{time.time_ns()}"
    running.submit(search_query=f"{mark} one")
    running.submit(search_query=f"{mark} two", format="flac")
    visitor.enter()
    search = visitor.page.get_by_label("Search your tracks")
    entries = visitor.page.locator("#recent-list li")
    search.fill(mark.upper())
    expect(entries).to_have_count(2)
    search.fill(f"flac {mark}")
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text(f"{mark} two")
    search.fill(f"{mark} three")
    expect(visitor.page.get_by_role("region", name="Recent tracks")).to_contain_text("No track matches.")
    search.fill("")
    expect(entries.first).to_be_visible()


def test_a_track_is_deleted_from_the_list_when_asked_twice(running: World, visitor: Visitor) -> None:
    song = findable(running)
    track = running.submit(search_query=song.query)
    running.work(track, FETCH).fail("SOURCE_GEO_BLOCKED")
    visitor.enter()
    visitor.page.get_by_label("Search your tracks").fill(song.query)
    entry = visitor.page.locator("#recent-list li").filter(has_text=song.query)
    expect(entry).to_contain_text("Failed")
    entry.get_by_role("button", name=f"Delete {song.query}", exact=True).click()
    assert running.exists(track)
    sure = entry.get_by_role("button", name=f"Delete {song.query} for good?")
    expect(sure).to_be_focused()
    sure.press("Enter")
    expect(entry).to_have_count(0)
    expect(visitor.page.locator("#says")).to_have_text(f"{song.query} was deleted.")
    assert not running.exists(track)


def test_a_key_that_only_reads_deletes_nothing(song: str, visitor: Visitor) -> None:
    visitor.enter("reader-key")
    visitor.open(song)
    visitor.has_player()
    expect(visitor.page.get_by_role("button", name="Delete")).to_have_count(0)
    expect(visitor.page.get_by_role("button", name="Share")).to_have_count(0)
