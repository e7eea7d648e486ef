"""Waveform of a stem for drawing: minimum and maximum of each pixel, in the JSON format of `audiowaveform`."""

import json
from typing import Final

import numpy as np
import numpy.typing as npt

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.engines.protocol import Samples

_PIXELS: Final = 2000
_MIN_SAMPLES_PER_PIXEL: Final = 256
_FULL_SCALE: Final = 127


class Waveform:
    """Computes the waveform of a stream of known length from blocks, in constant memory."""

    def __init__(self, samples: int) -> None:
        self._samples_per_pixel = max(_MIN_SAMPLES_PER_PIXEL, -(-samples // _PIXELS))
        pixels = -(-samples // self._samples_per_pixel)
        self._min = np.full(pixels, np.inf, np.float32)
        self._max = np.full(pixels, -np.inf, np.float32)
        self._position = 0

    def update(self, samples: Samples) -> None:
        """Process the next samples; both channels are drawn as one."""
        length = samples.shape[1]
        if not length:
            return
        first = self._position // self._samples_per_pixel
        end = self._position + length
        edges = np.arange(first * self._samples_per_pixel, end, self._samples_per_pixel) - self._position
        edges[0] = 0
        pixels = slice(first, first + edges.size)
        self._min[pixels] = np.minimum(self._min[pixels], np.minimum.reduceat(samples.min(axis=0), edges))
        self._max[pixels] = np.maximum(self._max[pixels], np.maximum.reduceat(samples.max(axis=0), edges))
        self._position = end

    def json(self) -> str:
        """Return version 2 of the format: 8 bits, one channel, pairs of minimum and maximum."""
        pairs = np.stack((_to_8_bits(self._min), _to_8_bits(self._max)), axis=1)
        return json.dumps(
            {
                "version": 2,
                "channels": 1,
                "sample_rate": SAMPLE_RATE,
                "samples_per_pixel": self._samples_per_pixel,
                "bits": 8,
                "length": len(pairs),
                "data": pairs.reshape(-1).tolist(),
            },
            separators=(",", ":"),
        )


def _to_8_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    return np.clip(np.round(values * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE).astype(np.int8)
