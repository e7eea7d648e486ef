"""Services: the clients and rules of one API process, made at start and closed at its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from stemyard_api.asgi import PRINCIPAL
from stemyard_api.auth.api_keys import Principal, Scope
from stemyard_api.clients.cloudflare_kv import Kv
from stemyard_api.clients.kubernetes import Cluster, connect
from stemyard_api.clients.redis import Store
from stemyard_api.clients.s3 import Objects
from stemyard_api.observability.metrics import Metrics, Readings
from stemyard_api.observability.probes import Prober, backend, up
from stemyard_api.ratelimit.cloudflare import Shares
from stemyard_api.ratelimit.limiter import Limiter
from stemyard_api.ratelimit.quotas import Quotas
from stemyard_api.services.cache_hits import CacheHits
from stemyard_api.services.event_hub import Hub
from stemyard_api.services.idempotency import Bindings
from stemyard_api.services.links import Links
from stemyard_api.services.placement import Placement
from stemyard_api.services.states import States
from stemyard_api.services.submission import Submissions
from stemyard_api.services.tracks import Tracks
from stemyard_api.services.withdrawal import Withdrawals
from stemyard_api.settings import Settings
from stemyard_contract.mirror import MirrorKeys


@dataclass(frozen=True, slots=True)
class Services:
    """What routes work with."""

    settings: Settings
    cluster: Cluster
    store: Store | None
    objects: Objects | None
    tracks: Tracks
    submissions: Submissions
    withdrawals: Withdrawals
    states: States
    cache_hits: CacheHits
    limiter: Limiter
    quotas: Quotas
    hub: Hub
    prober: Prober
    metrics: Metrics


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open everything for as long as the context lasts.

    Raises:
        NoClusterError: nothing says where the Kubernetes cluster is.
    """
    cluster = await connect(settings.stemyard_namespace)
    store = _store(settings)
    objects = Objects(settings) if settings.storage_configured else None
    metrics = Metrics()
    tracks = Tracks(store, cluster, settings.stemyard_namespace, metrics)
    placement = Placement(settings, tracks, cluster, objects)
    withdrawals = Withdrawals(settings, tracks, cluster, objects)
    links = Links(objects, settings.r2_public_domain)
    quotas = Quotas(settings, store)
    submissions = Submissions(tracks, placement, quotas, Bindings(store), links, metrics)
    try:
        async with (
            Prober.running(store, objects, cluster) as prober,
            _shares(settings, prober) as shares,
            _hub(settings, store) as hub,
        ):
            limiter = Limiter(settings, store, shares)
            metrics.watch(lambda: Readings(hub.open, backend(prober, shares), up(settings, prober, shares)))
            yield Services(
                settings,
                cluster,
                store,
                objects,
                tracks,
                submissions,
                withdrawals,
                States(tracks, links, shared=settings.results_shared, default_model=settings.default_model),
                CacheHits(settings, limiter, store, links, metrics),
                limiter,
                quotas,
                hub,
                prober,
                metrics,
            )
    finally:
        await cluster.close()
        if store is not None:
            await store.close()
        if objects is not None:
            objects.close()


@asynccontextmanager
async def _shares(settings: Settings, prober: Prober) -> AsyncIterator[Shares | None]:
    """Share counts through Cloudflare KV, where it is configured, whenever Redis does not answer."""
    if not settings.kv_configured:
        yield None
        return
    kv = Kv(settings)
    shares = Shares(kv, f"stemyard:{settings.stemyard_install_id}")
    exchanging = asyncio.create_task(shares.forever(lambda: not prober.redis.operational))
    try:
        yield shares
    finally:
        exchanging.cancel()
        with suppress(asyncio.CancelledError):
            await exchanging
        await kv.close()


@asynccontextmanager
async def _hub(settings: Settings, store: Store | None) -> AsyncIterator[Hub]:
    hub = Hub(store, settings.events_heartbeat_seconds)
    feeding = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding


def _store(settings: Settings) -> Store | None:
    if settings.redis_address is None:
        return None
    return Store(settings.redis_address, MirrorKeys(settings.stemyard_install_id))


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
