"""The player: its words, its keys, the system's media controls, and downloads of everything at once."""

import zipfile
from typing import Any

from playwright.sync_api import expect

from stemyard_contract.handover import WorkStage
from tests.support.web_world import World
from tests.web.songs import findable
from tests.web.visitor import Visitor

FETCH, SEPARATE = WorkStage
_WATCH_CONTROLS = """
  window.handlers = {};
  const set = MediaSession.prototype.setActionHandler;
  MediaSession.prototype.setActionHandler = function (action, handler) {
    handlers[action] = handler;
    return set.call(this, action, handler);
  };
  window.sounding = new Set();
  for (const [name, change] of [["play", "add"], ["pause", "delete"]]) {
    const original = HTMLMediaElement.prototype[name];
    HTMLMediaElement.prototype[name] = function () {
      sounding[change](new URL(this.src).pathname.split("/").pop());
      return original.call(this);
    };
  }
"""


def listening(visitor: Visitor, song: str) -> None:
    """Open a track with a key."""
    visitor.enter()
    visitor.open(song)
    visitor.has_player()


def test_switches_have_words_and_names(song: str, visitor: Visitor) -> None:
    listening(visitor, song)
    for word, name in (("Mute", "Mute Vocals"), ("Solo", "Solo Vocals: hear nothing else")):
        expect(visitor.card.get_by_role("button", name=name, exact=True)).to_have_text(word)
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Slow Motion Dream")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_count(1)


def test_space_plays_from_anywhere_but_a_control(song: str, visitor: Visitor) -> None:
    listening(visitor, song)
    visitor.page.evaluate("document.activeElement.blur()")
    visitor.page.keyboard.press("Space")
    visitor.plays_past(0)
    assert visitor.page.evaluate("scrollY") == 0
    visitor.page.keyboard.press("Space")
    expect(visitor.card.get_by_role("button", name="Play", exact=True)).to_be_visible()
    ask = visitor.page.get_by_label("Song or link")
    ask.press_sequentially("a b")
    expect(ask).to_have_value("a b")
    mute = visitor.card.get_by_role("button", name="Mute Vocals")
    mute.press("Space")
    expect(mute).to_have_attribute("aria-pressed", "true")
    expect(visitor.card.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_the_system_s_media_controls_show_and_steer_what_plays(song: str, visitor: Visitor) -> None:
    visitor.page.add_init_script(_WATCH_CONTROLS)
    visitor.page.reload()
    listening(visitor, song)

    def session() -> Any:
        return visitor.page.evaluate(
            "(({ metadata: m, playbackState: s }) => [m?.title, m?.artist, s])(navigator.mediaSession)"
        )

    assert session() == [None, None, "none"]
    visitor.page.get_by_role("button", name="Play", exact=True).click()
    visitor.plays_past(0)
    assert session() == ["Slow Motion Dream", "Steven M Bryant", "playing"]
    assert visitor.page.evaluate("[...sounding]") == ["silence.flac"]
    visitor.page.evaluate("handlers.pause()")
    expect(visitor.card.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert session()[2] == "paused"
    assert visitor.page.evaluate("[...sounding]") == []
    visitor.page.evaluate("handlers.seekto({ seekTime: 7 })")
    expect(visitor.card.locator(".now")).to_have_text("0:07")
    visitor.page.evaluate("handlers.seekbackward({})")
    expect(visitor.card.locator(".now")).to_have_text("0:02")
    visitor.page.evaluate("handlers.play()")
    expect(visitor.card.get_by_role("button", name="Pause")).to_be_visible()
    visitor.page.get_by_role("link", name="Stemyard").click()
    assert session() == [None, None, "none"]


def test_all_stems_are_downloaded_as_one_file_with_the_key(song: str, visitor: Visitor) -> None:
    listening(visitor, song)
    with visitor.page.expect_download() as download:
        visitor.card.get_by_role("button", name="Download all (ZIP)").click()
    assert download.value.suggested_filename == "Steven M Bryant - Slow Motion Dream.zip"
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert sorted(names) == [f"Steven M Bryant - Slow Motion Dream ({stem}).mp3" for stem in ("Instrumental", "Vocals")]


def test_where_there_is_no_archive_the_button_says_so(song: str, visitor: Visitor) -> None:
    visitor.expected = "status of 404"
    visitor.page.route(f"**/job/{song}/stems.zip", lambda route: route.fulfill(status=404, json={"code": "NOT_FOUND"}))
    listening(visitor, song)
    visitor.card.get_by_role("button", name="Download all (ZIP)").click()
    visitor.sees("No ZIP here: download each stem")


def test_progress_shows_the_stages(running: World, visitor: Visitor) -> None:
    visitor.enter()
    track = visitor.ask(findable(running).query)
    stages = visitor.card.get_by_role("list", name="Stages")
    expect(stages.get_by_role("listitem")).to_have_text(["Waiting", "Fetching", "Queued", "Separating", "Publishing"])
    current = stages.locator("[aria-current=step]")
    expect(current).to_have_text("Fetching")
    expect(visitor.card.locator(".lane.expected")).to_have_text(["Vocals", "Instrumental"])
    running.work(track, FETCH).separate()
    expect(current).to_have_text("Queued")
    work = running.work(track, SEPARATE)
    work.report(0.5, "separate", 1)
    expect(current).to_have_text("Separating")
    work.report(0.97, "upload", 2)
    expect(current).to_have_text("Publishing")
    visitor.sees("Publishing the stems")
    work.separate()
    visitor.has_player()
