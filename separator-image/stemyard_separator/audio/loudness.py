"""Integrated loudness and true peak of a stereo stream of any length (ITU-R BS.1770-5, EBU R128)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log10, pi, tan
from typing import Final

import numpy as np
import numpy.typing as npt

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.engines.protocol import Samples

_TAPS: Final = 8192
"""Length of the K-weighting's impulse response; the truncated rest is below -140 dB."""
_TRANSFORM: Final = 32_768
_STEP: Final = _TRANSFORM - _TAPS + 1
_HOP: Final = SAMPLE_RATE // 10
"""Gating blocks of 400 ms start every 100 ms."""
_HOPS_PER_BLOCK: Final = 4
_OFFSET: Final = -0.691
_ABSOLUTE_GATE: Final = -70.0
_RELATIVE_GATE: Final = -10.0

_PHASES: Final = 4
_PHASE_TAPS: Final = 24
_STRIDE: Final = 64


@dataclass(frozen=True, slots=True)
class Levels:
    """Measured levels.

    Attributes:
        integrated_loudness: in LUFS; None if nothing is above the gate.
        true_peak: in dBTP; None for silence.
    """

    integrated_loudness: float | None
    true_peak: float | None


def round_level(level: float | None) -> float | None:
    """Return a level rounded to 0.01 dB."""
    return None if level is None else round(level, 2)


class LevelMeter:
    """Measures (2, n) blocks of any length."""

    def __init__(self) -> None:
        self._loudness = _Loudness()
        self._peak = _TruePeak()

    def update(self, samples: Samples) -> None:
        """Process the next samples."""
        if samples.shape[1]:
            self._loudness.update(samples)
            self._peak.update(samples)

    def result(self) -> Levels:
        """Return the levels; call it once, at the end."""
        self._peak.update(np.zeros((2, _PHASE_TAPS), np.float32))
        peak = self._peak.value
        return Levels(self._loudness.value(), 20 * log10(peak) if peak > 0 else None)


class _Loudness:
    def __init__(self) -> None:
        self._history = np.zeros((2, _TAPS - 1), np.float32)
        self._power = np.zeros(0, np.float32)
        self._hops: list[float] = []

    def update(self, samples: Samples) -> None:
        for start in range(0, samples.shape[1], _STEP):
            weighted = self._weight(samples[:, start : start + _STEP])
            self._add_power(np.square(weighted).sum(axis=0))

    def _weight(self, samples: Samples) -> Samples:
        """Apply the K-weighting by overlap-save convolution."""
        joined = np.concatenate((self._history, samples), axis=1)
        self._history = joined[:, -(_TAPS - 1) :]
        spectrum = np.fft.rfft(joined, _TRANSFORM, axis=1)
        spectrum *= _WEIGHTING
        weighted = np.fft.irfft(spectrum, _TRANSFORM, axis=1)[:, _TAPS - 1 : joined.shape[1]]
        return weighted.astype(np.float32, copy=False)

    def _add_power(self, power: npt.NDArray[np.float32]) -> None:
        joined = np.concatenate((self._power, power))
        whole = joined.size // _HOP * _HOP
        self._hops.extend(joined[:whole].reshape(-1, _HOP).mean(axis=1, dtype=np.float64).tolist())
        self._power = joined[whole:]

    def value(self) -> float | None:
        hops = np.array(self._hops)
        if hops.size < _HOPS_PER_BLOCK:
            return None
        blocks = np.lib.stride_tricks.sliding_window_view(hops, _HOPS_PER_BLOCK).mean(axis=1)
        audible = blocks[blocks > _power_of(_ABSOLUTE_GATE)]
        if not audible.size:
            return None
        gate = audible.mean() * 10 ** (_RELATIVE_GATE / 10)
        return _OFFSET + 10 * log10(audible[audible > gate].mean())


def _power_of(loudness: float) -> float:
    return float(10 ** ((loudness - _OFFSET) / 10))


def _response() -> npt.NDArray[np.complex128]:
    """Return the K-weighting at the frequencies of one transform: a high shelf (the head), then a high-pass."""
    z = np.exp(-2j * pi * np.fft.rfftfreq(_TRANSFORM))
    return np.asarray(_shelf(z) * _high_pass(z))


def _shelf(z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    # analogue prototype that yields the standard's coefficients for 48 kHz by the bilinear transform
    frequency, gain, quality = 1681.974450955533, 10 ** (3.999843853973347 / 20), 0.7071752369554196
    k, middle = tan(pi * frequency / SAMPLE_RATE), gain**0.4996667741545416
    top = (gain + middle * k / quality + k * k) + 2 * (k * k - gain) * z + (gain - middle * k / quality + k * k) * z**2
    return np.asarray(top / ((1 + k / quality + k * k) + 2 * (k * k - 1) * z + (1 - k / quality + k * k) * z**2))


def _high_pass(z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    frequency, quality = 38.13547087602444, 0.5003270373238773
    k = tan(pi * frequency / SAMPLE_RATE)
    below = (1 + k / quality + k * k) + 2 * (k * k - 1) * z + (1 - k / quality + k * k) * z**2
    # the standard's numerator is 1, -2, 1, without the scale factor of the bilinear transform
    return np.asarray((1 - z) ** 2 * (1 + k / quality + k * k) / below)


def _finite_weighting() -> npt.NDArray[np.complex64]:
    taps = np.fft.irfft(_response(), _TRANSFORM)[:_TAPS]
    return np.fft.rfft(taps, _TRANSFORM).astype(np.complex64)


_WEIGHTING: Final = _finite_weighting()


def _interpolator() -> npt.NDArray[np.float32]:
    """Return (taps, phases): a windowed sinc for 4x interpolation; phase 0 is the sample itself."""
    offsets = np.arange(_PHASE_TAPS)[:, None] - (_PHASE_TAPS // 2 - 1) - np.arange(_PHASES)[None, :] / _PHASES
    window = np.where(np.abs(offsets) < _PHASE_TAPS / 2, np.cos(pi * offsets / _PHASE_TAPS) ** 2, 0)
    return (np.sinc(offsets) * window).astype(np.float32)


class _TruePeak:
    """Maximum of the 4x interpolated signal; strides whose samples are too small to reach it are skipped."""

    def __init__(self) -> None:
        self.value = 0.0
        self._history = np.zeros((2, _PHASE_TAPS), np.float32)

    def update(self, samples: Samples) -> None:
        joined = np.concatenate((self._history, samples), axis=1)
        self._history = joined[:, -(_PHASE_TAPS - 1) :]
        for channel in joined:
            self._search(np.ascontiguousarray(channel))

    def _search(self, signal: npt.NDArray[np.float32]) -> None:
        strides = -(-signal.size // _STRIDE)
        padded = np.pad(signal, (0, (strides + 1) * _STRIDE - signal.size))
        peaks = np.abs(padded).reshape(-1, _STRIDE).max(axis=1)
        # a window starts in one stride and may end in the next
        bounds = np.maximum(peaks[:-1], peaks[1:]) * _MAX_GAIN
        for batch in _loudest_first(bounds):
            if bounds[batch[0]] <= self.value:
                return
            self._interpolate(signal, batch[bounds[batch] > self.value])

    def _interpolate(self, signal: npt.NDArray[np.float32], strides: npt.NDArray[np.int64]) -> None:
        starts = (strides[:, None] * _STRIDE + np.arange(_STRIDE)[None, :]).reshape(-1)
        windows = np.lib.stride_tricks.sliding_window_view(signal, _PHASE_TAPS)
        # windows that extend beyond the signal belong to the next block
        values = windows[np.minimum(starts, len(windows) - 1)] @ _INTERPOLATOR
        self.value = max(self.value, float(np.abs(values).max()))


_INTERPOLATOR: Final = _interpolator()
_MAX_GAIN: Final = float(np.abs(_INTERPOLATOR).sum(axis=0).max())
"""Maximum ratio of an interpolated value to the largest sample around it."""
_BATCH: Final = 32


def _loudest_first(bounds: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield indices of strides in batches, by descending bound."""
    order = np.argsort(-bounds)
    for start in range(0, order.size, _BATCH):
        yield order[start : start + _BATCH]
