"""The recording of the command line in the README shows what the command line does."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from demo.recording import CAST, COMMAND, PICTURE, Output, RecordingError, cast, outputs_of, picture, record, screens
from tests.support.spleeter_model import model_folder

ROOT = Path(__file__).parents[2]


def outline(text: str) -> list[str]:
    """The header and the last screen of an asciicast, without figures."""
    [*_, (_, last)] = screens(outputs_of(text))
    return [re.sub(r"[0-9]+(\.[0-9]+)?", "0", line) for line in (text.partition("\n")[0], *last)]


def test_the_recording_shows_what_the_command_does_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMYARD_MODEL_DIR", str(model_folder()))
    fresh = record(tmp_path)
    assert outline(cast(fresh)) == outline(CAST.read_text()), "run `make recording`"
    assert any("━" in line for _, lines in screens(fresh) for line in lines), "the bar is seen"
    for _, lines in screens(fresh):
        assert all(len(line) <= 80 for line in lines)


def test_the_picture_is_the_recording_s() -> None:
    outputs = outputs_of(CAST.read_text())
    assert PICTURE.read_text() == picture(outputs), "run `make recording`"
    assert cast(outputs) == CAST.read_text()
    drawn = ElementTree.fromstring(PICTURE.read_text())
    groups = drawn.findall("{*}g/{*}g")
    seen = [group for group in groups if group.get("visibility") != "hidden"]
    assert seen == groups[-1:], "where nothing is played, the end is seen"
    text = [row.text for row in seen[0].findall("{*}text")]
    assert text == [line for line in screens(outputs)[-1][1] if line]


def test_the_pages_show_it_beside_the_command() -> None:
    for page, link in (("README.md", "docs/images/run.svg"), ("docs/17-command-line.md", "images/run.svg")):
        text = (ROOT / page).read_text()
        assert f"]({link})" in text
        assert " ".join(COMMAND) in text


def test_what_the_picture_cannot_show_is_refused() -> None:
    assert screens([Output(0, "a\r\x1b[2Kb\r\n"), Output(1, "c"), Output(2, "")]) == [(0, ["b", ""]), (1, ["b", "c"])]
    with pytest.raises(RecordingError):
        screens([Output(0, "\x1b[31mred")])
