"""What people come for: a song by words or by file, from the request to the parts, playing in time."""

import json
import re
import time
from pathlib import Path

from playwright.sync_api import Route, expect

from stemyard_contract.handover import WorkStage
from tests.support.audio import CLIP
from tests.support.web_world import World
from tests.web.songs import findable
from tests.web.visitor import Visitor

FETCH, SEPARATE = WorkStage


def test_from_a_search_to_the_player(running: World, visitor: Visitor) -> None:
    song = findable(running)
    visitor.enter()
    track = visitor.ask(song.query)
    visitor.sees("Getting the audio")
    running.work(track, FETCH).separate()
    work = running.work(track, SEPARATE)
    visitor.sees("Slow Motion Dream")
    visitor.sees("Steven M Bryant")
    work.report(0.5, "separate")
    visitor.sees("Separating the stems")
    expect(visitor.page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "55")
    expect(visitor.page).to_have_title(re.compile(r"^55 % · Slow Motion Dream"))
    work.separate()
    visitor.has_player()
    expect(visitor.page.locator("#says")).to_have_text("Slow Motion Dream is ready to play.")
    visitor.card.get_by_text("What the search found").click()
    expect(visitor.card.locator(".candidates li.chosen")).to_contain_text("Slow Motion Dream")
    expect(visitor.card.locator(".candidates li")).to_have_count(2)
    expect(visitor.page.locator("#recent-list [aria-current]")).to_contain_text("Ready")
    visitor.check_stable()
    assert visitor.origins == {running.url, running.cluster.store.url}


def test_the_parts_play_together_and_the_mixer_decides_what_is_heard(song: str, visitor: Visitor) -> None:
    visitor.page.add_init_script(
        """
        window.gains = [];
        window.GainNode = class extends GainNode { constructor(...given) { super(...given); gains.push(this); } };
        """
    )
    visitor.page.reload()
    visitor.enter()
    visitor.open(song)
    visitor.has_player()
    visitor.page.get_by_role("button", name="Play", exact=True).click()
    visitor.plays_past(1)

    def heard() -> list[float]:
        # gains approach their values
        visitor.page.wait_for_timeout(120)
        return [round(value, 2) for value in visitor.page.evaluate("gains.map((node) => node.gain.value)")]

    assert heard() == [1.0, 1.0]
    visitor.page.get_by_role("button", name="Mute Vocals").click()
    assert heard() == [0.0, 1.0]
    visitor.page.get_by_role("button", name="Solo Vocals").click()
    assert heard() == [1.0, 0.0]
    visitor.page.get_by_role("button", name="Karaoke").click()
    assert heard() == [0.0, 1.0]
    visitor.page.get_by_role("button", name="Everything").click()
    visitor.page.get_by_label("Volume of Instrumental").fill("50")
    assert heard() == [1.0, 0.25]
    visitor.page.get_by_role("button", name="Pause").click()
    wave = visitor.card.locator(".wave").first
    box = wave.bounding_box()
    assert box is not None
    wave.click(position={"x": box["width"] * 0.5, "y": 10})
    assert visitor.position() == 5.0
    visitor.page.get_by_label("Position").fill("1000")
    visitor.page.get_by_role("button", name="Play", exact=True).click()
    visitor.plays_past(0)  # from the end it begins anew


def test_parts_are_saved_under_a_good_name_and_links_can_be_copied(song: str, visitor: Visitor) -> None:
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.enter()
    visitor.open(song)
    visitor.has_player()
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("link", name="Download Vocals").click()
    assert download.value.suggested_filename == "Steven M Bryant - Slow Motion Dream (Vocals).mp3"
    assert Path(download.value.path()).stat().st_size > 100_000
    visitor.page.get_by_role("button", name="Copy the link to Instrumental").click()
    visitor.sees("The link to Instrumental is copied.")
    copied = visitor.page.evaluate("navigator.clipboard.readText()")
    assert "instrumental.mp3" in copied
    assert "X-Amz-Signature" in copied


def test_a_file_is_uploaded_and_separated(running: World, visitor: Visitor, tmp_path: Path) -> None:
    song = tmp_path / "my <b>song.mp3"
    song.write_bytes(CLIP.read_bytes() + bytes(64))  # another file than in other tests
    visitor.enter()
    visitor.page.locator("#file").set_input_files(song)
    visitor.page.get_by_text("Options").click()
    visitor.page.get_by_label("Format").select_option("flac")
    visitor.page.get_by_label("Bit depth").select_option("16")
    visitor.page.get_by_role("checkbox", name="Vocals").uncheck()
    visitor.page.get_by_role("button", name="Separate").click()
    track = visitor.shown_track()
    visitor.sees("my <b>song")
    spec = running.cluster.separation(f"sep-{track}").spec
    assert spec.source.upload is not None
    assert (spec.output.format, spec.output.bit_depth, spec.stems) == ("flac", 16, ["instrumental"])
    running.separate(track)
    visitor.has_player()
    expect(visitor.card.locator(".lane")).to_have_count(1)


def test_a_dropped_file_is_taken(running: World, visitor: Visitor) -> None:
    visitor.enter()
    visitor.drop("dropped.mp3")
    expect(visitor.page.get_by_label("Chosen files")).to_contain_text("dropped.mp3")
    visitor.page.get_by_role("button", name="Remove dropped.mp3").click()
    expect(visitor.page.get_by_label("Chosen files")).to_be_hidden()
    expect(visitor.page.get_by_label("Song or link")).to_have_value("")
    expect(visitor.page.get_by_label("Song or link")).to_be_editable()


def test_every_dropped_file_is_separated(running: World, visitor: Visitor) -> None:
    first, second = f"first {time.time_ns()}", f"second {time.time_ns()}"
    visitor.enter()
    visitor.drop(f"{first}.mp3", "unwanted.mp3")
    visitor.drop(f"{second}.mp3")
    expect(visitor.page.get_by_label("Song or link")).to_have_value("3 files")
    visitor.page.get_by_role("button", name="Remove unwanted.mp3").click()
    visitor.page.get_by_role("button", name="Separate").click()
    track = visitor.shown_track()
    visitor.sees(first)
    recent = visitor.page.get_by_role("region", name="Recent tracks")
    expect(recent).to_contain_text(first)
    expect(recent).to_contain_text(second)
    expect(recent).not_to_contain_text("unwanted")
    expect(visitor.page.get_by_label("Chosen files")).to_be_hidden()
    other = recent.get_by_role("link", name=second).get_attribute("href") or ""
    assert track not in other
    for each in (track, other.rpartition("/")[2]):
        assert running.cluster.separation(f"sep-{each}").spec.source.upload is not None


def test_files_that_were_not_sent_stay_chosen(visitor: Visitor) -> None:
    visitor.expected = "status of 503"
    visitor.enter()
    placed: list[str] = []

    def place(route: Route) -> None:
        if not placed:
            placed.append("first")
            route.continue_()
        else:
            route.fulfill(status=503, json={"code": "UNAVAILABLE", "detail": "Not now."})

    visitor.page.route("**/separate-audio", place)
    visitor.drop(f"one {time.time_ns()}.mp3", f"two {time.time_ns()}.mp3")
    visitor.page.get_by_role("button", name="Separate").click()
    expect(visitor.page.locator("#compose-problem")).to_contain_text("Not now.")
    expect(visitor.page.get_by_label("Chosen files").get_by_role("listitem")).to_have_count(1)
    expect(visitor.page.get_by_label("Chosen files")).to_contain_text("two")


def test_a_link_is_asked_for_as_a_link(running: World, visitor: Visitor) -> None:
    visitor.enter()
    track = visitor.ask("https://example.com/a-song.mp3")
    assert running.cluster.separation(f"sep-{track}").spec.source.url == "https://example.com/a-song.mp3"


def test_a_separation_is_cancelled_and_tried_again(running: World, visitor: Visitor) -> None:
    visitor.enter()
    track = visitor.ask(findable(running).query)
    visitor.sees("Getting the audio")
    visitor.page.get_by_role("button", name="Cancel").click()
    running.stop_jobs(track)
    visitor.sees("It was cancelled.")
    expect(visitor.page.locator("#recent-list [aria-current]")).to_have_count(0)  # its claim is given up
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.sees("Getting the audio")
    running.separate(track, run=2)
    visitor.has_player()


def test_a_track_is_deleted_only_when_asked_twice(running: World, visitor: Visitor) -> None:
    visitor.enter()
    track = visitor.ask(findable(running).query)
    running.work(track, FETCH).fail("SOURCE_GEO_BLOCKED")
    visitor.sees("not available in the service's country")
    visitor.card.get_by_role("button", name="Delete").click()
    assert running.exists(track)
    visitor.page.get_by_role("button", name="Delete for good?").click()
    expect(visitor.card).to_be_hidden()
    assert not running.exists(track)


def test_the_key_stays_in_the_tab_unless_wished_and_never_in_an_address(running: World, visitor: Visitor) -> None:
    addresses: list[str] = []
    visitor.page.on("request", lambda request: addresses.append(request.url))
    visitor.enter("team-a-key")
    stored = "JSON.stringify([{...sessionStorage}, {...localStorage}])"
    assert json.loads(visitor.page.evaluate(stored)) == [{"stemyard.key": "team-a-key"}, {}]
    visitor.page.reload()
    visitor.page.get_by_role("button", name="Key: team-a").click()
    assert json.loads(visitor.page.evaluate(stored)) == [{}, {}]
    visitor.page.get_by_label("Remember it").check()
    visitor.enter("team-a-key")
    assert json.loads(visitor.page.evaluate(stored)) == [{}, {"stemyard.key": "team-a-key"}]
    assert not [address for address in [*addresses, visitor.page.url] if "team-a-key" in address]
