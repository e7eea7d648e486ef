"""Resampling, by soxr: of decoded audio to the rate of the networks, and of stems to the rate of their output."""

from typing import Final

import numpy as np
import soxr

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.audio.frames import undecodable
from stemyard_separator.engines.protocol import Samples

_SAMPLE_RATES: Final = range(4_000, 768_001)


class Resampler:
    """Resamples stereo from one sample rate to another."""

    def __init__(self, rate: int, target: int = SAMPLE_RATE) -> None:
        if rate not in _SAMPLE_RATES:
            raise undecodable(f"Its sample rate is {rate} Hz.")
        self.rate = rate
        self._stream = None if rate == target else soxr.ResampleStream(rate, target, 2, dtype="float32")

    def convert(self, samples: Samples) -> Samples:
        """Return the samples that are complete after adding `samples`."""
        return samples if self._stream is None else self._run(samples, last=False)

    def finish(self) -> Samples:
        """Return the remaining samples."""
        empty = np.zeros((2, 0), np.float32)
        return empty if self._stream is None else self._run(empty, last=True)

    def _run(self, samples: Samples, *, last: bool) -> Samples:
        assert self._stream is not None  # noqa: S101 - narrows the type
        return np.ascontiguousarray(self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=last).T)
