"""Clients and services of one API process, opened at startup and closed at shutdown."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
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
from stemyard_api.services.shares import SHARED_LINK_SECONDS, Shares
from stemyard_api.services.states import TrackStates
from stemyard_api.services.submission import Submissions
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.key_webhooks import PLURAL as KEY_WEBHOOKS
from stemyard_contract.mirror_keys import MirrorKeys


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


@dataclass(frozen=True, slots=True)
class _Clients:
    """Connections of the process; None for those to backends that are not configured."""

    kubernetes: KubernetesClient
    redis: RedisClient | None
    object_store: ObjectStoreClient | None = None
    object_reader: ObjectReader | None = None
    multipart: MultipartClient | None = None


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open all clients and services for the duration of the context.

    Raises:
        NoKubernetesConfigError: there is neither a service account nor a kubeconfig.
    """
    async with (
        _open_clients(settings) as clients,
        Prober.running(clients.redis, clients.object_store, clients.kubernetes) as prober,
        _kv_counts(settings, prober) as kv_counts,
        _event_hub(settings, clients.redis) as event_hub,
    ):
        services = _assembled(settings, clients, prober, kv_counts, event_hub)
        services.metrics.watch(
            lambda: GaugeValues(
                event_hub.open, rate_limit_backend(prober, kv_counts), dependency_up(settings, prober, kv_counts)
            )
        )
        yield services


@asynccontextmanager
async def _open_clients(settings: Settings) -> AsyncIterator[_Clients]:
    async with AsyncExitStack() as stack:
        kubernetes, redis, keys = await connect(settings.stemyard_namespace), _redis(settings), open_keys(settings)
        stack.push_async_callback(kubernetes.close)
        if redis is not None:
            stack.push_async_callback(redis.close)
        if keys is not None:
            stack.callback(keys.close)
        if not settings.storage_configured:
            yield _Clients(kubernetes, redis)
            return
        stores = ObjectStoreClient(settings, keys), ObjectReader(settings, keys), MultipartClient(settings, keys)
        for store in stores:
            stack.callback(store.close)
        yield _Clients(kubernetes, redis, *stores)


def _assembled(
    settings: Settings, clients: _Clients, prober: Prober, kv_counts: KvCounts | None, event_hub: EventHub
) -> Services:
    kubernetes, redis, object_store = clients.kubernetes, clients.redis, clients.object_store
    metrics, install_id = Metrics(), settings.stemyard_install_id
    tracks = Tracks(redis, kubernetes, settings.stemyard_namespace, metrics)
    placement = Placement(settings, tracks, kubernetes, object_store)
    links = LinkBuilder(object_store, settings.r2_public_domain)
    shared_links = LinkBuilder(object_store, settings.r2_public_domain, SHARED_LINK_SECONDS)
    quotas, limiter = Quotas(settings, redis, kubernetes), RateLimiter(settings, redis, kv_counts)
    multipart = clients.multipart
    return Services(
        settings,
        kubernetes,
        redis,
        object_store,
        clients.object_reader,
        MultipartUploads(install_id, object_store, multipart, quotas) if object_store and multipart else None,
        tracks,
        Submissions(tracks, placement, quotas, IdempotencyKeys(redis), links, metrics),
        JobActions(settings, tracks, kubernetes, object_store),
        TrackStates(tracks, links, shared=settings.results_shared, default_model=settings.default_model),
        Shares(settings, tracks, ShareTokens(install_id, settings.share_secrets), shared_links),
        RegisteredWebhooks(settings, kubernetes.of_kind(KEY_WEBHOOKS), settings.master_secrets),
        OverviewReader(redis, kubernetes, settings.stemyard_namespace),
        CacheHits(settings, limiter, redis, links, metrics),
        limiter,
        quotas,
        event_hub,
        prober,
        metrics,
    )


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
    async with background.running(*event_hub.tasks()):
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
