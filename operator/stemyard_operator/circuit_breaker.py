"""Circuit breakers: pause attempts at a consumer or a dependency that fails, for longer each time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from stemyard_operator.errors import OperatorError

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


class DependencyGuard:
    """A circuit breaker around the calls to one dependency: while it is out, calls fail at once, but for one probe.

    Args:
        error: makes the error of a call that is not attempted, from its message.
        is_outage: whether an exception means that the dependency does not answer; others are answers.
        longest_seconds: maximum time between two probes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        error: Callable[[str], OperatorError],
        is_outage: Callable[[Exception], bool],
        longest_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._error = error
        self._is_outage = is_outage
        self._breaker = CircuitBreaker(longest_seconds, clock)
        self._probing = False

    @property
    def up(self) -> bool:
        """Whether the dependency is considered healthy."""
        return self._breaker.closed

    @contextmanager
    def call(self) -> Iterator[None]:
        """Attempt a call in the block, and count its result.

        Raises:
            OperatorError: the dependency is out, the call is not attempted.
        """
        probe = not self._breaker.closed
        if probe and (self._probing or self._breaker.seconds_open > 0):
            raise self._error(f"not answering, next attempt in {self._breaker.seconds_open:.0f} s")
        self._probing = self._probing or probe
        try:
            yield
        except Exception as error:
            (self._breaker.record_failure if self._is_outage(error) else self._breaker.record_success)()
            raise
        else:
            self._breaker.record_success()
        finally:
            if probe:
                self._probing = False
