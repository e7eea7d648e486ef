"""Puts the parts together and runs them: every replica watches and serves, the one that leads acts."""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from stemyard_contract.mirror import AttemptRecord
from stemyard_contract.runtime import spare_what_stays
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.leader_election import LeaderElector
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.clients.webhook_http import WebhookHttpClient
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.decision.status_change import StatusChange
from stemyard_operator.desk.authentication import Authenticator
from stemyard_operator.desk.server import Desk
from stemyard_operator.errors import OperatorError
from stemyard_operator.health import Health, serving
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.informer.event_handlers import EventHandlers
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
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.reconciler.reconciler import Reconciler
from stemyard_operator.webhooks.delivery import DeliveryAttempts
from stemyard_operator.webhooks.dispatcher import Dispatcher
from stemyard_operator.webhooks.request import RequestBuilder
from stemyard_operator.workqueue import WorkQueue, work

_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 30.0
_GOODBYE_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a replica is made of."""

    settings: Settings
    cluster: KubernetesClient
    objects: ObjectStoreClient
    mirror: RedisClient
    queue: WorkQueue[Key]
    mirror_writer: MirrorWriter
    deletions: Deletions
    event_handlers: EventHandlers
    resync: Resync
    reconciler: Reconciler
    desk: Desk
    health: Health
    metrics: Metrics
    pace: ThroughputLog
    sweeper: Sweeper
    elector: LeaderElector
    dispatcher: Dispatcher
    delivery_log: DeliveryLog
    sender: WebhookHttpClient
    job_watches: tuple[JobWatch, ...]
    tracing: Tracing | None


def build(settings: Settings, cluster: KubernetesClient) -> Parts:
    """Return the parts of a replica, wired."""
    objects = ObjectStoreClient(settings)
    mirror = RedisClient(settings.redis_address, settings.stemyard_install_id)
    cluster_cache, queue = ClusterCache(), WorkQueue[Key]()
    health = Health(settings.resync_seconds)
    mirror_writer, deletions, board = MirrorWriter(mirror, cluster_cache), Deletions(objects), ProgressStore(mirror)
    slots = ConcurrencyLimiter(cluster_cache, settings, cluster.clock.now)
    duplicates = DuplicateIndex(settings.default_model)
    event_handlers = EventHandlers(
        cluster_cache, queue, slots, mirror_writer, deletions, duplicates, settings.stemyard_install_id
    )
    elector = LeaderElector(cluster, settings.pod_namespace, settings.lease_name, settings.pod_name)
    cluster.fence = elector.fence
    sender, webhook_secrets = WebhookHttpClient(settings), WebhookSecrets(settings)
    deliveries = DeliveryAttempts(
        cluster_cache, RequestBuilder(settings, objects, webhook_secrets), sender, elector.fence, cluster.clock.now
    )
    dispatcher, delivery_log = Dispatcher(settings, deliveries.attempt), DeliveryLog(mirror)
    metrics = Metrics(Readings(cluster_cache, queue, health, mirror_writer, elector, dispatcher))
    cluster.on_answer = metrics.called
    deliveries.on_attempt = _both(delivery_log.note, metrics.attempted)
    tracing = Tracing.open()
    pace = ThroughputLog(mirror, settings.max_active)
    sweeper = Sweeper(settings, cluster, objects, elector.fence, metrics)
    wrote = _each(metrics.wrote, pace.learn)
    if tracing is not None:
        deliveries.trace = tracing.webhook
        wrote = _each(wrote, tracing.wrote)
    return Parts(
        settings=settings,
        cluster=cluster,
        objects=objects,
        mirror=mirror,
        queue=queue,
        mirror_writer=mirror_writer,
        deletions=deletions,
        event_handlers=event_handlers,
        resync=Resync(cluster, cluster_cache, event_handlers, queue, mirror_writer, health, settings.namespaces),
        reconciler=Reconciler(
            settings, cluster, objects, cluster_cache, event_handlers, slots, board, dispatcher, wrote, webhook_secrets
        ),
        desk=Desk(Authenticator(cluster, cluster_cache, settings.namespaces), objects, board, settings),
        health=health,
        metrics=metrics,
        pace=pace,
        sweeper=sweeper,
        elector=elector,
        dispatcher=dispatcher,
        delivery_log=delivery_log,
        sender=sender,
        job_watches=tuple(JobWatch(cluster, event_handlers, health, namespace) for namespace in settings.namespaces),
        tracing=tracing,
    )


def _each(*told: Callable[[StatusChange], None]) -> Callable[[StatusChange], None]:
    def wrote(account: StatusChange) -> None:
        for one in told:
            one(account)

    return wrote


def _both(
    note: Callable[[str, AttemptRecord], None], count: Callable[[AttemptRecord], None]
) -> Callable[[str, AttemptRecord], None]:
    def told(track: str, attempt: AttemptRecord) -> None:
        note(track, attempt)
        count(attempt)

    return told


async def run() -> None:
    """Run a replica until a signal ends it.

    Raises:
        OperatorError: a setting cannot be used, or the lease was lost: the process ends and starts anew.
    """
    settings = load_settings()
    _end_at_a_signal()
    async with AsyncExitStack() as stack:
        parts = build(settings, await KubernetesClient.connect())
        stack.push_async_callback(parts.cluster.close)
        stack.push_async_callback(parts.mirror.close)
        stack.push_async_callback(parts.objects.close)
        stack.push_async_callback(parts.sender.close)
        stack.push_async_callback(parts.dispatcher.close)
        if parts.tracing is not None:
            stack.push_async_callback(parts.tracing.close)
        probes = parts.metrics.serve(parts.health.application())
        await stack.enter_async_context(serving(probes, settings.health_port))
        await prepare(parts)
        await see_everything(parts)
        spare_what_stays()
        await stack.enter_async_context(serving(parts.desk.application(), settings.desk_port))
        await _until_the_first_ends(parts)


def _end_at_a_signal() -> None:
    """End at SIGTERM from the first moment on; process 1 of a container ignores it otherwise. kopf takes over later."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def prepare(parts: Parts) -> None:
    """Ensure the bucket and its owner, however long the store takes to come up.

    Raises:
        StoreRefusedError: the bucket cannot be used with these settings.
    """
    failures = 0
    while True:
        try:
            await parts.objects.prepare()
        except OperatorError as error:
            if not error.retryable:
                raise
            failures += 1
            parts.health.worked()
            log.warning("waiting for the object store with bucket R2_BUCKET=%s: %s", parts.settings.r2_bucket, error)
            await asyncio.sleep(pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))
        else:
            return


async def _until_the_first_ends(parts: Parts) -> None:
    """Run watches, resync and leadership until a signal comes or one of them ends; the lease goes first."""
    started, signalled = asyncio.Event(), asyncio.Event()
    tasks = [
        asyncio.create_task(lead(parts), name="lead"),
        asyncio.create_task(parts.resync.run(parts.settings.resync_seconds), name="resync"),
        asyncio.create_task(watch(parts.event_handlers, parts.health, parts.settings, started), name="watch"),
        *(asyncio.create_task(one.run(), name="watch of jobs") for one in parts.job_watches),
        asyncio.create_task(_signal(started, signalled), name="signal"),
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
        await asyncio.wait([task], timeout=_GOODBYE_SECONDS)
        if task is tasks[0]:
            await parts.elector.release()
    for task in done:
        task.result()


async def _signal(started: asyncio.Event, signalled: asyncio.Event) -> None:
    """Return at SIGTERM or SIGINT. kopf would take seconds to stop, with the lease held: replace its handlers."""
    await started.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    await signalled.wait()


async def lead(parts: Parts) -> None:
    """Wait for the lease, then act for as long as it is held.

    Raises:
        LeaseLostError: it is no longer held.
    """
    await parts.elector.acquire()
    acting = asyncio.create_task(act(parts), name="act")
    keeping = asyncio.create_task(parts.elector.keep(), name="keep")
    try:
        # not one group: it would wait for whatever is under way before it told that the lease is lost
        done, _ = await asyncio.wait({acting, keeping}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        keeping.cancel()
        acting.cancel()


async def act(parts: Parts) -> None:
    """Do what only the leader does, for ever."""
    async with asyncio.TaskGroup() as group:
        parts.mirror_writer.active = parts.deletions.active = True
        await see_everything(parts)
        parts.event_handlers.wake_all()
        parts.mirror_writer.tell_all()
        group.create_task(work(parts.queue, parts.metrics.timed(parts.reconciler.reconcile), parts.settings.workers))
        group.create_task(work(parts.deletions.queue, parts.deletions.remove, 1))
        group.create_task(parts.mirror_writer.run())
        group.create_task(parts.delivery_log.run())
        group.create_task(parts.pace.run())
        group.create_task(parts.sweeper.run())


async def see_everything(parts: Parts) -> None:
    """List everything once, however long the API server takes to answer and to know our kind.

    What a Job's absence means depends on it; and kopf never watches a kind that was unknown when it started.
    """
    failures = 0
    while True:
        try:
            await parts.resync.once()
        except OperatorError as error:
            failures += 1
            parts.health.worked()
            log.warning("could not list everything: %s", error)
            await asyncio.sleep(pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))
        else:
            return
