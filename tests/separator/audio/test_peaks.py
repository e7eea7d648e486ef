"""Waveforms against plain loops."""

import json

import numpy as np
import pytest

from stemyard_separator.audio.peaks import Waveform
from tests.support.audio import RATE


@pytest.mark.parametrize(
    ("samples", "block"), [(1, 1), (256, 100), (90_001, 10_000), (600_000, 65_537), (600_000, 301)]
)
def test_the_waveform_matches_the_samples(samples: int, block: int) -> None:
    audio = np.random.default_rng(3).uniform(-1, 1, (2, samples)).astype(np.float32)
    waveform = Waveform(samples)
    for start in range(0, samples, block):
        waveform.update(audio[:, start : start + block])

    content = json.loads(waveform.json())

    step = content["samples_per_pixel"]
    assert step == max(256, -(-samples // 2000))
    parts = [audio[:, start : start + step] for start in range(0, samples, step)]
    expected = [round(float(edge) * 127) for part in parts for edge in (part.min(), part.max())]
    assert content["length"] == len(parts)
    assert (content["version"], content["channels"], content["bits"], content["sample_rate"]) == (2, 1, 8, RATE)
    assert np.abs(np.array(content["data"]) - expected).max() <= 1
