"""The resync: every few minutes the whole truth, page by page, whatever the watches may have missed."""

import asyncio
import logging
from contextlib import suppress

from stemyard_operator.clients.kubernetes import KubernetesClient, jobs_path, separations_path
from stemyard_operator.errors import ConflictError, NotFoundError, OperatorError
from stemyard_operator.health import Health
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.job_watch import JOB_SELECTOR
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.model.job import is_abandoned
from stemyard_operator.model.separation import Resource
from stemyard_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)


class Resync:
    """Lists everything, takes in what is news, drops what is gone, and wakes every separation that is at work."""

    def __init__(
        self,
        cluster: KubernetesClient,
        cluster_cache: ClusterCache,
        event_handlers: EventHandlers,
        queue: WorkQueue[Key],
        mirror_writer: MirrorWriter,
        health: Health,
        namespaces: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._cluster_cache = cluster_cache
        self._event_handlers = event_handlers
        self._queue = queue
        self._mirror_writer = mirror_writer
        self._health = health
        self._namespaces = namespaces
        self._one_at_a_time = asyncio.Lock()

    async def run(self, seconds: float) -> None:
        """Resync for ever, so many seconds apart; a failed one is told and tried again next time."""
        while True:
            try:
                await self.once()
            except OperatorError as error:
                self._health.worked()
                log.warning("resync failed: %s", error)
            await asyncio.sleep(seconds)

    async def once(self) -> None:
        """Resync now.

        Raises:
            ClusterError: the API server does not answer; what was known stays known.
        """
        async with self._one_at_a_time:
            for namespace in self._namespaces:
                await self._jobs(namespace)
                await self._separations(namespace)
            self._wake()
            await self._mirror_writer.check()
        self._health.synced()

    async def _separations(self, namespace: str) -> None:
        # known before the list is read, and not in it: deleted; what came since is not judged
        unseen = self._cluster_cache.uids(namespace)
        async for page in self._cluster.pages(separations_path(namespace)):
            for resource in page:
                unseen.discard(resource["metadata"]["uid"])
                self._event_handlers.separation(resource)
        for uid in unseen:
            self._event_handlers.separation_gone(uid)

    async def _jobs(self, namespace: str) -> None:
        unseen = self._cluster_cache.job_uids(namespace)
        async for page in self._cluster.pages(jobs_path(namespace), JOB_SELECTOR):
            for resource in page:
                unseen.discard(resource["metadata"]["uid"])
                self._event_handlers.job(resource)
                if self._mirror_writer.active and is_abandoned(resource):
                    await self._remove(resource)
        for uid in unseen:
            self._event_handlers.job_gone(uid)

    async def _remove(self, job: Resource) -> None:
        """Remove a Job that would work for nobody; its pods would hold a node until they end."""
        metadata = job["metadata"]
        with suppress(NotFoundError, ConflictError):
            await self._cluster.delete_job(metadata["namespace"], metadata["name"], metadata["uid"])
            log.warning("removed a job that nobody owns", extra={"job": metadata["name"]})

    def _wake(self) -> None:
        for one in self._cluster_cache.known():
            if one.at_work:
                self._queue.add(one.key)
