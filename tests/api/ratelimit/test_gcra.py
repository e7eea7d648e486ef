"""Rate limits that this process counts itself, and what a client is told of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_api.clients.redis_scripts import RATE_PERIOD_SECONDS
from stemyard_api.ratelimit.gcra import InMemoryBuckets, RateLimitDecision
from stemyard_api.ratelimit.limiter import rate_limit_headers, rate_limited_error


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_is_admitted_at_once_and_no_more() -> None:
    buckets = InMemoryBuckets(Clock())
    decisions = [buckets.take("k", 60) for _ in range(61)]
    assert [decision.allowed for decision in decisions] == [True] * 60 + [False]
    assert [decision.remaining for decision in decisions[:3]] == [59, 58, 57]
    assert decisions[-1].retry_after == pytest.approx(1.0)
    assert decisions[-1].reset == pytest.approx(60.0)
    assert buckets.take("other", 60).allowed


def test_it_refills_evenly() -> None:
    buckets = InMemoryBuckets(clock := Clock())
    buckets.take("k", 60, cost=60)
    clock.now += 2.5
    assert [buckets.take("k", 60).allowed for _ in range(3)] == [True, True, False]
    clock.now += 600
    assert buckets.take("k", 60).remaining == 59


def test_what_is_refused_costs_nothing() -> None:
    buckets = InMemoryBuckets(clock := Clock())
    for _ in range(100):
        buckets.take("k", 10)
    clock.now += 6.0
    assert buckets.take("k", 10).allowed
    assert not buckets.take("k", 10, cost=11).allowed


@given(st.integers(1, 500), st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5)), max_size=80))
def test_never_more_than_the_bucket_and_its_refill(limit: int, asked: list[tuple[float, int]]) -> None:
    buckets, admitted = InMemoryBuckets(clock := Clock()), 0
    for pause, cost in asked:
        clock.now += pause
        admitted += cost * buckets.take("k", limit, cost).allowed
        assert admitted <= limit + limit * (clock.now - 1000.0) / RATE_PERIOD_SECONDS + 1e-3


def test_clients_are_told_policy_rest_and_wait() -> None:
    decision = RateLimitDecision(False, 60, 0, 59.6, 0.4, approximate=True)
    assert rate_limit_headers("submit", decision) == [
        (b"ratelimit-policy", b'"submit";q=60;w=60;mode="approximate"'),
        (b"ratelimit", b'"submit";r=0;t=60'),
    ]
    assert rate_limited_error(decision).headers == {"Retry-After": "1"}
