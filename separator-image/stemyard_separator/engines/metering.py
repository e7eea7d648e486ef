"""Measures how long an engine computes: the time that its blocks are waited for."""

import time
from collections.abc import Iterable, Iterator

from stemyard_separator.engines.protocol import MixStatistics, Samples, SeparationEngine, StemBlock


class MeteredEngine:
    """An engine that adds up the seconds spent waiting for its blocks."""

    def __init__(self, engine: SeparationEngine) -> None:
        self._engine = engine
        self.seconds = 0.0

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        """Separate as the engine does."""
        blocks = iter(self._engine.separate(mix, statistics))
        while True:
            begun = time.monotonic()
            block = next(blocks, None)
            self.seconds += time.monotonic() - begun
            if block is None:
                return
            yield block
