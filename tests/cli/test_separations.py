from pathlib import Path

import pytest

from stemyard_cli.separations import source_of
from stemyard_cli.uploads_begun import UploadsBegun


def test_a_file_a_link_and_words_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("song.mp3").write_bytes(b"x")
    assert source_of("song.mp3") == Path("song.mp3")
    assert source_of("song.mp3", query=True) == "song.mp3"
    assert source_of("https://host/a.mp3") == "https://host/a.mp3"
    assert source_of("Queen Bohemian Rhapsody") == "Queen Bohemian Rhapsody"


@pytest.mark.parametrize("argument", ["sonk.mp3", "folder/song", "."])
def test_what_looks_like_a_missing_file_is_no_search(argument: str) -> None:
    with pytest.raises(ValueError, match=r"no file .*--query"):
        source_of(argument)


def test_uploads_are_remembered_for_the_same_file_and_installation(tmp_path: Path) -> None:
    song, state = tmp_path / "song.mp3", tmp_path / "state" / "uploads.json"
    song.write_bytes(b"one")
    uploads = UploadsBegun(state, "https://host")
    assert uploads.get(song) is None
    uploads.remember(song, "id-1")
    assert UploadsBegun(state, "https://host").get(song) == "id-1"
    assert UploadsBegun(state, "https://other").get(song) is None
    song.write_bytes(b"changed")
    assert uploads.get(song) is None


def test_a_damaged_memory_is_no_error(tmp_path: Path) -> None:
    song, state = tmp_path / "song.mp3", tmp_path / "uploads.json"
    song.write_bytes(b"one")
    for text in ("{", "[]", '{"a": 1}', '{"a": {"id": "x"}}'):
        state.write_text(text)
        assert UploadsBegun(state, "https://host").get(song) is None
    UploadsBegun(state / "below a file", "https://host").remember(song, "id")
