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
from stemyard_operator.clients.kubernetes import Cluster
from stemyard_operator.clients.leader_election import Elector
from stemyard_operator.clients.redis import Mirror
from stemyard_operator.clients.s3 import Objects
from stemyard_operator.clients.webhook_http import Sender
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.decision.status_change import Account
from stemyard_operator.desk.authentication import Callers
from stemyard_operator.desk.server import Desk
from stemyard_operator.errors import OperatorError
from stemyard_operator.health import Health, serving
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import Projection
from stemyard_operator.informer.duplicate_index import Duplicates
from stemyard_operator.informer.event_handlers import Intake
from stemyard_operator.informer.job_watch import JobWatch
from stemyard_operator.informer.resync import Resync
from stemyard_operator.informer.separation_watch import watch
from stemyard_operator.maintenance.deletions import Removals
from stemyard_operator.maintenance.sweeper import Sweeper
from stemyard_operator.mirror.delivery_log import DeliveryLog
from stemyard_operator.mirror.progress import ProgressBoard
from stemyard_operator.mirror.throughput import Pace
from stemyard_operator.mirror.writer import MirrorFeed
from stemyard_operator.observability.metrics import Metrics, Readings
from stemyard_operator.observability.tracing import Tracing
from stemyard_operator.reconciler.concurrency import Slots
from stemyard_operator.reconciler.reconciler import Reconciler
from stemyard_operator.webhooks.delivery import Deliveries
from stemyard_operator.webhooks.dispatcher import Courier
from stemyard_operator.webhooks.request import Letters
from stemyard_operator.webhooks.secrets import Keychain
from stemyard_operator.workqueue import WorkQueue, work

_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 30.0
_GOODBYE_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a replica is made of."""

    settings: Settings
    cluster: Cluster
    objects: Objects
    mirror: Mirror
    queue: WorkQueue[Key]
    feed: MirrorFeed
    removals: Removals
    intake: Intake
    resync: Resync
    reconciler: Reconciler
    desk: Desk
    health: Health
    metrics: Metrics
    pace: Pace
    sweeper: Sweeper
    elector: Elector
    courier: Courier
    delivery_log: DeliveryLog
    sender: Sender
    job_watches: tuple[JobWatch, ...]
    tracing: Tracing | None


def build(settings: Settings, cluster: Cluster) -> Parts:
    """Return the parts of a replica, wired."""
    objects = Objects(settings)
    mirror = Mirror(settings.redis_address, settings.stemyard_install_id)
    projection, queue = Projection(), WorkQueue[Key]()
    health = Health(settings.resync_seconds)
    feed, removals, board = MirrorFeed(mirror, projection), Removals(objects), ProgressBoard(mirror)
    slots = Slots(projection, settings, cluster.clock.now)
    duplicates = Duplicates(settings.default_model)
    intake = Intake(projection, queue, slots, feed, removals, duplicates, settings.stemyard_install_id)
    elector = Elector(cluster, settings.pod_namespace, settings.lease_name, settings.pod_name)
    cluster.fence = elector.fence
    sender, keychain = Sender(settings), Keychain(settings)
    deliveries = Deliveries(projection, Letters(settings, objects, keychain), sender, elector.fence, cluster.clock.now)
    courier, delivery_log = Courier(settings, deliveries.attempt), DeliveryLog(mirror)
    metrics = Metrics(Readings(projection, queue, health, feed, elector, courier))
    cluster.on_answer = metrics.called
    deliveries.on_attempt = _both(delivery_log.note, metrics.attempted)
    tracing = Tracing.open()
    pace = Pace(mirror, settings.max_active)
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
        feed=feed,
        removals=removals,
        intake=intake,
        resync=Resync(cluster, projection, intake, queue, feed, health, settings.namespaces),
        reconciler=Reconciler(settings, cluster, objects, projection, intake, slots, board, courier, wrote, keychain),
        desk=Desk(Callers(cluster, projection, settings.namespaces), objects, board, settings),
        health=health,
        metrics=metrics,
        pace=pace,
        sweeper=sweeper,
        elector=elector,
        courier=courier,
        delivery_log=delivery_log,
        sender=sender,
        job_watches=tuple(JobWatch(cluster, intake, health, namespace) for namespace in settings.namespaces),
        tracing=tracing,
    )


def _each(*told: Callable[[Account], None]) -> Callable[[Account], None]:
    def wrote(account: Account) -> None:
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
        parts = build(settings, await Cluster.connect())
        stack.push_async_callback(parts.cluster.close)
        stack.push_async_callback(parts.mirror.close)
        stack.push_async_callback(parts.objects.close)
        stack.push_async_callback(parts.sender.close)
        stack.push_async_callback(parts.courier.close)
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
        asyncio.create_task(watch(parts.intake, parts.health, parts.settings, started), name="watch"),
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
        parts.feed.active = parts.removals.active = True
        await see_everything(parts)
        parts.intake.wake_all()
        parts.feed.tell_all()
        group.create_task(work(parts.queue, parts.metrics.timed(parts.reconciler.reconcile), parts.settings.workers))
        group.create_task(work(parts.removals.queue, parts.removals.remove, 1))
        group.create_task(parts.feed.run())
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
