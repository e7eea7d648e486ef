"""A circuit breaker: pauses attempts at a consumer that fails, for longer each time."""

from collections.abc import Callable
from typing import Final

_FAILURES: Final = 5
"""Consecutive failures that open the breaker."""
_FIRST_SECONDS: Final = 1.0


class CircuitBreaker:
    """Closed: attempts pass. Open: they wait. Half-open, after the wait: one probe passes, and its result decides.

    Args:
        longest_seconds: maximum time open between two probes.
        clock: monotonic seconds.
    """

    def __init__(self, longest_seconds: float, clock: Callable[[], float]) -> None:
        self._longest = longest_seconds
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    @property
    def closed(self) -> bool:
        """Whether the consumer is considered healthy."""
        return self._failures < _FAILURES

    @property
    def seconds_open(self) -> float:
        """Seconds until the next probe; 0 if one may start now, or if the breaker is closed."""
        return 0.0 if self.closed else max(0.0, self._open_until - self._clock())

    def record_success(self) -> None:
        """Close the breaker."""
        self._failures = 0

    def record_failure(self) -> None:
        """Count a failure; open the breaker if there were enough in a row."""
        self._failures += 1
        if not self.closed:
            pause = _FIRST_SECONDS * 2.0 ** min(self._failures - _FAILURES, 20)
            self._open_until = self._clock() + min(self._longest, pause)
