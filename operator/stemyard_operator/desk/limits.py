"""Limits on what one peer or one pod may ask of the desk, counted in this replica. Pure, but for the clock."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_REMEMBERED: Final = 4096
"""Keys that are counted; the one that was idle longest is forgotten first, and has a full bucket then."""


class RateLimit:
    """Token buckets: each key may act `burst` times at once, and `per_second` times a second in the long run."""

    def __init__(self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Count an action of a key; return whether it is within the limit. One that is not is not counted."""
        level = self._level(key)
        self._store(key, level if level < 1 else level - 1)
        return level >= 1

    def give_back(self, key: str) -> None:
        """Undo a `take`."""
        self._store(key, min(self._burst, self._level(key) + 1))

    @property
    def seconds(self) -> int:
        """Whole seconds after which a key that was refused may act again."""
        return max(1, round(1 / self._per_second))

    def _level(self, key: str) -> float:
        level, at = self._buckets.get(key, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - at) * self._per_second)

    def _store(self, key: str, level: float) -> None:
        self._buckets[key] = (level, self._clock())
        self._buckets.move_to_end(key)
        while len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
