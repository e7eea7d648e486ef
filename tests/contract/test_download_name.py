"""Stems are saved under a name that people recognise and every file system takes."""

from urllib.parse import unquote

import pytest

from stemyard_contract.download_name import disposition, stem_name, uploaded_name
from stemyard_contract.separationjob import Stem

TRACK = "0f9f9a8e-8c5e-5a0e-9a53-3f0d7f6a2a11"


@pytest.mark.parametrize(
    ("title", "plain", "full"),
    [
        ("Song Title", "Artist - Song Title (Vocals).mp3", "Artist - Song Title (Vocals).mp3"),
        ("ARTIST - Song Title", "ARTIST - Song Title (Vocals).mp3", "ARTIST - Song Title (Vocals).mp3"),
        ("Ünïcode 歌", "Artist - _n_code _ (Vocals).mp3", "Artist - Ünïcode 歌 (Vocals).mp3"),
        ('../..\\"evil"\r\nX: y', "Artist - .. .. evil X y (Vocals).mp3", "Artist - .. .. evil X y (Vocals).mp3"),
        ("x" * 300, f"Artist - {'x' * 71} (Vocals).mp3", f"Artist - {'x' * 71} (Vocals).mp3"),
        (None, f"{TRACK} (Vocals).mp3", f"{TRACK} (Vocals).mp3"),
    ],
)
def test_stems_are_saved_under_a_safe_name(title: str | None, plain: str, full: str) -> None:
    header = disposition(title, "Artist", TRACK, Stem.VOCALS, "mp3")
    assert header.startswith(f'attachment; filename="{plain}"; ')
    assert unquote(header.partition("filename*=UTF-8''")[2]) == full
    assert header.isascii()
    assert header.isprintable()


@pytest.mark.parametrize("letter", ["x", "é", "歌", "😀", "\u0301"])
def test_a_file_system_takes_every_name(letter: str) -> None:
    name = stem_name(letter * 200, None, TRACK, Stem.INSTRUMENTAL, "flac")
    assert len(name.encode()) <= 255
    assert name == f"{letter * name.count(letter)} (Instrumental).flac"


@pytest.mark.parametrize(("title", "name"), [("...", "track (Vocals).mp3"), ("Song", "Song (Vocals).mp3")])
def test_a_song_without_an_artist(title: str, name: str) -> None:
    header = disposition(title, None, TRACK, Stem.VOCALS, "mp3")
    assert header.startswith(f'attachment; filename="{name}"; ')


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("song.mp3", "song"),
        ("My  Song (live).FLAC", "My Song (live)"),
        ("C:\\Music\\song.wav", "song"),
        ("../../etc/passwd", "passwd"),
        ("no ending", "no ending"),
        ("12. Track.one.m4a", "12. Track.one"),
        ("S\u00f6ng\u202e\x00\n.mp3", "S\u00f6ng"),
        ("x" * 255, "x" * 200),
        (".mp3", None),
        ("...", None),
        ("/", None),
    ],
)
def test_a_recording_is_called_by_its_file(filename: str, name: str | None) -> None:
    assert uploaded_name(filename) == name
