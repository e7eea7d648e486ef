"""In-memory rate limits and their response headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_api.clients.redis_scripts import RATE_PERIOD_SECONDS
from stemyard_api.ratelimit import gcra
from stemyard_api.ratelimit.gcra import InMemoryBuckets, RateLimitDecision, take_from
from stemyard_api.ratelimit.limiter import rate_limit_headers, rate_limited_error


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_admits_its_limit_at_once() -> None:
    buckets = InMemoryBuckets(Clock())
    decisions = [buckets.take("k", 60) for _ in range(61)]
    assert [decision.allowed for decision in decisions] == [True] * 60 + [False]
    assert [decision.remaining for decision in decisions[:3]] == [59, 58, 57]
    assert decisions[-1].retry_after == pytest.approx(1.0)
    assert decisions[-1].reset == pytest.approx(60.0)
    assert buckets.take("other", 60).allowed


def test_a_bucket_refills_evenly() -> None:
    buckets = InMemoryBuckets(clock := Clock())
    buckets.take("k", 60, cost=60)
    clock.now += 2.5
    assert [buckets.take("k", 60).allowed for _ in range(3)] == [True, True, False]
    clock.now += 600
    assert buckets.take("k", 60).remaining == 59


def test_refused_requests_are_not_counted() -> None:
    buckets = InMemoryBuckets(clock := Clock())
    for _ in range(100):
        buckets.take("k", 10)
    clock.now += 6.0
    assert buckets.take("k", 10).allowed
    assert not buckets.take("k", 10, cost=11).allowed


@given(limit=st.integers(1, 100), count=st.integers(2, 100), before=st.integers(0, 100))
def test_a_batch_of_any_size_passes_after_the_time_it_is_told(limit: int, count: int, before: int) -> None:
    """As the API counts a batch: one request, and then the rest of them."""
    buckets = InMemoryBuckets(clock := Clock())
    for _ in range(before):
        buckets.take("k", limit)

    def batch() -> RateLimitDecision:
        first = buckets.take("k", limit)
        return buckets.take("k", limit, count - 1, counted=1) if first.allowed else first

    for _ in range(2):
        if (decision := batch()).allowed:
            break
        clock.now += decision.retry_after
    else:
        decision = batch()
    assert decision.allowed
    # what it took beyond a full bucket is paid off before the next request
    over = max(0, count - limit)
    clock.now += over * RATE_PERIOD_SECONDS / limit
    assert buckets.take("k", limit).allowed or decision.remaining == 0


@given(st.integers(1, 500), st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5)), max_size=80))
def test_requests_never_exceed_the_bucket_and_its_refill(limit: int, asked: list[tuple[float, int]]) -> None:
    buckets, admitted = InMemoryBuckets(clock := Clock()), 0
    for pause, cost in asked:
        clock.now += pause
        admitted += cost * buckets.take("k", limit, cost).allowed
        assert admitted <= max(limit, 5) + limit * (clock.now - 1000.0) / RATE_PERIOD_SECONDS + 1e-3


def test_the_least_recently_used_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcra, "_CACHE_SIZE", 3)
    buckets = InMemoryBuckets(Clock())
    for name in ("a", "b", "c", "a", "d"):
        buckets.take(name, 2)
    assert buckets.take("a", 2).remaining == 0, "a was used after b, so that it is kept"
    assert buckets.take("c", 2).remaining == 0
    assert buckets.take("b", 2).remaining == 1, "b was used least recently when d came"


def test_a_bucket_is_full_at_first_whatever_the_clock_says() -> None:
    """The monotonic clock of a machine that has just started is near 0."""
    clock = Clock()
    clock.now = 0.0
    assert InMemoryBuckets(clock).take("a", 60).reset == 1.0


def test_a_hundred_thousand_buckets_are_kept() -> None:
    buckets = InMemoryBuckets(Clock())
    for number in range(100_001):
        buckets.take(str(number), 2)
    assert buckets.take("1", 2).remaining == 0
    assert buckets.take("0", 2).remaining == 1


def test_the_time_to_wait_is_that_until_the_request_would_pass() -> None:
    assert take_from(0.0, 1000.0, 60)[0] == 1001.0
    arrival, decision = take_from(0.0, 1000.0, 60, cost=60)
    assert (arrival, decision.remaining, decision.reset, decision.retry_after) == (1060.0, 0, 60.0, 0.0)
    arrival, decision = take_from(arrival, 1010.0, 60, cost=30)
    assert arrival == 1060.0, "a refused request is not counted"
    assert (decision.allowed, decision.limit, decision.remaining) == (False, 60, 10)
    assert (decision.reset, decision.retry_after, decision.approximate) == (50.0, 20.0, False)
    _, repeated = take_from(arrival, 1010.0, 60, cost=30, counted=1)
    assert repeated.retry_after == 21.0


def test_responses_carry_policy_remaining_and_retry_headers() -> None:
    decision = RateLimitDecision(False, 60, 0, 59.6, 0.4, approximate=True)
    assert rate_limit_headers("submit", decision) == [
        (b"ratelimit-policy", b'"submit";q=60;w=60;mode="approximate"'),
        (b"ratelimit", b'"submit";r=0;t=60'),
    ]
    assert rate_limited_error(decision).headers == {"Retry-After": "1"}
