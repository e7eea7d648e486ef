"""Damaged and incomplete files: what can be decoded is kept, in its place."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.failures import FailureCode
from stemyard_separator.audio.decode import DecodedAudio, decode
from stemyard_separator.errors import SourceError
from tests.support.audio import RATE, Audio, read, tone, write_float_wav, write_wav
from tests.support.films import Track, film
from tests.support.nasty_tags import encoded


def decoded(content: bytes, folder: Path, max_seconds: float = 3600) -> tuple[DecodedAudio, Audio]:
    path = folder / "source"
    path.write_bytes(content)
    audio = decode(path, folder / "audio.flac", max_seconds, lambda _: None)
    return audio, read(audio.path) * 2.0**audio.exponent


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_single_samples_that_are_not_numbers_are_silenced_and_counted(tmp_path: Path, value: float) -> None:
    song = tone(1)
    damaged = song.copy()
    damaged[0, 1000] = damaged[1, 2000] = value

    audio, result = decoded(write_float_wav(tmp_path / "x.wav", damaged).read_bytes(), tmp_path)

    assert audio.invalid_samples == 2
    assert result[0, 1000] == result[1, 2000] == 0
    song[0, 1000] = song[1, 2000] = 0
    assert np.abs(result - song).max() < 1e-6


def test_doubles_beyond_single_precision_are_silenced_and_counted(tmp_path: Path) -> None:
    song = tone(1)
    song[0, 1000] = 1e300

    audio, result = decoded(wav(song.astype("<f8").T.tobytes(), 3, 64), tmp_path)

    assert audio.invalid_samples == 1
    assert result[0, 1000] == 0


def test_integers_of_64_bits_are_decoded(tmp_path: Path) -> None:
    song = tone(1)

    _, result = decoded(wav((song * 2.0**63).astype("<i8").T.tobytes(), 1, 64), tmp_path)

    assert np.abs(result - song).max() < 1e-6


def wav(samples: bytes, kind: int, bits: int) -> bytes:
    """Return a stereo WAV file of any sample format."""
    width = 2 * bits // 8
    head = struct.pack("<HHIIHH", kind, 2, RATE, RATE * width, width, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_a_sample_that_is_not_a_number_does_not_spread_through_resampling_and_downmix(tmp_path: Path) -> None:
    song = tone(1, 48_000, channels=6)
    song[3, 1000] = np.nan

    audio, result = decoded(write_float_wav(tmp_path / "x.wav", song, 48_000).read_bytes(), tmp_path)

    assert audio.invalid_samples == 1
    assert result.shape[1] == RATE
    assert np.abs(result[:, 2000:-1000]).max() > 0.3


def test_many_samples_that_are_not_numbers_refuse_the_file(tmp_path: Path) -> None:
    song = tone(1)
    song[0, ::400] = np.nan

    with pytest.raises(SourceError, match="111 of its 88200 samples are not numbers") as error:
        decoded(write_float_wav(tmp_path / "x.wav", song).read_bytes(), tmp_path)

    assert error.value.code is FailureCode.SOURCE_UNDECODABLE


def blocks_of(content: bytes) -> list[int]:
    starts = [content.find(b"wvpk")]
    while (following := content.find(b"wvpk", starts[-1] + 4)) >= 0:
        starts.append(following)
    return starts


def test_a_damaged_wavpack_block_is_silent_and_the_rest_in_its_place(tmp_path: Path) -> None:
    content = bytearray(encoded(tone(5), "wv", "wavpack"))
    _, song = decoded(bytes(content), tmp_path)
    block = blocks_of(bytes(content))[2]
    content[block + 400 : block + 600] = bytes(200)

    _, result = decoded(bytes(content), tmp_path)

    assert result.shape == song.shape
    different = np.flatnonzero((result != song).any(axis=0))
    assert 0 < different.size <= RATE // 2 + 1, "one block lasts half a second"
    assert not result[:, different].any()


def test_after_a_wavpack_block_without_its_header_the_beginning_is_kept(tmp_path: Path) -> None:
    content = bytearray(encoded(tone(5), "wv", "wavpack"))
    block = blocks_of(bytes(content))[6]
    content[block : block + 4] = b"xxxx"

    audio, result = decoded(bytes(content), tmp_path)

    assert result.shape[1] == 3 * RATE
    assert audio.is_cut


def test_a_chained_ogg_whose_second_part_cannot_be_read_keeps_the_first(tmp_path: Path) -> None:
    stereo = encoded(tone(3, 48_000), "ogg", "libopus", rate=48_000)
    mono = encoded(tone(3, 48_000, channels=1), "ogg", "libopus", rate=48_000)

    audio, result = decoded(stereo + mono, tmp_path)

    assert result.shape[1] == pytest.approx(3 * RATE, abs=1024)
    assert audio.is_cut


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 2), (44_100, 1)])
def test_a_chained_ogg_of_another_rate_or_layout_is_decoded_to_its_end(
    tmp_path: Path, rate: int, channels: int
) -> None:
    second = encoded(tone(3, rate, channels), "ogg", "flac", rate=rate)

    audio, result = decoded(encoded(tone(3), "ogg", "flac") + second, tmp_path)

    assert result.shape[1] == 6 * RATE
    assert not audio.is_cut


def patched(content: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    start = content.find(mark) + offset
    return content[:start] + value + content[start + len(value) :]


PCM: dict[str, Callable[[Path], bytes]] = {
    "wav": lambda folder: patched(
        write_wav(folder / "x.wav", tone(3)).read_bytes(), b"data", 4, struct.pack("<I", 0x7FFFFFFF)
    ),
    "wav of a pipe": lambda folder: patched(
        write_wav(folder / "x.wav", tone(3)).read_bytes(), b"data", 4, struct.pack("<I", 0xFFFFFFFF)
    ),
    "wav of a recorder that lost power": lambda folder: patched(
        write_wav(folder / "x.wav", tone(3)).read_bytes(), b"data", 4, bytes(4)
    ),
    "aiff": lambda folder: patched(encoded(tone(3), "aiff", "pcm_s16be"), b"COMM", 10, struct.pack(">I", 0x7FFFFFFF)),
    "au": lambda folder: patched(encoded(tone(3), "au", "pcm_s16be"), b".snd", 8, struct.pack(">I", 0x7FFFFFFF)),
    "caf": lambda folder: patched(encoded(tone(3), "caf", "pcm_s16le"), b"data", 4, struct.pack(">q", 1 << 40)),
}


@pytest.mark.parametrize("kind", PCM)
def test_a_wrong_length_in_the_header_is_bounded_by_the_size_of_the_file(tmp_path: Path, kind: str) -> None:
    _, result = decoded(PCM[kind](tmp_path), tmp_path, max_seconds=60)

    assert result.shape[1] == 3 * RATE


FILMS = {"matroska": "flac", "mp4": "aac", "mpegts": "mp2", "nut": "flac"}


def first_sound(audio: Audio) -> float:
    return float(np.flatnonzero(np.abs(audio).max(axis=0) > 0.05)[0] / RATE)


@pytest.mark.parametrize("container", FILMS)
def test_sound_that_begins_after_the_picture_stays_with_it(tmp_path: Path, container: str) -> None:
    content = film(container, FILMS[container], [Track(tone(2), start=3.0)], pictures=5.0)

    _, result = decoded(content, tmp_path)

    assert first_sound(result) == pytest.approx(3.0, abs=0.03)
    assert result.shape[1] / RATE == pytest.approx(5.0, abs=0.1)


def test_sound_without_a_picture_begins_at_once(tmp_path: Path) -> None:
    _, result = decoded(film("matroska", "flac", [Track(tone(2), start=3.0)]), tmp_path)

    assert result.shape[1] == 2 * RATE


def test_a_picture_that_begins_after_the_sound_changes_nothing(tmp_path: Path) -> None:
    _, result = decoded(film("matroska", "flac", [Track(tone(2))], pictures=1.0, first_picture=1.0), tmp_path)

    assert result.shape[1] == 2 * RATE


@pytest.mark.parametrize("container", FILMS)
def test_a_hole_becomes_silence(tmp_path: Path, container: str) -> None:
    content = film(container, FILMS[container], [Track(tone(10), hole=(3.0, 7.0))], pictures=10.0)

    _, result = decoded(content, tmp_path)

    assert result.shape[1] / RATE == pytest.approx(10.0, abs=0.1)
    assert np.abs(result[:, int(3.2 * RATE) : int(6.8 * RATE)]).max() == 0
    assert min(np.abs(result[:, start : start + RATE // 10]).max() for start in (2 * RATE, 8 * RATE)) > 0.05


def test_silence_counts_towards_the_longest_accepted_duration(tmp_path: Path) -> None:
    content = film("matroska", "flac", [Track(tone(4), hole=(1.0, 3.0))])

    with pytest.raises(SourceError) as error:
        decoded(content, tmp_path, max_seconds=2.5)

    assert error.value.code is FailureCode.SOURCE_TOO_LONG
