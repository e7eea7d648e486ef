"""The resync: lists everything every few minutes, page by page, whatever the watches may have missed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from stemyard_operator.clients.kubernetes import KubernetesClient, jobs_path, separations_path
from stemyard_operator.errors import ConflictError, NotFoundError, OperatorError
from stemyard_operator.health import Health
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.job_watch import JOB_SELECTOR
from stemyard_operator.model.job import is_orphaned
from stemyard_operator.model.separation import Resource
from stemyard_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resync:
    """Applies what is newer, drops what is gone, and requeues every unfinished SeparationJob.

    `lease_held` returns whether this replica leads: only the leader deletes abandoned Jobs. `on_complete` is awaited
    after each complete list.
    """

    cluster: KubernetesClient
    cluster_cache: ClusterCache
    event_handlers: EventHandlers
    queue: WorkQueue[Key]
    health: Health
    namespaces: tuple[str, ...]
    lease_held: Callable[[], bool]
    on_complete: Callable[[], Awaitable[None]]
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def run(self, seconds: float) -> None:
        """Resync forever, so many seconds apart; a failed resync is logged and repeated next time."""
        while True:
            try:
                await self.once()
            except OperatorError as error:
                self.health.worked()
                log.warning("resync failed: %s", error)
            await asyncio.sleep(seconds)

    async def once(self) -> None:
        """Resync now, never twice at a time.

        Raises:
            KubernetesError: the API server does not answer; the cache keeps what it has.
        """
        async with self._lock:
            for namespace in self.namespaces:
                await self._list_jobs(namespace)
                await self._list_separations(namespace)
            self._requeue_unfinished()
            await self.on_complete()
        self.health.synced()

    async def _list_separations(self, namespace: str) -> None:
        # cached before the list is read, and not in it: deleted; newer entries are not compared with the list
        unseen = self.cluster_cache.uids(namespace)
        async for page in self.cluster.pages(separations_path(namespace)):
            for resource in page:
                unseen.discard(resource["metadata"]["uid"])
                self.event_handlers.separation(resource)
        for uid in unseen:
            self.event_handlers.separation_gone(uid)

    async def _list_jobs(self, namespace: str) -> None:
        unseen = self.cluster_cache.job_uids(namespace)
        async for page in self.cluster.pages(jobs_path(namespace), JOB_SELECTOR):
            for resource in page:
                unseen.discard(resource["metadata"]["uid"])
                self.event_handlers.job(resource)
                if self.lease_held() and is_orphaned(resource):
                    await self._delete(resource)
        for uid in unseen:
            self.event_handlers.job_gone(uid)

    async def _delete(self, job: Resource) -> None:
        """Delete a Job whose owner is gone; its pods would occupy a node until they end."""
        metadata = job["metadata"]
        with suppress(NotFoundError, ConflictError):
            await self.cluster.delete_job(metadata["namespace"], metadata["name"], metadata["uid"])
            log.warning("deleted an abandoned job", extra={"job": metadata["name"]})

    def _requeue_unfinished(self) -> None:
        for entry in self.cluster_cache.known():
            if entry.at_work:
                self.queue.add(entry.key)
