"""Keeps the mix until the vocals of the same samples come out of a network, so that the rest can be told from them."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from stemyard_separator.engines.protocol import Samples


class MixDelay:
    """Hands the mix on and holds back a copy of what was handed on."""

    def __init__(self, mix: Iterable[Samples]) -> None:
        self._mix = mix
        self._waiting: deque[Samples] = deque()

    def blocks(self) -> Iterator[Samples]:
        """Yield the mix as it comes."""
        for block in self._mix:
            self._waiting.append(block)
            yield block

    def take(self, count: int) -> Samples:
        """Return the next `count` samples of the mix; they must have been handed on before."""
        parts = [np.zeros((2, 0), np.float32)]
        while count:
            block = self._waiting.popleft()
            parts.append(block[:, :count])
            count -= parts[-1].shape[1]
            if parts[-1].shape[1] < block.shape[1]:
                self._waiting.appendleft(block[:, parts[-1].shape[1] :])
        return np.concatenate(parts, axis=1)
