"""A circuit breaker opens after consecutive failures, for longer each time, and closes after a success."""

from stemyard_operator.webhooks.circuit_breaker import CircuitBreaker


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
