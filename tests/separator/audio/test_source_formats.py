"""Formats of sources: what FFmpeg decodes from a single file is accepted, and recognised by content, not by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr

from stemyard_separator.audio.channels import stereo_matrix
from stemyard_separator.audio.decode import decode
from tests.support.audio import CLIP, RATE, Audio, lag, read, si_sdr, tone, write_wav
from tests.support.nasty_tags import encoded
from tests.support.rare_formats import DSD_RATE, dff, dsf, gsm, shorten


def decoded(content: bytes, folder: Path) -> Audio:
    path = folder / "source"
    path.write_bytes(content)
    audio = decode(path, folder / "audio.flac", 3600, lambda _: None)
    return read(audio.path) * 2.0**audio.exponent


ENCODED = {
    "flac": ("flac", 60.0),
    "ogg": ("flac", 60.0),
    "aiff": ("pcm_s24be", 60.0),
    "caf": ("alac", 60.0),
    "w64": ("pcm_s16le", 60.0),
    "voc": ("pcm_s16le", 60.0),
    "nut": ("pcm_s16le", 60.0),
    "mxf_opatom": ("pcm_s16le", 60.0),
    "ircam": ("pcm_s16le", 60.0),
    "sox": ("pcm_s32le", 60.0),
    "au": ("pcm_mulaw", 25.0),
    "tta": ("tta", 30.0),
    "wv": ("wavpack", 30.0),
    "adts": ("aac", 12.0),
    "ac3": ("ac3", 20.0),
    "asf": ("wmav2", 15.0),
    "mpegts": ("mp2", 15.0),
}
"""Muxer, codec, and the least fidelity in dB."""


@pytest.mark.parametrize("container", ENCODED)
def test_a_format_is_decoded(tmp_path: Path, container: str) -> None:
    codec, fidelity = ENCODED[container]
    rate = 48_000 if container == "mxf_opatom" else RATE
    song = 0.5 * read(CLIP)[: 1 if container == "mxf_opatom" else 2, RATE : 3 * RATE]
    source = np.asarray(soxr.resample(song.T, RATE, rate).T)

    audio = decoded(encoded(source, container, codec, rate=rate), tmp_path)

    assert fidelity_of(audio, np.broadcast_to(song, (2, 2 * RATE))) > fidelity


def fidelity_of(audio: Audio, expected: Audio) -> float:
    delay = lag(expected, audio)
    aligned, expected = audio[:, max(0, delay) :], expected[:, max(0, -delay) :]
    size = min(aligned.shape[1], expected.shape[1])
    middle = slice(RATE // 10, size - RATE // 10)
    return si_sdr(expected[:, :size][:, middle], aligned[:, :size][:, middle])


@pytest.mark.parametrize("make", [dsf, dff])
def test_dsd_is_decoded(tmp_path: Path, make: Callable[[Audio], bytes]) -> None:
    audio = decoded(make(0.5 * tone(0.25, DSD_RATE)), tmp_path)

    assert audio.shape[1] == pytest.approx(RATE // 4, abs=700)
    assert fidelity_of(audio, 0.5 * tone(0.25)) > 30


@pytest.mark.parametrize(("name", "channels", "seconds"), [("stereo.thd", 2, 1.6), ("5.1-mlp.mka", 6, 0.2)])
def test_truehd_and_mlp_are_decoded_without_loss(tmp_path: Path, name: str, channels: int, seconds: float) -> None:
    song = read(write_wav(tmp_path / "x.wav", tone(seconds, channels=channels, level=0.01)))
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"][:channels]

    audio = decoded((Path(__file__).parent / "encoded" / name).read_bytes(), tmp_path)

    size = song.shape[1]
    assert 0 <= audio.shape[1] - size < 40, "the last frame of 40 samples is filled up"
    assert np.abs(audio[:, :size] - stereo_matrix(names) @ song).max() < 1e-6


def test_shorten_is_decoded_without_loss(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "x.wav", tone(0.5))

    audio = decoded(shorten(wav.read_bytes()), tmp_path)

    size = audio.shape[1]
    assert size >= RATE // 2 - 256
    assert np.abs(audio - read(wav)[:, :size]).max() < 1e-6


def test_gsm_is_decoded(tmp_path: Path) -> None:
    audio = decoded(gsm(100), tmp_path)

    assert audio.shape[1] == pytest.approx(2 * RATE, abs=100)
