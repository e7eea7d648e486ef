"""Clients and services of one API process, opened at startup and closed at shutdown."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from stemyard_api import background
from stemyard_api.asgi import PRINCIPAL
from stemyard_api.auth.api_keys import Principal, Scope
from stemyard_api.auth.share_tokens import ShareTokens
from stemyard_api.clients.cloudflare_kv import CloudflareKvClient
from stemyard_api.clients.kubernetes import KubernetesClient, connect
from stemyard_api.clients.redis import RedisClient
from stemyard_api.clients.s3 import ObjectStoreClient, open_keys
from stemyard_api.clients.s3_multipart import MultipartClient
from stemyard_api.clients.s3_reader import ObjectReader
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
from stemyard_api.services.multipart_uploads import MultipartUploads
from stemyard_api.services.overview import OverviewReader
from stemyard_api.services.placement import Placement
from stemyard_api.services.registered_webhooks import RegisteredWebhooks
from stemyard_api.services.shares import LINK_SECONDS as SHARED_LINK_SECONDS
from stemyard_api.services.shares import Shares
from stemyard_api.services.states import TrackStates
from stemyard_api.services.submission import Submissions
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.key_webhooks import PLURAL as KEY_WEBHOOKS
from stemyard_contract.mirror import MirrorKeys


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routes use."""

    settings: Settings
    kubernetes: KubernetesClient
    redis: RedisClient | None
    object_store: ObjectStoreClient | None
    object_reader: ObjectReader | None
    multipart_uploads: MultipartUploads | None
    tracks: Tracks
    submissions: Submissions
    job_actions: JobActions
    states: TrackStates
    shares: Shares
    registered_webhooks: RegisteredWebhooks
    overview_reader: OverviewReader
    cache_hits: CacheHits
    limiter: RateLimiter
    quotas: Quotas
    event_hub: EventHub
    prober: Prober
    metrics: Metrics


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open all clients and services for the duration of the context.

    Raises:
        NoKubernetesConfigError: there is neither a service account nor a kubeconfig.
    """
    kubernetes = await connect(settings.stemyard_namespace)
    redis = _redis(settings)
    keys = open_keys(settings)
    object_store = ObjectStoreClient(settings, keys) if settings.storage_configured else None
    object_reader = ObjectReader(settings, keys) if settings.storage_configured else None
    multipart = MultipartClient(settings, keys) if settings.storage_configured else None
    metrics = Metrics()
    tracks = Tracks(redis, kubernetes, settings.stemyard_namespace, metrics)
    placement = Placement(settings, tracks, kubernetes, object_store)
    job_actions = JobActions(settings, tracks, kubernetes, object_store)
    links = LinkBuilder(object_store, settings.r2_public_domain)
    shares = Shares(
        settings,
        tracks,
        ShareTokens(settings.stemyard_install_id, settings.share_secrets),
        LinkBuilder(object_store, settings.r2_public_domain, SHARED_LINK_SECONDS),
    )
    registered_webhooks = RegisteredWebhooks(settings, kubernetes.of_kind(KEY_WEBHOOKS), settings.master_secrets)
    quotas = Quotas(settings, redis, kubernetes)
    install_id = settings.stemyard_install_id
    uploads = MultipartUploads(install_id, object_store, multipart, quotas) if object_store and multipart else None
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
                object_reader,
                uploads,
                tracks,
                submissions,
                job_actions,
                TrackStates(tracks, links, shared=settings.results_shared, default_model=settings.default_model),
                shares,
                registered_webhooks,
                OverviewReader(redis, kubernetes, settings.stemyard_namespace),
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
        if object_reader is not None:
            object_reader.close()
        if multipart is not None:
            multipart.close()
        if keys is not None:
            keys.close()


@asynccontextmanager
async def _kv_counts(settings: Settings, prober: Prober) -> AsyncIterator[KvCounts | None]:
    """Share counts through Cloudflare KV, if configured, while Redis does not respond."""
    if not settings.kv_configured:
        yield None
        return
    kv = CloudflareKvClient(settings)
    kv_counts = KvCounts(kv, f"stemyard:{settings.stemyard_install_id}")
    try:
        async with background.running(partial(kv_counts.run, lambda: not prober.redis.operational)):
            yield kv_counts
    finally:
        await kv.close()


@asynccontextmanager
async def _event_hub(settings: Settings, redis: RedisClient | None) -> AsyncIterator[EventHub]:
    event_hub = EventHub(redis, settings.events_heartbeat_seconds)
    async with background.running(event_hub.run):
        yield event_hub


def _redis(settings: Settings) -> RedisClient | None:
    if settings.redis_address is None:
        return None
    return RedisClient(settings.redis_address, MirrorKeys(settings.stemyard_install_id))


async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


# the dependencies are async, because FastAPI runs others in threads; the middleware has already checked the key
# this adds the key to the OpenAPI document
_API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="The service's API key.")


def _holder_of(scope: Scope | None) -> Callable[..., Coroutine[None, None, Principal]]:
    """Return the dependency on a caller whose key has this scope; None accepts any key."""

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
