"""Buffers the mix until the network returns the vocals of the same samples, to compute the instrumental."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from stemyard_separator.engines.protocol import Samples


class MixDelay:
    """Passes the mix on and buffers what was passed on."""

    def __init__(self, mix: Iterable[Samples]) -> None:
        self._mix = mix
        self._buffer: deque[Samples] = deque()

    def blocks(self) -> Iterator[Samples]:
        """Yield the blocks of the mix."""
        for block in self._mix:
            self._buffer.append(block)
            yield block

    def take(self, count: int) -> Samples:
        """Remove and return the next `count` buffered samples."""
        parts = [np.zeros((2, 0), np.float32)]
        while count:
            block = self._buffer.popleft()
            parts.append(block[:, :count])
            count -= parts[-1].shape[1]
            if parts[-1].shape[1] < block.shape[1]:
                self._buffer.appendleft(block[:, parts[-1].shape[1] :])
        return np.concatenate(parts, axis=1)
