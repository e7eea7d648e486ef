"""Which audio track of a file is taken, and which of its labels are the recording's."""

from pathlib import Path

import av.logging
import numpy as np
import pytest
from av.stream import Disposition

from stemyard_separator.audio.decode import DecodedAudio, decode
from tests.support.audio import RATE, Audio, read, tone
from tests.support.films import Track, film

SONG = tone(2)
SPEECH = 0.3 * np.repeat(np.sin(2 * np.pi * 1234 * np.arange(2 * RATE) / RATE)[None], 2, axis=0)
CODECS = {"matroska": "flac", "mp4": "aac"}


def decoded(content: bytes, folder: Path) -> tuple[DecodedAudio, Audio]:
    path = folder / "source"
    path.write_bytes(content)
    audio = decode(path, folder / "audio.flac", 3600, lambda _: None)
    return audio, read(audio.path) * 2.0**audio.exponent


def assert_is_the_song(audio: Audio) -> None:
    assert similarity(audio, SONG) > 0.99 > 0.1 > abs(similarity(audio, SPEECH))


def similarity(one: Audio, other: Audio) -> float:
    """Return the normalised correlation, at the best lag within an encoder's delay."""
    spectrum = np.fft.rfft(one[0], 4 * RATE).conj() * np.fft.rfft(other[0], 4 * RATE)
    return float(np.abs(np.fft.irfft(spectrum)).max() / np.sqrt(np.sum(one[0] ** 2) * np.sum(other[0] ** 2)))


@pytest.mark.parametrize("container", CODECS)
def test_the_default_track_is_taken_not_the_first(tmp_path: Path, container: str) -> None:
    commentary = Track(SPEECH, "Commentary")
    song = Track(SONG, "Song", Disposition.default)

    _, audio = decoded(film(container, CODECS[container], [commentary, song]), tmp_path)

    assert_is_the_song(audio)


@pytest.mark.parametrize(
    "other",
    [
        Track(SPEECH, disposition=Disposition.comment | Disposition.default),
        Track(SPEECH, disposition=Disposition.visual_impaired | Disposition.default),
        Track(SPEECH, "Director's commentary", Disposition.default),
    ],
)
def test_commentary_and_descriptions_are_not_taken(tmp_path: Path, other: Track) -> None:
    _, audio = decoded(film("matroska", "flac", [other, Track(SONG, "Stereo")]), tmp_path)

    assert_is_the_song(audio)


def test_without_a_default_the_first_track_is_taken(tmp_path: Path) -> None:
    _, audio = decoded(film("matroska", "flac", [Track(SONG), Track(SPEECH)]), tmp_path)

    assert_is_the_song(audio)


@pytest.mark.parametrize("container", CODECS)
def test_the_label_of_a_track_is_not_the_title(tmp_path: Path, container: str) -> None:
    tracks = [Track(SONG, "English 5.1", Disposition.default)]

    labelled, _ = decoded(film(container, CODECS[container], tracks), tmp_path)
    titled, _ = decoded(film(container, CODECS[container], tracks, title="The Song"), tmp_path)

    assert labelled.title is None
    assert titled.title == "The Song"


def test_an_ogg_stream_has_the_tags_of_its_file(tmp_path: Path) -> None:
    audio, _ = decoded(film("ogg", "flac", [Track(SONG)], title="The Song", artist="Someone"), tmp_path)

    assert (audio.title, audio.artist) == ("The Song", "Someone")


def test_no_decoder_of_pictures_is_opened(tmp_path: Path) -> None:
    """FFmpeg opens a decoder of every stream to find out what it is; those of video are its most attacked code."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as told:
            audio, _ = decoded(film("matroska", "flac", [Track(SONG)], pictures=1.0), tmp_path)
    finally:
        av.logging.set_level(level)
    assert any("Codec (mpeg4) not on whitelist" in text for _, _, text in told)
    assert audio.measured.samples == pytest.approx(2 * RATE, abs=RATE / 10)
