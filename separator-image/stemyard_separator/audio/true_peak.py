"""True peak of a stereo stream of any length: the largest value of the signal interpolated four times (BS.1770-5)."""

from math import pi
from typing import Final

import numpy as np
import numpy.typing as npt

from stemyard_separator.engines.protocol import Samples

_PHASES: Final = 4
_TAPS: Final = 24
_ROW: Final = 32
"""Samples whose interpolated values are one row of a matrix product."""
_WINDOW: Final = _ROW + _TAPS - 1
"""Samples that a row's values depend on."""
_LOUDEST: Final = 0.95


class TruePeakMeter:
    """Measures (2, n) blocks of any length; rows whose samples are too small to reach the maximum are skipped."""

    def __init__(self) -> None:
        self.value = 0.0
        """Maximum so far, full scale 1.0; of the whole stream after `finish`."""
        self._rest = np.zeros((2, _TAPS), np.float32)

    def update(self, samples: Samples) -> None:
        """Process the next samples."""
        joined = np.concatenate((self._rest, samples), axis=1)
        rows = max(0, (joined.shape[1] - _TAPS + 1) // _ROW)
        self._rest = joined[:, rows * _ROW :]
        if rows:
            for channel in joined:
                self._search(channel[: rows * _ROW + _TAPS - 1], rows)

    def finish(self) -> None:
        """Process the silence after the last sample."""
        self.update(np.zeros((2, _WINDOW), np.float32))

    def _search(self, signal: npt.NDArray[np.float32], rows: int) -> None:
        peaks = np.abs(np.pad(signal, (0, (rows + 1) * _ROW - signal.size))).reshape(-1, _ROW).max(axis=1)
        # a row's window ends in the next one
        bounds = np.maximum(peaks[:-1], peaks[1:]) * _MAX_GAIN
        loudest = bounds >= _LOUDEST * bounds.max()
        windows = np.lib.stride_tricks.sliding_window_view(signal, _WINDOW)[::_ROW]
        for chosen in (loudest, ~loudest):
            wanted = windows[chosen & (bounds > self.value)]
            if wanted.size:
                values = wanted @ _INTERPOLATOR
                self.value = max(self.value, float(values.max()), -float(values.min()))


def _interpolator() -> npt.NDArray[np.float32]:
    """Return (taps, phases): a windowed sinc for 4x interpolation; phase 0 is the sample itself."""
    offsets = np.arange(_TAPS)[:, None] - (_TAPS // 2 - 1) - np.arange(_PHASES)[None, :] / _PHASES
    window = np.where(np.abs(offsets) < _TAPS / 2, np.cos(pi * offsets / _TAPS) ** 2, 0)
    return (np.sinc(offsets) * window).astype(np.float32)


def _matrix(taps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (window, row x phases): what a window is multiplied by to interpolate its row."""
    matrix = np.zeros((_WINDOW, _ROW, _PHASES), np.float32)
    for sample in range(_ROW):
        matrix[sample : sample + _TAPS, sample] = taps
    return matrix.reshape(_WINDOW, -1)


_INTERPOLATOR: Final = _matrix(_interpolator())
_MAX_GAIN: Final = float(np.abs(_INTERPOLATOR).sum(axis=0).max())
"""Maximum ratio of an interpolated value to the largest sample around it."""
