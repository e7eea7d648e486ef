"""Keeps the samples of a stem on disk between the network and the encoders."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from stemyard_separator.engines.protocol import Samples

_CHANNELS: Final = ("left", "right")
_BLOCK: Final = 1 << 17
"""Samples that are read at once: 3 s, 1 MiB."""


class AbandonedError(Exception):
    """The rest of the stem is not wanted."""


class StemSpool:
    """A stem as floats, in a temporary file for each channel; they are deleted when the context exits.

    One thread appends, and never waits. Any number of threads read, each from the start, while it does so: a network
    need not wait for encoders, whose memory is that of one block.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._paths = [folder / f"{name}.{channel}.spool" for channel in _CHANNELS]
        self._changed = threading.Condition()
        self._samples = 0
        self._is_ended = False
        self._abandoned = 0
        """How often readers were."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for path in self._paths:
                stack.callback(path.unlink, missing_ok=True)
            self._files = [stack.enter_context(path.open("w+b")) for path in self._paths]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def append(self, samples: Samples) -> None:
        """Append the next samples."""
        for file, channel in zip(self._files, samples, strict=True):
            file.write(np.ascontiguousarray(channel, np.float32).data)
            file.flush()
        with self._changed:
            self._samples += samples.shape[1]
            self._changed.notify_all()

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

    def _blocks(self, abandoned: int) -> Iterator[Samples]:
        position = 0
        while samples := self._wait(position, abandoned):
            yield self._read(position, samples)
            position += samples

    def _wait(self, position: int, abandoned: int) -> int:
        """Wait for a block; return its samples, 0 at the end."""

        def is_over() -> bool:
            return self._is_ended or self._abandoned != abandoned

        with self._changed:
            self._changed.wait_for(lambda: is_over() or self._samples - position >= _BLOCK)
            if self._abandoned != abandoned:
                raise AbandonedError
            return min(_BLOCK, self._samples - position)

    def _read(self, position: int, samples: int) -> Samples:
        block = np.empty((len(self._files), samples), np.float32)
        for file, channel in zip(self._files, block, strict=True):
            if os.preadv(file.fileno(), [channel.data], position * channel.itemsize) != channel.nbytes:
                raise OSError(f"{file.name} has lost samples")
        return block
