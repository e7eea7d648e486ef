"""Builds a replica of the operator once and runs it: every replica watches and serves, only the leader reconciles."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from stemyard_contract.runtime import freeze_startup_objects
from stemyard_contract.webhook_secrets import MasterSecrets
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.leader_election import LeaderElector, Lease
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.clients.webhook_http import WebhookHttpClient
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.decision.status_change import StatusChange
from stemyard_operator.desk.authentication import Authenticator
from stemyard_operator.desk.certificate import RenewedCertificate
from stemyard_operator.desk.leasing import Leasing
from stemyard_operator.desk.server import Desk
from stemyard_operator.errors import OperatorError
from stemyard_operator.health import Health
from stemyard_operator.http_server import serving
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.informer.event_handlers import EventHandlers, requeue
from stemyard_operator.informer.finished_stages import FinishedStages
from stemyard_operator.informer.job_watch import JobWatch
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.informer.registration_watch import RegistrationCache, RegistrationWatch
from stemyard_operator.informer.resync import Resync
from stemyard_operator.informer.separation_watch import SeparationWatch
from stemyard_operator.informer.upload_index import UploadIndex
from stemyard_operator.maintenance.deletions import Deletions
from stemyard_operator.maintenance.sweeper import Sweeper
from stemyard_operator.mirror.delivery_log import DeliveryLog
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.mirror.throughput import ThroughputLog
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.namespaces import Namespaces
from stemyard_operator.observability.metrics import Metrics
from stemyard_operator.observability.readings import Readings
from stemyard_operator.observability.tracing import Tracing
from stemyard_operator.reconciler.apply import Applier
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.reconciler.lane import Lane
from stemyard_operator.reconciler.namespace_events import NamespaceEvents
from stemyard_operator.reconciler.observer import Observer
from stemyard_operator.reconciler.reconciler import Reconciler
from stemyard_operator.reconciler.run_cache import RunCache
from stemyard_operator.reconciler.worker_keeper import WorkerKeeper
from stemyard_operator.webhooks.delivery import DeliveryAttempts, OnAttempt, Trace, untraced
from stemyard_operator.webhooks.dispatcher import Dispatcher
from stemyard_operator.webhooks.registered_secrets import RegisteredSecrets
from stemyard_operator.webhooks.request import RequestBuilder
from stemyard_operator.workqueue import WorkQueue, work

_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 30.0
_STOP_SECONDS: Final = 2.0
_BUCKET_SECONDS: Final = 5.0
"""How long the start waits for an object store that does not answer."""
_NONE_LISTED: Final = "no namespace could be listed, retrying"
_SPARE_WORKERS: Final = 2
"""Workers beyond the places in the object store's lane: new separations and cancellations do not wait for a store."""

Loop = Callable[[], Coroutine[Any, Any, None]]
"""Runs until it is cancelled."""
OnWrite = tuple[Callable[[StatusChange], None], ...]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clients:
    """Connections to everything outside the process."""

    kubernetes: KubernetesClient
    objects: ObjectStoreClient
    redis: RedisClient
    webhooks: WebhookHttpClient

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, lease: Lease, metrics: Metrics) -> AsyncIterator[Self]:
        """Yield the clients, open while the block runs; writes of the leader are fenced by the lease."""
        clients = cls(
            await KubernetesClient.connect(fence=lease.fence, on_response=metrics.called),
            ObjectStoreClient(settings),
            RedisClient(settings.redis_address, settings.stemyard_install_id),
            WebhookHttpClient(settings),
        )
        async with AsyncExitStack() as stack:
            for client in (clients.kubernetes, clients.redis, clients.objects, clients.webhooks):
                stack.push_async_callback(client.close)
            yield clients


@dataclass(frozen=True, slots=True)
class State:
    """What a replica keeps in memory. All of it can be lost: it is read again from the cluster."""

    watched: Namespaces
    cache: ClusterCache
    queue: WorkQueue[Key]
    health: Health
    duplicates: DuplicateIndex
    uploads: UploadIndex
    limiter: ConcurrencyLimiter
    leases: LeaseBook
    run_cache: RunCache
    progress: ProgressStore
    finished: FinishedStages
    secrets: WebhookSecrets
    registrations: RegistrationWatch

    @classmethod
    def empty(cls, settings: Settings, clients: Clients, lease: Lease) -> Self:
        """Return the state of a replica that has read nothing yet."""
        watched = Namespaces(settings.namespaces)
        cache, queue = ClusterCache(settings.api_namespace, watched.is_known), WorkQueue[Key](lease.is_held)
        return cls(
            watched,
            cache,
            queue,
            Health(settings.resync_seconds, watched),
            DuplicateIndex(settings.default_model, settings.api_namespace),
            UploadIndex(settings.api_namespace, clients.kubernetes.clock.now),
            ConcurrencyLimiter(cache, settings, clients.kubernetes.clock.now),
            _lease_book(settings, clients, partial(requeue, cache, queue)),
            RunCache(),
            ProgressStore(clients.redis),
            FinishedStages(partial(requeue, cache, queue), clients.kubernetes.clock.now),
            WebhookSecrets(settings),
            RegistrationWatch(clients.kubernetes, RegistrationCache(), settings.api_namespace),
        )


def _lease_book(settings: Settings, clients: Clients, requeue_song: Callable[[str], None]) -> LeaseBook:
    base, most = settings.requeue_base_seconds, settings.requeue_max_seconds
    return LeaseBook(requeue_song, clients.kubernetes.clock.now, lambda times: pause_after(times, base, most))


def _dispatcher(
    settings: Settings, clients: Clients, state: State, lease: Lease, on_attempt: OnAttempt, trace: Trace
) -> Dispatcher:
    masters = MasterSecrets(settings.stemyard_install_id, settings.webhook_master_secrets)
    registered = RegisteredSecrets(masters, lambda: state.registrations.known)
    builder = RequestBuilder(settings, clients.objects, state.secrets, registered)
    now = clients.kubernetes.clock.now
    attempts = DeliveryAttempts(state.cache, builder, clients.webhooks, lease.fence, now, on_attempt, trace)
    return Dispatcher(settings, attempts.attempt, partial(requeue, state.cache, state.queue))


def _event_handlers(state: State, mirror: MirrorWriter, deletions: Deletions, dispatcher: Dispatcher) -> EventHandlers:
    limiter, progress, finished = state.limiter, state.progress, state.finished
    return EventHandlers(
        state.cache,
        state.queue,
        state.duplicates,
        state.uploads,
        state.leases,
        next_in_line=limiter.next_in_line,
        on_change=mirror.changed,
        on_end=(progress.forget, finished.forget),
        on_lost=limiter.leave,
        on_forget=(limiter.leave, state.run_cache.forget, progress.forget, finished.forget, dispatcher.forget),
        on_delete=(mirror.deleted, deletions.deleted),
    )


def _reconciler(
    settings: Settings,
    clients: Clients,
    state: State,
    handlers: EventHandlers,
    dispatcher: Dispatcher,
    on_write: OnWrite,
    deletions: Deletions,
) -> Reconciler:
    kubernetes, objects, cache, limiter = clients.kubernetes, clients.objects, state.cache, state.limiter
    shared, lane = (settings, kubernetes, objects, cache, handlers), Lane(settings.workers, state.queue.add)
    indexes, reported = (state.duplicates, state.uploads), (state.progress, state.finished)
    secrets, registrations, leases = state.secrets, state.registrations, state.leases
    observer = Observer(*shared, *indexes, leases, limiter, *reported, dispatcher, secrets, registrations, lane)
    acting = (leases, limiter, dispatcher, secrets, registrations)
    applier = Applier(*shared, *acting, on_write, lane, deletions.remove_later)
    now, is_known = kubernetes.clock.now, state.watched.is_known
    return Reconciler(settings, cache, state.run_cache, observer, applier, lane, now, is_known)


async def run() -> None:
    """Run a replica until a signal ends it.

    Raises:
        OperatorError: a setting cannot be used, the lease was lost, or something other than a signal ended the replica:
            the process ends and is restarted.
    """
    signalled = _cancel_at_sigterm()
    try:
        await _run()
    except asyncio.CancelledError as error:
        if not signalled:
            raise OperatorError("cancelled without a signal") from error


async def _run() -> None:
    settings = load_settings()
    lease, metrics, tracing = Lease(), Metrics(), Tracing.open()
    tls = RenewedCertificate(settings.desk_tls_dir).context if settings.desk_tls_dir is not None else None
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(Clients.open(settings, lease, metrics))
        if tracing is not None:
            stack.push_async_callback(tracing.close)
        replica = Replica(settings, clients, lease, metrics, tracing)
        stack.push_async_callback(replica.dispatcher.close)
        await stack.enter_async_context(serving(replica.probes, settings.health_port))
        await replica.prepare()
        freeze_startup_objects()
        await stack.enter_async_context(serving(replica.desk, settings.desk_port, tls))
        await replica.run()


def _cancel_at_sigterm() -> list[int]:
    """End at SIGTERM from the start, which process 1 of a container ignores otherwise; return what was received."""
    task, received = asyncio.current_task(), list[int]()

    def cancel() -> None:
        received.append(signal.SIGTERM)
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cancel)
    return received


class Replica:
    """Everything between the clients and the cluster; `probes` and `desk` are its web applications."""

    def __init__(
        self, settings: Settings, clients: Clients, lease: Lease, metrics: Metrics, tracing: Tracing | None
    ) -> None:
        kubernetes, objects, redis = clients.kubernetes, clients.objects, clients.redis
        state = State.empty(settings, clients, lease)
        cache, queue, health = state.cache, state.queue, state.health
        mirror = MirrorWriter(redis, cache, lease.is_held, settings.api_namespace, state.watched)
        delivery_log, throughput = DeliveryLog(redis), ThroughputLog(redis, settings.max_active)
        deletions = Deletions(objects, settings, state.uploads, lease.is_held)
        on_attempt = (delivery_log.attempted, lambda _, attempt: metrics.attempted(attempt))
        dispatcher = _dispatcher(settings, clients, state, lease, on_attempt, tracing.webhook if tracing else untraced)
        handlers = _event_handlers(state, mirror, deletions, dispatcher)
        on_write = (metrics.status_written, throughput.status_written, *([tracing.status_written] if tracing else []))
        reconciler = _reconciler(settings, clients, state, handlers, dispatcher, on_write, deletions)
        now = kubernetes.clock.now
        sweeper = Sweeper(settings, kubernetes, objects, lease.fence, metrics, lambda: now().timestamp())
        up = {"store": lambda: objects.up, "redis": lambda: redis.up}
        keeper = WorkerKeeper(settings, kubernetes, cache, handlers, state.leases, now)
        metrics.know(settings.profiles)
        metrics.expose(Readings(cache, queue, health, mirror, lease.is_leading, dispatcher, up))
        self._leader_loops: tuple[Loop, ...] = (
            partial(work, queue, metrics.timed(reconciler.reconcile), settings.workers + _SPARE_WORKERS),
            partial(work, deletions.queue, deletions.remove, 1),
            partial(mirror.check_repeatedly, settings.resync_seconds),
            *(part.run for part in (mirror, delivery_log, throughput, sweeper, keeper)),
        )
        self._settings, self._objects, self._health, self.dispatcher = settings, objects, health, dispatcher
        self.probes = metrics.serve(health.application())
        reported = (state.progress, state.finished, Leasing(state.leases, cache, settings, metrics.worker_idle))
        desk = Desk(Authenticator(kubernetes, cache, settings), objects, *reported, settings, lease.is_leading)
        self.desk = desk.application()
        self._elector = LeaderElector(kubernetes, lease, settings.pod_namespace, settings.lease_name, settings.pod_name)
        report = NamespaceEvents(settings, kubernetes, lease.is_leading).unreadable
        self._resync = Resync(kubernetes, cache, handlers, health, state.watched, lease.is_held, report)
        self._registrations = state.registrations
        self._watches: tuple[JobWatch | SeparationWatch | RegistrationWatch, ...] = (
            state.registrations,
            *(JobWatch(kubernetes, handlers, health, name) for name in settings.namespaces),
            *(SeparationWatch(handlers, health, name, settings.pod_name) for name in settings.namespaces),
        )
        self._handlers, self._mirror = handlers, mirror
        self._bucket: asyncio.Task[None]

    async def prepare(self) -> None:
        """Create the bucket if it is missing and list the namespaces, however long it takes until one can be read.

        From then on the desk serves, even if the store does not answer yet: separators wait for links. What a Job's
        absence means depends on the list, so that nothing is decided in a namespace before; and kopf never watches a
        kind that was unknown when it started.

        Raises:
            ObjectStoreRefusedError: the bucket cannot be used with these settings.
        """
        bucket = self._settings.r2_bucket
        preparing = self._retry(self._objects.prepare, f"waiting for the object store with bucket R2_BUCKET={bucket}")
        self._bucket = asyncio.create_task(preparing, name="bucket")
        for done in (await asyncio.wait({self._bucket}, timeout=_BUCKET_SECONDS))[0]:
            done.result()
        await self._retry(self._resync.first, _NONE_LISTED)

    async def run(self) -> None:
        """Watch, resync and lead until a signal comes or one of them ends; the lease is released first.

        Raises:
            OperatorError: one of them ended without a signal.
            ObjectStoreRefusedError: the bucket cannot be used with these settings.
        """
        signal_task = asyncio.create_task(_signal(), name="signal")
        tasks = [
            asyncio.create_task(self._lead(), name="lead"),
            asyncio.create_task(self._resync.run(self._settings.resync_seconds), name="resync"),
            *(asyncio.create_task(one.run(), name=type(one).__name__) for one in self._watches),
            signal_task,
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1], timeout=_STOP_SECONDS)
        await self._elector.release()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        for task in done:
            task.result()
        if signal_task not in done:
            raise OperatorError(f"ended without a signal: {', '.join(task.get_name() for task in done)}")

    async def _lead(self) -> None:
        """Wait for the bucket and the lease, then act while the lease is held.

        Raises:
            ObjectStoreRefusedError: the bucket cannot be used with these settings.
            LeaseLostError: the lease is no longer held.
        """
        await self._bucket
        await self._elector.acquire()
        acting = asyncio.create_task(self._act(), name="act")
        keeping = asyncio.create_task(self._elector.keep(), name="keep")
        try:
            # no task group: it would wait for whatever is in flight before it raised that the lease is lost
            done, _ = await asyncio.wait({acting, keeping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            keeping.cancel()
            acting.cancel()

    async def _act(self) -> None:
        """Run forever what only the leader does."""
        await self._registrations.listed.wait()  # a run that ended before would not notify them
        await self._retry(self._resync.once, _NONE_LISTED)
        self._handlers.requeue_all()
        self._mirror.write_all()
        async with asyncio.TaskGroup() as group:
            for loop in self._leader_loops:
                group.create_task(loop())

    async def _retry(self, attempt: Callable[[], Awaitable[None]], message: str) -> None:
        """Repeat an attempt until it succeeds, with growing pauses; errors that stay are raised."""
        failures = 0
        while True:
            try:
                await attempt()
            except OperatorError as error:
                if not error.retryable:
                    raise
                failures += 1
                self._health.worked()
                log.warning("%s: %s", message, error)
                await asyncio.sleep(pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))
            else:
                return


async def _signal() -> None:
    """Return at SIGTERM or SIGINT."""
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    await signalled.wait()
