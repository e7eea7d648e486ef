"""Keeps the samples of a stem on disk between the network and the encoders."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from stemyard_separator.engines.protocol import Samples

CHANNELS: Final = 2
SAMPLE_BYTES: Final = 3
_LARGEST: Final = (1 << 23) - 8
"""The integer of a chunk's largest sample: the greatest, less what single precision may round up."""
_SMALLEST_UNIT: Final = 1e-36
"""Its inverse is a single-precision number, too."""
_CHUNK: Final = 1 << 17
"""Samples per channel that are packed, and read, at once: 3 s, 768 KiB."""


class AbandonedError(Exception):
    """The rest of the stem is not wanted."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Consecutive samples in the file: the upper 16 bits of both channels, then the lower 8.

    Attributes:
        position: in the file, in bytes.
        samples: per channel.
        unit: what an integer of 1 stands for; the chunk's largest sample has all 24 bits.
    """

    position: int
    samples: int
    unit: float


class StemSpool:
    """A stem in 24-bit integers, in a temporary file that is deleted when the context exits.

    One thread appends, and never waits. Any number of threads read, each from the start, while it does so: a network
    need not wait for encoders, whose memory is that of one chunk.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.spool"
        self._changed = threading.Condition()
        self._chunks: list[_Chunk] = []
        self._is_ended = False
        self._abandoned = 0
        """Number of calls of `abandon`: a reader ends when it has changed."""

    def __enter__(self) -> Self:
        self._file = self._path.open("w+b", buffering=0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def append(self, samples: Samples) -> None:
        """Append the next samples, which are finite."""
        for begin in range(0, samples.shape[1], _CHUNK):
            self._append(samples[:, begin : begin + _CHUNK])

    def end(self) -> None:
        """Say that nothing more will be appended."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Raise AbandonedError in the readers that there are."""
        with self._changed:
            self._abandoned += 1
            self._changed.notify_all()

    def blocks(self) -> Iterator[Samples]:
        """Return an iterator of all samples from the start, those that are not yet appended when they are."""
        return self._blocks(self._abandoned)

    def _append(self, samples: Samples) -> None:
        unit = max(float(samples.max()) / _LARGEST, -float(samples.min()) / _LARGEST, _SMALLEST_UNIT)
        integers = np.rint(samples * np.float32(1 / unit)).astype(np.int32, order="C")
        position = self._file.seek(0, os.SEEK_END)
        # two planes, which numpy converts many times faster than groups of three bytes
        for plane in ((integers >> 8).astype(np.int16), integers.astype(np.uint8)):
            self._write(plane.data.cast("B"))
        with self._changed:
            self._chunks.append(_Chunk(position, samples.shape[1], unit))
            self._changed.notify_all()

    def _write(self, rest: memoryview) -> None:
        # what a full disk has no room for is left out first, and only the next attempt says why
        while rest:
            rest = rest[self._file.write(rest) :]

    def _blocks(self, abandoned: int) -> Iterator[Samples]:
        number = 0
        while chunk := self._wait(number, abandoned):
            yield self._read(chunk)
            number += 1

    def _wait(self, number: int, abandoned: int) -> _Chunk | None:
        """Wait for a chunk; return None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ended or self._abandoned != abandoned or len(self._chunks) > number)
            if self._abandoned != abandoned:
                raise AbandonedError
            return self._chunks[number] if number < len(self._chunks) else None

    def _read(self, chunk: _Chunk) -> Samples:
        shape = CHANNELS, chunk.samples
        high, low = np.empty(shape, np.int16), np.empty(shape, np.uint8)
        if os.preadv(self._file.fileno(), [high.data, low.data], chunk.position) != high.nbytes + low.nbytes:
            raise OSError(f"{self._path} has lost samples")
        samples = high.astype(np.float32)
        samples *= np.float32(256)
        samples += low
        samples *= np.float32(chunk.unit)
        return samples
