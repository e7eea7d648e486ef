"""The song that all inputs are made of, and writers of WAV files."""

import struct
from functools import cache

import numpy as np
import soxr

from tests.support.audio import CLIP, RATE, Audio, read
from tests.support.nasty_tags import encoded


@cache
def song() -> Audio:
    """Return 10.9 s of a real song with a peak of 0.85."""
    audio = read(CLIP)
    return np.asarray(0.85 * audio / np.abs(audio).max())


@cache
def mono() -> Audio:
    return np.asarray(song().mean(axis=0, keepdims=True))


def resampled(audio: Audio, rate: int) -> Audio:
    return np.asarray(soxr.resample(audio.T, RATE, rate, quality="VHQ")).T


def surround() -> Audio:
    """Return 5.1 channels with a loud bass channel."""
    time = np.arange(song().shape[1]) / RATE
    left, right = song()
    bass = 0.3 * np.sin(2 * np.pi * 40 * time)
    return np.stack([left / 2, right / 2, 0.4 * mono()[0], bass, left / 5, right / 5])


def float_wav(audio: Audio, rate: int = RATE) -> bytes:
    """Return 32-bit float samples of any value and number of channels."""
    channels = audio.shape[0]
    form = struct.pack("<HHIIHH", 3, channels, rate, rate * channels * 4, channels * 4, 32)
    with np.errstate(over="ignore", under="ignore"):
        data = audio.T.astype("<f4").tobytes()
    return riff(form, data, len(data))


def pcm_wav(length: int | None = None, share: float = 1.0) -> bytes:
    """Return the song's 16-bit samples, with this length in the header, cut to this share."""
    data = np.round(song().T * 32767).astype("<i2").tobytes()
    content = riff(struct.pack("<HHIIHH", 1, 2, RATE, 4 * RATE, 4, 16), data, len(data) if length is None else length)
    return content[: int(share * len(content))]


def riff(form: bytes, data: bytes, length: int) -> bytes:
    """Return a WAV whose data chunk declares this length."""
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", length) + data
    return b"RIFF" + struct.pack("<I", min(4 + len(chunks), 0xFFFFFFFF)) + b"WAVE" + chunks


@cache
def mp3() -> bytes:
    return encoded(song(), "mp3", "libmp3lame", title="Song", artist="Band")


@cache
def flac() -> bytes:
    return encoded(song(), "flac", "flac", title="Song", artist="Band")


@cache
def m4a() -> bytes:
    return encoded(song(), "ipod", "aac", title="Song")


@cache
def ogg() -> bytes:
    return encoded(song(), "ogg", "vorbis", title="Song")
