"""The clients and services of one API process, opened at start and closed at its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from stemyard_api.asgi import PRINCIPAL
from stemyard_api.auth.api_keys import Principal, Scope
from stemyard_api.clients.cloudflare_kv import CloudflareKvClient
from stemyard_api.clients.kubernetes import KubernetesClient, connect
from stemyard_api.clients.redis import RedisClient
from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.observability.metrics import GaugeValues, Metrics
from stemyard_api.observability.probes import Prober, dependency_up, rate_limit_backend
from stemyard_api.ratelimit.cloudflare import KvCounts
from stemyard_api.ratelimit.limiter import RateLimiter
from stemyard_api.ratelimit.quotas import Quotas
from stemyard_api.services.cache_hits import CacheHits
from stemyard_api.services.event_hub import EventHub
from stemyard_api.services.idempotency import IdempotencyKeys
from stemyard_api.services.job_actions import JobActions
from stemyard_api.services.links import LinkBuilder
from stemyard_api.services.placement import Placement
from stemyard_api.services.states import TrackStates
from stemyard_api.services.submission import Submissions
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.mirror import MirrorKeys


@dataclass(frozen=True, slots=True)
class Services:
    """What routes work with."""

    settings: Settings
    kubernetes: KubernetesClient
    redis: RedisClient | None
    object_store: ObjectStoreClient | None
    tracks: Tracks
    submissions: Submissions
    job_actions: JobActions
    states: TrackStates
    cache_hits: CacheHits
    limiter: RateLimiter
    quotas: Quotas
    event_hub: EventHub
    prober: Prober
    metrics: Metrics


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open everything for as long as the context lasts.

    Raises:
        NoKubernetesConfigError: nothing says where the Kubernetes cluster is.
    """
    kubernetes = await connect(settings.stemyard_namespace)
    redis = _redis(settings)
    object_store = ObjectStoreClient(settings) if settings.storage_configured else None
    metrics = Metrics()
    tracks = Tracks(redis, kubernetes, settings.stemyard_namespace, metrics)
    placement = Placement(settings, tracks, kubernetes, object_store)
    job_actions = JobActions(settings, tracks, kubernetes, object_store)
    links = LinkBuilder(object_store, settings.r2_public_domain)
    quotas = Quotas(settings, redis)
    submissions = Submissions(tracks, placement, quotas, IdempotencyKeys(redis), links, metrics)
    try:
        async with (
            Prober.running(redis, object_store, kubernetes) as prober,
            _kv_counts(settings, prober) as kv_counts,
            _event_hub(settings, redis) as event_hub,
        ):
            limiter = RateLimiter(settings, redis, kv_counts)
            metrics.watch(
                lambda: GaugeValues(
                    event_hub.open, rate_limit_backend(prober, kv_counts), dependency_up(settings, prober, kv_counts)
                )
            )
            yield Services(
                settings,
                kubernetes,
                redis,
                object_store,
                tracks,
                submissions,
                job_actions,
                TrackStates(tracks, links, shared=settings.results_shared, default_model=settings.default_model),
                CacheHits(settings, limiter, redis, links, metrics),
                limiter,
                quotas,
                event_hub,
                prober,
                metrics,
            )
    finally:
        await kubernetes.close()
        if redis is not None:
            await redis.close()
        if object_store is not None:
            object_store.close()


@asynccontextmanager
async def _kv_counts(settings: Settings, prober: Prober) -> AsyncIterator[KvCounts | None]:
    """Share counts through Cloudflare KV, where it is configured, whenever Redis does not answer."""
    if not settings.kv_configured:
        yield None
        return
    kv = CloudflareKvClient(settings)
    kv_counts = KvCounts(kv, f"stemyard:{settings.stemyard_install_id}")
    exchanging = asyncio.create_task(kv_counts.run(lambda: not prober.redis.operational))
    try:
        yield kv_counts
    finally:
        exchanging.cancel()
        with suppress(asyncio.CancelledError):
            await exchanging
        await kv.close()


@asynccontextmanager
async def _event_hub(settings: Settings, redis: RedisClient | None) -> AsyncIterator[EventHub]:
    event_hub = EventHub(redis, settings.events_heartbeat_seconds)
    feeding = asyncio.create_task(event_hub.run())
    try:
        yield event_hub
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding


def _redis(settings: Settings) -> RedisClient | None:
    if settings.redis_address is None:
        return None
    return RedisClient(settings.redis_address, MirrorKeys(settings.stemyard_install_id))


async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


# async, or FastAPI would call each of these in a thread of its own
# the middleware has already checked the key; this puts it into the OpenAPI document
_API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="The service's API key.")


def _holder_of(scope: Scope | None) -> Callable[..., Coroutine[None, None, Principal]]:
    """Return the dependency on a caller whose key has this scope; None takes any key."""

    async def principal(request: Request, _key: Annotated[str | None, Security(_API_KEY)]) -> Principal:
        caller = cast(Principal, request.scope[PRINCIPAL])
        if scope is not None:
            caller.require(scope)
        return caller

    return principal


ServicesDep = Annotated[Services, Depends(_services)]
SubmitterDep = Annotated[Principal, Depends(_holder_of(Scope.SUBMIT))]
ReaderDep = Annotated[Principal, Depends(_holder_of(Scope.READ))]
CallerDep = Annotated[Principal, Depends(_holder_of(None))]
AdminDep = Annotated[Principal, Depends(_holder_of(Scope.ADMIN))]
