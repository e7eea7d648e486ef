"""The circuit breaker of one consumer: after some failures in a row it is left alone, longer each time."""

from collections.abc import Callable
from typing import Final

_FAILURES: Final = 5
_FIRST_SECONDS: Final = 1.0


class Breaker:
    """Closed: all may go. Open: none. After a while one goes ahead, and its outcome decides for the others."""

    def __init__(self, longest_seconds: float, clock: Callable[[], float]) -> None:
        self._longest = longest_seconds
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    @property
    def closed(self) -> bool:
        """Whether the consumer is thought to be well."""
        return self._failures < _FAILURES

    @property
    def wait(self) -> float:
        """Seconds until one may go ahead; 0 while it is closed."""
        return 0.0 if self.closed else max(0.0, self._open_until - self._clock())

    def told(self, *, well: bool) -> None:
        """Take in how an attempt went."""
        if well:
            self._failures = 0
            return
        self._failures += 1
        if not self.closed:
            pause = _FIRST_SECONDS * 2.0 ** min(self._failures - _FAILURES, 20)
            self._open_until = self._clock() + min(self._longest, pause)
