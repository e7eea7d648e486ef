"""Builds a replica of the operator once and runs it: every replica watches and serves, only the leader reconciles."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from stemyard_contract.runtime import spare_what_stays
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.leader_election import LeaderElector, Lease
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.clients.webhook_http import WebhookHttpClient
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.desk.authentication import Authenticator
from stemyard_operator.desk.server import Desk
from stemyard_operator.errors import OperatorError
from stemyard_operator.health import Health, serving
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.informer.event_handlers import EventHandlers, requeue
from stemyard_operator.informer.job_watch import JobWatch
from stemyard_operator.informer.resync import Resync
from stemyard_operator.informer.separation_watch import watch
from stemyard_operator.maintenance.deletions import Deletions
from stemyard_operator.maintenance.sweeper import Sweeper
from stemyard_operator.mirror.delivery_log import DeliveryLog
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.mirror.throughput import ThroughputLog
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.observability.metrics import Metrics, Readings
from stemyard_operator.observability.tracing import Tracing
from stemyard_operator.reconciler.apply import Applier
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.reconciler.observer import Observer
from stemyard_operator.reconciler.reconciler import Reconciler
from stemyard_operator.reconciler.run_cache import RunCache
from stemyard_operator.webhooks.delivery import DeliveryAttempts, untraced
from stemyard_operator.webhooks.dispatcher import Dispatcher
from stemyard_operator.webhooks.request import RequestBuilder
from stemyard_operator.workqueue import WorkQueue, work

_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 30.0
_STOP_SECONDS: Final = 2.0

Loop = Callable[[], Coroutine[Any, Any, None]]
"""Runs until it is cancelled."""

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


async def run() -> None:
    """Run a replica until a signal ends it.

    Raises:
        OperatorError: a setting cannot be used, or the lease was lost: the process ends and is restarted.
    """
    settings = load_settings()
    _cancel_at_sigterm()
    lease, metrics, tracing = Lease(), Metrics(), Tracing.open()
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(Clients.open(settings, lease, metrics))
        if tracing is not None:
            stack.push_async_callback(tracing.close)
        replica = Replica(settings, clients, lease, metrics, tracing)
        stack.push_async_callback(replica.dispatcher.close)
        await stack.enter_async_context(serving(replica.probes, settings.health_port))
        await replica.prepare()
        spare_what_stays()
        await stack.enter_async_context(serving(replica.desk, settings.desk_port))
        await replica.run()


def _cancel_at_sigterm() -> None:
    """End at SIGTERM from the start, which process 1 of a container ignores otherwise; kopf replaces the handler."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


class Replica:
    """Everything between the clients and the cluster; `probes` and `desk` are its web applications."""

    def __init__(
        self, settings: Settings, clients: Clients, lease: Lease, metrics: Metrics, tracing: Tracing | None
    ) -> None:
        kubernetes, objects, redis = clients.kubernetes, clients.objects, clients.redis
        now, install_id, namespaces = kubernetes.clock.now, settings.stemyard_install_id, settings.namespaces
        cache, queue, health = ClusterCache(), WorkQueue[Key](), Health(settings.resync_seconds)
        duplicates, limiter = DuplicateIndex(settings.default_model), ConcurrencyLimiter(cache, settings, now)
        run_cache, progress, secrets = RunCache(), ProgressStore(redis), WebhookSecrets(settings)
        mirror, delivery_log = MirrorWriter(redis, cache, lease.is_held), DeliveryLog(redis)
        throughput, deletions = ThroughputLog(redis, settings.max_active), Deletions(objects, install_id, lease.is_held)
        builder, trace = RequestBuilder(settings, objects, secrets), tracing.webhook if tracing else untraced
        on_attempt = (delivery_log.attempted, lambda _, attempt: metrics.attempted(attempt))
        attempts = DeliveryAttempts(cache, builder, clients.webhooks, lease.fence, now, on_attempt, trace)
        dispatcher = Dispatcher(settings, attempts.attempt, partial(requeue, cache, queue))
        handlers = EventHandlers(
            cache,
            queue,
            duplicates,
            next_in_line=limiter.next_in_line,
            on_change=mirror.changed,
            on_forget=(limiter.leave, run_cache.forget, progress.forget, dispatcher.forget),
            on_delete=(mirror.deleted, deletions.deleted),
        )
        observer = Observer(
            settings, kubernetes, objects, cache, handlers, duplicates, limiter, progress, dispatcher, secrets
        )
        on_write = (metrics.wrote, throughput.status_written, *([tracing.wrote] if tracing else []))
        applier = Applier(settings, kubernetes, objects, cache, handlers, limiter, dispatcher, secrets, on_write)
        reconciler = Reconciler(settings, cache, run_cache, progress, observer, applier, now)
        sweeper = Sweeper(settings, kubernetes, objects, lease.fence, metrics)
        metrics.expose(Readings(cache, queue, health, mirror, lease.is_leading, dispatcher))
        self._leader_loops: tuple[Loop, ...] = (
            partial(work, queue, metrics.timed(reconciler.reconcile), settings.workers),
            partial(work, deletions.queue, deletions.remove, 1),
            *(part.run for part in (mirror, delivery_log, throughput, sweeper)),
        )
        self._settings, self._objects, self._health, self.dispatcher = settings, objects, health, dispatcher
        self.probes = metrics.serve(health.application())
        self.desk = Desk(Authenticator(kubernetes, cache, namespaces), objects, progress, settings).application()
        self._elector = LeaderElector(kubernetes, lease, settings.pod_namespace, settings.lease_name, settings.pod_name)
        self._resync = Resync(kubernetes, cache, handlers, queue, health, namespaces, lease.is_held, mirror.check)
        self._job_watches = [JobWatch(kubernetes, handlers, health, namespace) for namespace in namespaces]
        self._handlers, self._mirror = handlers, mirror

    async def prepare(self) -> None:
        """Create the bucket if it is missing and list the whole cluster, however long that takes.

        What a Job's absence means depends on the list; and kopf never watches a kind that was unknown when it started.

        Raises:
            ObjectStoreRefusedError: the bucket cannot be used with these settings.
        """
        bucket = self._settings.r2_bucket
        await self._retry(self._objects.prepare, f"waiting for the object store with bucket R2_BUCKET={bucket}")
        await self._list_all()

    async def run(self) -> None:
        """Watch, resync and lead until a signal comes or one of them ends; the lease is released first."""
        kopf_ready, signalled = asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(self._lead(), name="lead"),
            asyncio.create_task(self._resync.run(self._settings.resync_seconds), name="resync"),
            asyncio.create_task(watch(self._handlers, self._health, self._settings, kopf_ready), name="watch"),
            *(asyncio.create_task(job_watch.run(), name="watch of jobs") for job_watch in self._job_watches),
            asyncio.create_task(_signal(kopf_ready, signalled), name="signal"),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
            await asyncio.wait([task], timeout=_STOP_SECONDS)
            if task is tasks[0]:
                await self._elector.release()
        for task in done:
            task.result()

    async def _lead(self) -> None:
        """Wait for the lease, then act while it is held.

        Raises:
            LeaseLostError: it is no longer held.
        """
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
        await self._list_all()
        self._handlers.requeue_all()
        self._mirror.write_all()
        async with asyncio.TaskGroup() as group:
            for loop in self._leader_loops:
                group.create_task(loop())

    async def _list_all(self) -> None:
        await self._retry(self._resync.once, "the cluster could not be listed, retrying")

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


async def _signal(kopf_ready: asyncio.Event, signalled: asyncio.Event) -> None:
    """Return at SIGTERM or SIGINT. kopf would take seconds to stop, with the lease held: replace its handlers."""
    await kopf_ready.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    await signalled.wait()
