"""The outline of a stem for drawing: least and largest sample of each stretch, in the JSON of `audiowaveform`."""

import json
from typing import Final

import numpy as np
import numpy.typing as npt

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.engines.protocol import Samples

_POINTS: Final = 2000
_LEAST_STRETCH: Final = 256
_FULL_SCALE: Final = 127


class Waveform:
    """Takes blocks of a stream whose length is known; its memory does not depend on that length."""

    def __init__(self, samples: int) -> None:
        self._stretch = max(_LEAST_STRETCH, -(-samples // _POINTS))
        count = -(-samples // self._stretch)
        self._least = np.full(count, np.inf, np.float32)
        self._largest = np.full(count, -np.inf, np.float32)
        self._done = 0

    def update(self, samples: Samples) -> None:
        """Take in the next samples; both channels are drawn as one."""
        length = samples.shape[1]
        if not length:
            return
        first = self._done // self._stretch
        edges = np.arange(first * self._stretch, self._done + length, self._stretch) - self._done
        edges[0] = 0
        touched = slice(first, first + edges.size)
        least = np.minimum.reduceat(samples.min(axis=0), edges)
        largest = np.maximum.reduceat(samples.max(axis=0), edges)
        self._least[touched] = np.minimum(self._least[touched], least)
        self._largest[touched] = np.maximum(self._largest[touched], largest)
        self._done += length

    def json(self) -> str:
        """Return version 2 of the format: 8 bits, one channel, pairs of least and largest."""
        pairs = np.stack((_scaled(self._least), _scaled(self._largest)), axis=1)
        return json.dumps(
            {
                "version": 2,
                "channels": 1,
                "sample_rate": SAMPLE_RATE,
                "samples_per_pixel": self._stretch,
                "bits": 8,
                "length": len(pairs),
                "data": pairs.reshape(-1).tolist(),
            },
            separators=(",", ":"),
        )


def _scaled(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    return np.clip(np.round(values * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE).astype(np.int8)
