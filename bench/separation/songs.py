"""Songs of any length: a real clip, repeated."""

import tempfile
from pathlib import Path

import numpy as np

from tests.support.audio import CLIP, RATE, Audio, read, write_encoded


def song(seconds: float) -> Audio:
    """Return audio of this length, shape (2, samples)."""
    clip = read(CLIP) * 0.9
    return np.tile(clip, int(np.ceil(seconds * RATE / clip.shape[1])))[:, : int(seconds * RATE)]


def encoded(audio: Audio) -> bytes:
    """Return audio encoded as mp3."""
    with tempfile.TemporaryDirectory() as folder:
        return write_encoded(Path(folder, "song.mp3"), audio, "libmp3lame").read_bytes()
