"""A circuit breaker opens after consecutive failures, for longer each time, and closes after a success."""

import pytest

from stemyard_operator.circuit_breaker import CircuitBreaker, DependencyGuard
from stemyard_operator.errors import MirrorError


def test_a_breaker_opens_after_failures_in_a_row_and_waits_longer_each_time() -> None:
    now = 100.0
    breaker = CircuitBreaker(10.0, lambda: now)
    for _ in range(4):
        breaker.record_failure()
    assert breaker.closed
    waits = []
    for _ in range(6):
        breaker.record_failure()
        waits.append(breaker.seconds_open)
    assert waits == [1, 2, 4, 8, 10, 10]
    assert not breaker.closed
    now += 10
    assert breaker.seconds_open == 0
    breaker.record_success()
    assert breaker.closed
    breaker.record_failure()
    assert breaker.closed


class Dependency:
    """Fails as configured, behind a guard whose clock stands."""

    def __init__(self) -> None:
        self.now = 100.0
        self.error: Exception | None = None
        self.calls = 0
        self.guard = DependencyGuard(MirrorError, lambda error: isinstance(error, TimeoutError), 10, lambda: self.now)

    def call(self) -> None:
        with self.guard.call():
            self.calls += 1
            if self.error is not None:
                raise self.error

    def fail(self, error: Exception, times: int) -> None:
        self.error = error
        for _ in range(times):
            with pytest.raises(type(error)):
                self.call()


def test_calls_to_a_dependency_that_is_out_fail_at_once_but_for_a_probe() -> None:
    found = Dependency()
    found.fail(TimeoutError(), 5)
    assert not found.guard.up
    with pytest.raises(MirrorError, match="not answering"):
        found.call()
    assert found.calls == 5
    found.now += 1
    found.error = None
    with found.guard.call(), pytest.raises(MirrorError):
        # one probe at a time
        found.call()
    found.call()
    assert found.guard.up
    assert found.calls == 6


def test_a_probe_that_fails_keeps_it_out_for_longer() -> None:
    found = Dependency()
    found.fail(TimeoutError(), 5)
    found.now += 1
    found.fail(TimeoutError(), 1)
    found.now += 1
    with pytest.raises(MirrorError):
        found.call()
    found.now += 1
    found.error = None
    found.call()
    assert found.guard.up


def test_an_answer_that_refuses_is_no_outage() -> None:
    found = Dependency()
    found.fail(TimeoutError(), 4)
    found.fail(ValueError(), 1)
    found.fail(TimeoutError(), 4)
    assert found.guard.up
