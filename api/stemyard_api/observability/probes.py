"""Probes what the API depends on, in the background so that no request waits for it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from stemyard_api import background
from stemyard_api.clients.kubernetes import KubernetesClient
from stemyard_api.clients.redis import RedisClient
from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.errors import UnavailableError
from stemyard_api.observability.metrics import Backend
from stemyard_api.ratelimit.cloudflare import KvCounts
from stemyard_api.schemas.responses import Health, ServiceStates
from stemyard_api.settings import Settings

PROBE_SECONDS: Final = 5.0
"""Interval between two probes of one backend: the maximum age of a reported state."""
_TIMEOUT_SECONDS: Final = 4.0


@dataclass
class Probe:
    """Probes one backend periodically."""

    check: Callable[[], Awaitable[None]] | None
    operational: bool = False

    async def once(self) -> None:
        """Probe once, and store the result."""
        if self.check is None:
            return
        operational = False
        try:
            with suppress(UnavailableError, TimeoutError):
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self.check()
                operational = True
        finally:
            self.operational = operational

    async def run(self) -> None:
        """Probe every few seconds, with jitter."""
        while True:
            await self.once()
            await asyncio.sleep(PROBE_SECONDS * random.uniform(0.8, 1.2))


@dataclass(frozen=True, slots=True)
class Prober:
    """The probes of one process."""

    redis: Probe
    storage: Probe
    kubernetes: Probe

    @classmethod
    @asynccontextmanager
    async def running(
        cls, redis: RedisClient | None, object_store: ObjectStoreClient | None, kubernetes: KubernetesClient
    ) -> AsyncIterator["Prober"]:
        """Probe for as long as the context lasts."""
        prober = cls(
            Probe(redis.ping if redis is not None else None),
            Probe(object_store.ping if object_store is not None else None),
            Probe(kubernetes.ping),
        )
        async with background.running(prober.redis.run, prober.storage.run, prober.kubernetes.run):
            yield prober


def service_states(settings: Settings, prober: Prober, kv_counts: KvCounts | None = None) -> ServiceStates:
    """Return which backends are configured and which responded to the last probe.

    Rate limiting is operational while limits are shared between processes, through Redis or Cloudflare KV.
    """
    redis = settings.redis_url is not None
    kv = kv_counts is not None and kv_counts.operational
    return ServiceStates(
        storage_operational=prober.storage.operational,
        storage_configured=settings.storage_configured,
        rate_limiting_operational=prober.redis.operational or kv,
        rate_limiting_configured=redis or settings.kv_configured,
        redis_operational=prober.redis.operational,
        redis_configured=redis,
        kubernetes_operational=prober.kubernetes.operational,
    )


def rate_limit_backend(prober: Prober, kv_counts: KvCounts | None) -> Backend:
    """Return the backend that currently counts submits."""
    if prober.redis.operational:
        return "redis"
    return "kv" if kv_counts is not None and kv_counts.operational else "local"


def dependency_up(settings: Settings, prober: Prober, kv_counts: KvCounts | None) -> dict[str, bool]:
    """Return whether the last probe of each configured part succeeded."""
    states = {"kubernetes": prober.kubernetes.operational}
    if settings.redis_url is not None:
        states["redis"] = prober.redis.operational
    if settings.storage_configured:
        states["storage"] = prober.storage.operational
    if kv_counts is not None and not prober.redis.operational:
        states["kv"] = kv_counts.operational
    return states


def health_report(settings: Settings, prober: Prober, now: float, kv_counts: KvCounts | None = None) -> Health:
    """Return the body of /health; `degraded` if a configured backend does not respond."""
    services = service_states(settings, prober, kv_counts)
    broken = (
        (services["storage_configured"] and not services["storage_operational"])
        or (services["redis_configured"] and not services["redis_operational"])
        or not services["kubernetes_operational"]
    )
    return Health(
        status="degraded" if broken else "healthy", timestamp=now, services=services, version=version("stemyard")
    )
