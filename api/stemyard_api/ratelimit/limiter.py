"""Limiting: how often a key may ask. Submits are counted in Redis, else through KV, else here; reads always here."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import BucketState, Raw, Store, StoreUnavailableError
from stemyard_api.clients.redis_scripts import RATE_PERIOD_SECONDS
from stemyard_api.errors import RateLimitedError
from stemyard_api.ratelimit.cloudflare import Shares
from stemyard_api.ratelimit.gcra import Buckets, Decision
from stemyard_api.settings import Settings

Policy = Literal["submit", "read", "anonymous"]

_UNLIMITED: Final = 0


@dataclass(frozen=True, slots=True)
class Limiter:
    """Decides for one process."""

    settings: Settings
    store: Store | None
    shares: Shares | None
    buckets: Buckets = field(default_factory=Buckets)

    async def submit(self, principal: Principal, cost: int = 1) -> Decision | None:
        """Count requests for separations; None where there is no limit."""
        limit = self._submits(principal)
        if limit == _UNLIMITED:
            return None
        if self.store is not None:
            try:
                return _decision(limit, await self.store.take(principal.key_id, limit, cost))
            except StoreUnavailableError:
                pass
        if self.shares is not None and self.shares.operational:
            return self._by_share(self.shares, principal.key_id, limit, cost)
        return self._local("submit", principal.key_id, limit, cost)

    async def submit_and_read(self, store: Store, principal: Principal, track: str) -> tuple[Decision | None, Raw]:
        """Count a request for a separation in Redis, and return what the mirror holds of the track, in one call.

        Raises:
            StoreUnavailableError: Redis does not answer; nothing is counted anywhere else.
        """
        limit = self._submits(principal)
        if limit == _UNLIMITED:
            return None, await store.read_raw(track)
        state, raw = await store.take_and_read(principal.key_id, limit, track)
        return _decision(limit, state), raw

    def read(self, principal: Principal) -> Decision | None:
        """Count any other request of a key."""
        limit = principal.limits.reads_per_minute or self.settings.rate_limit_reads_per_minute
        return None if limit == _UNLIMITED else self._local("read", principal.key_id, limit)

    def anonymous(self, address: str) -> Decision | None:
        """Count a request without a valid key, by where it comes from."""
        limit = self.settings.rate_limit_anonymous_per_minute
        return None if limit == _UNLIMITED else self._local("anonymous", address, limit)

    def _submits(self, principal: Principal) -> int:
        return principal.limits.submits_per_minute or self.settings.rate_limit_submits_per_minute

    def _local(self, policy: Policy, name: str, limit: int, cost: int = 1) -> Decision:
        own = max(1, limit // self.settings.api_replicas)
        return self.buckets.take(f"{policy}:{name}", own, cost)

    def _by_share(self, shares: Shares, key_id: str, limit: int, cost: int) -> Decision:
        found = self.buckets.take(f"shared:{key_id}", shares.part_of(key_id, limit), cost)
        if found.allowed:
            shares.admitted(key_id, cost)
        return Decision(found.allowed, found.limit, found.remaining, found.reset, found.retry_after, approximate=True)


def _decision(limit: int, state: BucketState) -> Decision:
    allowed, remaining, reset, wait = state
    return Decision(bool(allowed), limit, remaining, reset / 1e6, wait / 1e6)


def headers_of(policy: Policy, decision: Decision) -> list[tuple[bytes, bytes]]:
    """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
    return [
        _policy_header(policy, decision.limit, decision.approximate),
        (b"ratelimit", b'"%s";r=%d;t=%.0f' % (policy.encode(), decision.remaining, decision.reset)),
    ]


@lru_cache(maxsize=1024)
def _policy_header(policy: Policy, limit: int, approximate: bool) -> tuple[bytes, bytes]:
    told = ';mode="approximate"' if approximate else ""
    return b"ratelimit-policy", f'"{policy}";q={limit};w={RATE_PERIOD_SECONDS:.0f}{told}'.encode()


def refusal(decision: Decision) -> RateLimitedError:
    """Return the error for a request that may not pass."""
    return RateLimitedError(retry_after=max(1, int(decision.retry_after) + 1))
