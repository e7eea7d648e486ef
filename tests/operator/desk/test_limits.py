"""Token buckets: bursts pass, a rate is kept, and keys do not affect each other."""

import pytest

from stemyard_operator.desk import limits
from stemyard_operator.desk.limits import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_passes_then_one_at_a_time(clock: Clock) -> None:
    limit = RateLimit(3, 0.5, clock)
    assert [limit.take("a") for _ in range(5)] == [True, True, True, False, False]
    assert limit.seconds == 2
    clock.now += 2
    assert [limit.take("a") for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False]


def test_keys_have_buckets_of_their_own(clock: Clock) -> None:
    limit = RateLimit(1, 1, clock)
    assert limit.take("a")
    assert limit.take("b")
    assert not limit.take("a")


def test_what_is_given_back_may_be_taken_again(clock: Clock) -> None:
    limit = RateLimit(2, 1, clock)
    assert limit.take("a")
    limit.give_back("a")
    limit.give_back("a")
    assert [limit.take("a") for _ in range(3)] == [True, True, False]


def test_memory_is_bounded_and_the_busiest_are_remembered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_REMEMBERED", 10)
    limit = RateLimit(1, 0.001, clock)
    assert limit.take("busy")
    for number in range(100):
        limit.take(f"peer-{number}")
        assert not limit.take("busy")
    assert len(limit._buckets) == 10
