"""Rate limit buckets: the generic cell rate algorithm as pure arithmetic, and in-memory buckets.

Source: ITU-T I.371 annex A, in its virtual scheduling form: a key's theoretical arrival time tells how much of its
bucket is used. A full bucket holds `limit` requests and refills evenly within one period.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from stemyard_api.clients.redis_scripts import RATE_PERIOD_SECONDS

_CACHE_SIZE: Final = 100_000


class RateLimitDecision(NamedTuple):
    """Whether a request may pass. Times are seconds from now.

    Attributes:
        allowed: whether it may pass.
        limit: requests in a full bucket.
        remaining: requests that may follow immediately.
        reset: until the bucket is full again.
        retry_after: until this request may pass; 0 if it is allowed.
        approximate: whether other processes' requests are only estimated.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: float
    retry_after: float = 0.0
    approximate: bool = False


def take_from(
    arrival: float, now: float, limit: int, cost: int = 1, counted: int = 0
) -> tuple[float, RateLimitDecision]:
    """Return the new theoretical arrival time, and the decision.

    Args:
        arrival: the time stored for this bucket; a past time means a full bucket.
        now: time of the same clock, in seconds.
        limit: requests per minute.
        cost: number of requests that this one counts as. One that counts as more than a full bucket holds passes with
            a full bucket, and is paid off before the next.
        counted: number of requests that it has been counted as before.
    """
    interval = RATE_PERIOD_SECONDS / limit
    arrival = max(arrival, now)
    later = arrival + cost * interval
    wait = arrival + _needed(cost, limit, counted) * interval - RATE_PERIOD_SECONDS - now
    # tolerate a microsecond, because rounding must not refuse the last request of a full bucket
    if wait > 1e-6:
        left = _left(arrival - now, interval)
        # repeated, it is counted again before it comes here
        return arrival, RateLimitDecision(False, limit, left, arrival - now, wait + counted * interval)
    return later, RateLimitDecision(True, limit, _left(later - now, interval), later - now)


def _needed(cost: int, limit: int, counted: int) -> int:
    return max(0, min(cost, limit - counted))


def _left(used: float, interval: float) -> int:
    return max(0, math.floor((RATE_PERIOD_SECONDS - used) / interval + 1e-6))


class InMemoryBuckets:
    """Buckets of this process, the most recently used ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, limit: int, cost: int = 1, counted: int = 0) -> RateLimitDecision:
        """Take a request from a bucket, if it has one left."""
        arrival, decision = take_from(self._arrivals.get(name, 0.0), self._clock(), limit, cost, counted)
        self._arrivals[name] = arrival
        self._arrivals.move_to_end(name)
        if len(self._arrivals) > _CACHE_SIZE:
            self._arrivals.popitem(last=False)
        return decision
