"""Cuts a stream into overlapping segments of equal length and overlap-adds their estimates, weighted as in demucs.

Every segment is centred within `segment` samples of the track; samples outside the track are zero. Estimates are
weighted by a triangular window and divided by the sum of weights. Memory depends on the segment, not on the track.
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
    """Position of one segment in the track: `length` samples from `offset`, after `context` samples before them."""

    offset: int
    length: int
    context: int

    @property
    def start(self) -> int:
        """First sample of the padded segment; negative before the start of the track."""
        return self.offset - self.context


Segment = tuple[SegmentPosition, Samples]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The segments of a track.

    Attributes:
        samples: length of the track.
        segment: length of a segment.
        stride: samples from one segment to the next.
    """

    samples: int
    segment: int
    stride: int

    def positions(self) -> Iterator[SegmentPosition]:
        """Yield the positions of the segments, in order."""
        for offset in range(0, self.samples, self.stride):
            length = min(self.segment, self.samples - offset)
            yield SegmentPosition(offset, length, (self.segment - length) // 2)

    def segments(self, mix: Iterable[Samples]) -> Iterator[Segment]:
        """Yield every segment, padded to its full length."""
        window = _Window(mix)
        for position in self.positions():
            yield position, window.read(position.start, position.start + self.segment)


class _Window:
    """The part of a stream that later reads may need; starts never decrease."""

    def __init__(self, mix: Iterable[Samples]) -> None:
        self._blocks = iter(mix)
        self._buffer = np.zeros((2, 0), np.float32)
        self._first = 0

    def read(self, start: int, end: int) -> Samples:
        parts = [self._buffer[:, max(0, start - self._first) :]]
        self._first = max(self._first, start)
        last = self._first + parts[0].shape[1]
        while last < end and (block := next(self._blocks, None)) is not None:
            parts.append(block[:, max(0, self._first - last) :])
            last += block.shape[1]
        self._buffer = np.concatenate(parts, axis=1)
        return self._pad(start, end)

    def _pad(self, start: int, end: int) -> Samples:
        padded = np.zeros((2, end - start), np.float32)
        available = self._buffer[:, : end - self._first]
        padded[:, self._first - start : self._first - start + available.shape[1]] = available
        return padded


class OverlapAdd:
    """Overlap-adds estimates in the order of their segments."""

    def __init__(self, segmentation: Segmentation, sources: int) -> None:
        self._segmentation = segmentation
        self._window = _triangle(segmentation.segment)
        self._sum = np.zeros((sources, 2, segmentation.segment), np.float32)
        self._weights = np.zeros(segmentation.segment, np.float32)

    def add(self, position: SegmentPosition, estimate: Estimate) -> Estimate:
        """Add the estimate of a padded segment; return the samples that no later segment overlaps."""
        window = self._window[: position.length]
        part = estimate[..., position.context : position.context + position.length]
        self._sum[..., : position.length] += window * part
        self._weights[: position.length] += window
        is_last = position.offset + self._segmentation.stride >= self._segmentation.samples
        return self._pop(position.length if is_last else self._segmentation.stride)

    def _pop(self, count: int) -> Estimate:
        complete: Estimate = self._sum[..., :count] / self._weights[:count]
        for buffer in (self._sum, self._weights):
            buffer[..., :-count] = buffer[..., count:].copy()
            buffer[..., -count:] = 0
        return complete


def _triangle(length: int) -> npt.NDArray[np.float32]:
    half = length // 2
    window = np.concatenate((np.arange(1, half + 1), np.arange(length - half, 0, -1))).astype(np.float32)
    return np.asarray(window / window.max(), np.float32)
