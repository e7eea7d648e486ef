"""Buckets: the generic cell rate algorithm, as pure arithmetic and as buckets of this process.

Source: ITU-T I.371 annex A, in its virtual scheduling form: a key's theoretical arrival time says how much of its
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
        allowed: whether it may.
        limit: requests in a full bucket.
        remaining: requests that could follow at once.
        reset: until the bucket is full again.
        retry_after: until this request would pass; 0 when it may.
        approximate: whether other processes' requests are only estimated.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: float
    retry_after: float = 0.0
    approximate: bool = False


def take_from(arrival: float, now: float, limit: int, cost: int = 1) -> tuple[float, RateLimitDecision]:
    """Return the new theoretical arrival time, and the decision.

    Args:
        arrival: the time stored for this bucket; anything in the past means a full one.
        now: on the same clock, in seconds.
        limit: requests a minute.
        cost: requests that this one counts as.
    """
    interval = RATE_PERIOD_SECONDS / limit
    arrival = max(arrival, now)
    later = arrival + cost * interval
    wait = later - RATE_PERIOD_SECONDS - now
    # a microsecond's grace, lest rounding refuses the last request of a full bucket
    if wait > 1e-6:
        left = _left(arrival - now, interval)
        return arrival, RateLimitDecision(False, limit, left, arrival - now, wait)
    return later, RateLimitDecision(True, limit, _left(later - now, interval), later - now)


def _left(used: float, interval: float) -> int:
    return max(0, math.floor((RATE_PERIOD_SECONDS - used) / interval + 1e-6))


class InMemoryBuckets:
    """Buckets of this process, the most recently used ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, limit: int, cost: int = 1) -> RateLimitDecision:
        """Take a request from a bucket, if it is in it."""
        arrival, decision = take_from(self._arrivals.get(name, 0.0), self._clock(), limit, cost)
        self._arrivals[name] = arrival
        self._arrivals.move_to_end(name)
        if len(self._arrivals) > _CACHE_SIZE:
            self._arrivals.popitem(last=False)
        return decision
