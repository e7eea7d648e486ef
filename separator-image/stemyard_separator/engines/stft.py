"""Short-time Fourier transform and its inverse on a stream of any length, in float32."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from stemyard_separator.engines.protocol import Samples

Spectra = npt.NDArray[np.complex64]
"""(channels, frames, bins)."""

FRAME: Final = 4096
HOP: Final = 1024
_HOPS_PER_FRAME: Final = FRAME // HOP
_HALF: Final = FRAME // 2
_BATCH: Final = 64
"""Frames transformed at once: few enough for their samples to stay in the CPU cache."""
_MIN_WEIGHT: Final = 1e-8


def _periodic_hann(length: int) -> npt.NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


WINDOW: Final = _periodic_hann(FRAME)


def frame_count(samples: int) -> int:
    """Return the number of centred frames that cover `samples` samples."""
    return 1 + samples // HOP


def _batches(frames: int) -> Iterator[slice]:
    for start in range(0, frames, _BATCH):
        yield slice(start, min(frames, start + _BATCH))


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive frames, of which `kept` is the result; the others are the context of those."""

    spectra: Spectra
    kept: slice


class Analysis:
    """Transforms a stream in frames centred at multiples of `HOP`; the signal is zero outside its length.

    Args:
        mix: the stream.
        samples: its length.
        frames: frames per window.
        context: frames at each end of a window that belong to the result of its neighbour.
    """

    def __init__(self, mix: Iterable[Samples], samples: int, frames: int, context: int = 0) -> None:
        self._blocks = iter(mix)
        self._frames = frame_count(samples)
        self._window = frames
        self._context = context
        self._buffer = np.zeros((2, _HALF), np.float32)

    def windows(self) -> Iterator[Window]:
        """Yield windows whose kept frames are all frames in order; the last window may be shorter."""
        done, shared = 0, 2 * self._context
        tail = np.zeros((2, 0, FRAME // 2 + 1), np.complex64)
        while done < self._frames:
            frames = min(self._window - tail.shape[1], self._frames - done)
            spectra = np.concatenate((tail, self._transform(self._take(frames), frames)), axis=1)
            first = self._context if done else 0
            done += frames
            end = spectra.shape[1] - (self._context if done < self._frames else 0)
            tail = spectra[:, spectra.shape[1] - shared :].copy()
            yield Window(spectra, slice(first, end))

    def _take(self, frames: int) -> Samples:
        """Return the samples of `frames` frames and keep those that the next chunk overlaps."""
        needed = (frames - 1) * HOP + FRAME
        parts, buffered = [self._buffer], self._buffer.shape[1]
        while buffered < needed and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            buffered += block.shape[1]
        if buffered < needed:
            parts.append(np.zeros((2, needed - buffered), np.float32))
        joined = np.concatenate(parts, axis=1)
        self._buffer = joined[:, frames * HOP :]
        return joined[:, :needed]

    @staticmethod
    def _transform(samples: Samples, frames: int) -> Spectra:
        windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME, axis=1)[:, ::HOP][:, :frames]
        spectra = np.empty((2, frames, FRAME // 2 + 1), np.complex64)
        for batch in _batches(frames):
            spectra[:, batch] = np.fft.rfft(windows[:, batch] * WINDOW, axis=2)
        return spectra


class Synthesis:
    """Inverse transform by overlap-add: weights frames by the window and divides by the sum of squared windows."""

    def __init__(self, samples: int) -> None:
        self._remaining = samples
        self._skip = _HALF
        self._tail = np.zeros((2, FRAME - HOP), np.float32)
        self._weight_tail = np.zeros(FRAME - HOP, np.float32)

    def add(self, spectra: Spectra) -> Samples:
        """Add frames; return the samples that are complete."""
        complete = [self._add(spectra[:, batch]) for batch in _batches(spectra.shape[1])]
        return np.concatenate(complete, axis=1)

    def _add(self, spectra: Spectra) -> Samples:
        frames = np.fft.irfft(spectra, n=FRAME, axis=2).astype(np.float32, copy=False)
        frames *= WINDOW
        total = _overlap_add(frames)
        total[:, : FRAME - HOP] += self._tail
        weight = _overlap_add(np.broadcast_to(WINDOW * WINDOW, (1, *frames.shape[1:])))[0]
        weight[: FRAME - HOP] += self._weight_tail
        complete = frames.shape[1] * HOP
        self._tail, self._weight_tail = total[:, complete:], weight[complete:]
        return self._trim(_normalise(total[:, :complete], weight[:complete]))

    def finish(self) -> Samples:
        """Return the remaining samples; the total equals the length of the signal."""
        return self._trim(_normalise(self._tail, self._weight_tail))

    def _trim(self, samples: Samples) -> Samples:
        """Drop samples before the start and after the end of the signal."""
        skipped = min(self._skip, samples.shape[1])
        self._skip -= skipped
        kept = samples[:, skipped : skipped + self._remaining]
        self._remaining -= kept.shape[1]
        return kept


def _normalise(samples: Samples, weight: npt.NDArray[np.float32]) -> Samples:
    return np.divide(samples, np.maximum(weight, _MIN_WEIGHT), dtype=np.float32)


def _overlap_add(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (channels, (frames + 3) * HOP) samples from (channels, frames, FRAME)."""
    channels, count, _ = frames.shape
    total = np.zeros((channels, count + _HOPS_PER_FRAME - 1, HOP), np.float32)
    for hop in range(_HOPS_PER_FRAME):
        total[:, hop : hop + count] += frames[:, :, hop * HOP : (hop + 1) * HOP]
    return total.reshape(channels, -1)
