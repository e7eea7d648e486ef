"""Measures 24-bit PCM while it is written: length, peak, statistics of the mono mix, level, digest."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FULL_SCALE: Final = 1 << 23


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measurements of PCM; levels are relative to full scale.

    Attributes:
        samples: length per channel.
        peak: largest absolute sample of both channels.
        mean: mean of the mono mix.
        standard_deviation: of the mono mix, with n - 1.
        level: square root of the mean of both channels' variances.
        is_mono: whether both channels are the same.
        sha256: digest of the interleaved little-endian 24-bit samples.
    """

    samples: int
    peak: float
    mean: float
    standard_deviation: float
    level: float
    is_mono: bool
    sha256: str


class PcmMeter:
    """Measures (2, n) blocks of 24-bit samples.

    Mean and deviation are merged block by block in float64 (Chan, Golub, LeVeque 1979), which is numerically stable.
    """

    def __init__(self) -> None:
        self._samples = 0
        self._peak = 0
        self._mean = 0.0
        self._squares = 0.0
        self._sums = np.zeros((2, 2))
        self._is_mono = True
        self._digest = hashlib.sha256()

    def update(self, block: npt.NDArray[np.int32]) -> None:
        """Process the next samples."""
        if not block.shape[1]:
            return
        self._peak = max(self._peak, int(block.max()), -int(block.min()))
        self._is_mono = self._is_mono and np.array_equal(block[0], block[1])
        values = block.astype(np.float64) / FULL_SCALE
        self._merge(values.mean(axis=0))
        self._sums += values.sum(axis=1), np.square(values).sum(axis=1)
        interleaved = np.ascontiguousarray(block.T).astype("<i4", copy=False)
        self._digest.update(interleaved.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())

    def _merge(self, mono: npt.NDArray[np.float64]) -> None:
        mean = float(mono.mean())
        squares = float(np.square(mono - mean).sum())
        total = self._samples + mono.size
        delta = mean - self._mean
        self._squares += squares + delta * delta * self._samples * mono.size / total
        self._mean += delta * mono.size / total
        self._samples = total

    def result(self) -> Measurements:
        """Return the measurements so far."""
        variance = self._squares / (self._samples - 1) if self._samples > 1 else 0.0
        return Measurements(
            samples=self._samples,
            peak=self._peak / FULL_SCALE,
            mean=self._mean,
            standard_deviation=variance**0.5,
            level=self._level(),
            is_mono=self._is_mono,
            sha256=self._digest.hexdigest(),
        )

    def _level(self) -> float:
        means, squares = self._sums / max(1, self._samples)
        return float(np.sqrt(np.maximum(squares - means**2, 0.0).mean()))
