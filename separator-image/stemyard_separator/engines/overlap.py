"""Cuts a stream into overlapping segments of one length and adds their estimates up again, as demucs weights them.

Every segment is centred within `segment` samples of the track; what lies outside the track is zero. Estimates are
weighted by a triangle and divided by the sum of weights. Memory depends on the segment, never on the track.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stemyard_separator.engines.protocol import Samples

Estimate = npt.NDArray[np.float32]
"""(sources, channels, samples)."""


@dataclass(frozen=True, slots=True)
class SegmentPosition:
    """Where one segment lies in the track: `length` samples from `offset`, after `before` samples of context."""

    offset: int
    length: int
    before: int

    @property
    def start(self) -> int:
        """First sample of the padded segment, perhaps before the track's first."""
        return self.offset - self.before


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The segments of a track.

    Attributes:
        samples: length of the track.
        segment: samples the network sees at once.
        stride: samples from one segment to the next.
    """

    samples: int
    segment: int
    stride: int

    def places(self) -> Iterator[SegmentPosition]:
        """Yield where the segments lie, in order."""
        for offset in range(0, self.samples, self.stride):
            length = min(self.segment, self.samples - offset)
            yield SegmentPosition(offset, length, (self.segment - length) // 2)

    def segments(self, mix: Iterable[Samples]) -> Iterator[tuple[SegmentPosition, Samples]]:
        """Yield every segment, padded to its full length."""
        window = _Window(mix)
        for place in self.places():
            yield place, window.read(place.start, place.start + self.segment)


class _Window:
    """The part of a stream that may still be asked for; starts only ever grow."""

    def __init__(self, mix: Iterable[Samples]) -> None:
        self._blocks = iter(mix)
        self._held = np.zeros((2, 0), np.float32)
        self._first = 0

    def read(self, start: int, end: int) -> Samples:
        held = [self._held[:, max(0, start - self._first) :]]
        self._first = max(self._first, start)
        last = self._first + held[0].shape[1]
        while last < end and (block := next(self._blocks, None)) is not None:
            held.append(block[:, max(0, self._first - last) :])
            last += block.shape[1]
        self._held = np.concatenate(held, axis=1)
        return self._padded(start, end)

    def _padded(self, start: int, end: int) -> Samples:
        padded = np.zeros((2, end - start), np.float32)
        found = self._held[:, : end - self._first]
        padded[:, self._first - start : self._first - start + found.shape[1]] = found
        return padded


class OverlapAdd:
    """Adds estimates in the order of their segments."""

    def __init__(self, grid: Segmentation, sources: int) -> None:
        self._grid = grid
        self._weight = _triangle(grid.segment)
        self._sum = np.zeros((sources, 2, grid.segment), np.float32)
        self._weights = np.zeros(grid.segment, np.float32)

    def add(self, place: SegmentPosition, estimate: Estimate) -> Estimate:
        """Add the estimate of a padded segment; return what no later segment touches."""
        weight = self._weight[: place.length]
        part = estimate[..., place.before : place.before + place.length]
        self._sum[..., : place.length] += weight * part
        self._weights[: place.length] += weight
        final = place.offset + self._grid.stride >= self._grid.samples
        return self._finished(place.length if final else self._grid.stride)

    def _finished(self, count: int) -> Estimate:
        done: Estimate = self._sum[..., :count] / self._weights[:count]
        for held in (self._sum, self._weights):
            held[..., :-count] = held[..., count:].copy()
            held[..., -count:] = 0
        return done


def _triangle(length: int) -> npt.NDArray[np.float32]:
    half = length // 2
    rise = np.concatenate((np.arange(1, half + 1), np.arange(length - half, 0, -1))).astype(np.float32)
    return np.asarray(rise / rise.max(), np.float32)
