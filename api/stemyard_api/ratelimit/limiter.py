"""Rate limiter: submits are counted in Redis, else through Cloudflare KV, else locally; reads always locally."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import BucketState, RawEntry, RedisClient, RedisUnavailableError
from stemyard_api.clients.redis_scripts import RATE_PERIOD_SECONDS
from stemyard_api.errors import RateLimitedError
from stemyard_api.ratelimit.cloudflare import KvCounts
from stemyard_api.ratelimit.gcra import InMemoryBuckets, RateLimitDecision
from stemyard_api.settings import Settings

Policy = Literal["submit", "read", "anonymous"]

_UNLIMITED: Final = 0


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Rate limiter of one process."""

    settings: Settings
    redis: RedisClient | None
    kv_counts: KvCounts | None
    buckets: InMemoryBuckets = field(default_factory=InMemoryBuckets)

    async def submit(self, principal: Principal, cost: int = 1, counted: int = 0) -> RateLimitDecision | None:
        """Count requests for separations; return None if there is no limit.

        Args:
            principal: the caller.
            cost: number of requests to count.
            counted: number of requests that the same call has been counted as before.
        """
        limit = self._submits(principal)
        if limit == _UNLIMITED:
            return None
        if self.redis is not None:
            try:
                return _decision(limit, await self.redis.take(principal.key_id, limit, cost, counted))
            except RedisUnavailableError:
                pass
        if self.kv_counts is not None and self.kv_counts.operational:
            return self._by_kv_counts(self.kv_counts, principal.key_id, limit, cost, counted)
        return self._local("submit", principal.key_id, limit, cost, counted)

    async def submit_and_read(
        self, redis: RedisClient, principal: Principal, track: str
    ) -> tuple[RateLimitDecision | None, RawEntry]:
        """Count a request for a separation in Redis, and return what the mirror holds of the track, in one call.

        Raises:
            RedisUnavailableError: Redis does not respond; nothing is counted.
        """
        limit = self._submits(principal)
        if limit == _UNLIMITED:
            return None, await redis.read_raw(track)
        state, raw = await redis.take_and_read(principal.key_id, limit, track)
        return _decision(limit, state), raw

    def read(self, principal: Principal) -> RateLimitDecision | None:
        """Count another request of a key."""
        limit = principal.limits.reads_per_minute or self.settings.rate_limit_reads_per_minute
        return None if limit == _UNLIMITED else self._local("read", principal.key_id, limit)

    def anonymous(self, address: str) -> RateLimitDecision | None:
        """Count a request without a valid key by its address."""
        limit = self.settings.rate_limit_anonymous_per_minute
        return None if limit == _UNLIMITED else self._local("anonymous", address, limit)

    def _submits(self, principal: Principal) -> int:
        return principal.limits.submits_per_minute or self.settings.rate_limit_submits_per_minute

    def _local(self, policy: Policy, name: str, limit: int, cost: int = 1, counted: int = 0) -> RateLimitDecision:
        own = max(1, limit // self.settings.api_replicas)
        return self.buckets.take(f"{policy}:{name}", own, cost, counted)

    def _by_kv_counts(self, kv_counts: KvCounts, key_id: str, limit: int, cost: int, counted: int) -> RateLimitDecision:
        decision = self.buckets.take(f"shared:{key_id}", kv_counts.share_of(key_id, limit), cost, counted)
        if decision.allowed:
            kv_counts.record(key_id, cost)
        return decision._replace(approximate=True)


def _decision(limit: int, state: BucketState) -> RateLimitDecision:
    allowed, remaining, reset, wait = state
    return RateLimitDecision(bool(allowed), limit, remaining, reset / 1e6, wait / 1e6)


def rate_limit_headers(policy: Policy, decision: RateLimitDecision) -> list[tuple[bytes, bytes]]:
    """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
    return [
        _policy_header(policy, decision.limit, decision.approximate),
        (b"ratelimit", b'"%s";r=%d;t=%.0f' % (policy.encode(), decision.remaining, decision.reset)),
    ]


@lru_cache(maxsize=1024)
def _policy_header(policy: Policy, limit: int, approximate: bool) -> tuple[bytes, bytes]:
    mode = ';mode="approximate"' if approximate else ""
    return b"ratelimit-policy", f'"{policy}";q={limit};w={RATE_PERIOD_SECONDS:.0f}{mode}'.encode()


def rate_limited_error(decision: RateLimitDecision) -> RateLimitedError:
    """Return the error for a request above the limit."""
    return RateLimitedError(retry_after=max(1, int(decision.retry_after) + 1))
