"""Measurements of PCM blocks."""

import numpy as np
import pytest

from stemyard_separator.audio.measurements import PcmMeter

GENERATOR = np.random.default_rng(5)


def test_statistics_do_not_depend_on_the_blocks() -> None:
    pcm = GENERATOR.integers(-(2**23), 2**23, (2, 100_000)).astype(np.int32)
    meter = PcmMeter()
    for start in (0, 1, 500, 70_000):
        stop = {0: 1, 1: 500, 500: 70_000, 70_000: 100_000}[start]
        meter.update(pcm[:, start:stop])
    meter.update(pcm[:, :0])

    result, mono = meter.result(), pcm.mean(axis=0) / 2**23
    assert result.samples == 100_000
    assert result.peak == np.abs(pcm.astype(np.int64)).max() / 2**23
    assert result.mean == pytest.approx(mono.mean(), rel=1e-12)
    assert result.standard_deviation == pytest.approx(mono.std(ddof=1), rel=1e-12)
    assert result.level == pytest.approx((pcm / 2**23).var(axis=1).mean() ** 0.5, rel=1e-12)
