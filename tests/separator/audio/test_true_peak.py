"""The true peak against an interpolation of every sample."""

from collections.abc import Callable

import numpy as np
import pytest

from stemyard_separator.audio.true_peak import TruePeakMeter
from tests.support.audio import CLIP, RATE, Audio, read


def measured(audio: Audio, block: int) -> float:
    meter = TruePeakMeter()
    for start in range(0, audio.shape[1], block):
        meter.update(audio[:, start : start + block].astype(np.float32))
    meter.finish()
    return meter.value


def interpolated(audio: Audio) -> float:
    """Return the maximum of all values between the samples and at them, by convolution."""
    taps, phases = 24, 4
    offsets = np.arange(taps)[:, None] - (taps // 2 - 1) - np.arange(phases)[None, :] / phases
    window = np.where(np.abs(offsets) < taps / 2, np.cos(np.pi * offsets / taps) ** 2, 0)
    kernels = (np.sinc(offsets) * window).T
    return max(float(np.abs(np.convolve(channel, kernel[::-1])).max()) for channel in audio for kernel in kernels)


@pytest.mark.parametrize("block", [1, 31, 777, 10**9])
@pytest.mark.parametrize("kind", ["noise", "clip", "a click", "a step at the end", "short"])
def test_no_peak_is_skipped(kind: str, block: int) -> None:
    random = np.random.default_rng(5)
    kinds: dict[str, Callable[[], Audio]] = {
        "noise": lambda: random.normal(0, 0.2, (2, 5000)),
        "clip": lambda: read(CLIP)[:, RATE : RATE + 5000],
        "a click": lambda: np.eye(2, 5000, 2499) * [[0.3], [0.8]],
        "a step at the end": lambda: np.concatenate((np.zeros((2, 4000)), np.full((2, 1001), 0.5)), axis=1),
        "short": lambda: random.normal(0, 0.2, (2, 3)),
    }
    audio = kinds[kind]()
    assert measured(audio, block) == pytest.approx(interpolated(audio), rel=1e-5)


def test_nothing_has_no_peak() -> None:
    assert measured(np.zeros((2, 100)), 100) == 0
    assert measured(np.zeros((2, 0)), 100) == 0
