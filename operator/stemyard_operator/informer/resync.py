"""The resync: every few minutes the whole truth, page by page, whatever the watches may have missed."""

import asyncio
import logging
from contextlib import suppress

from stemyard_operator.clients.kubernetes import Cluster, jobs_path, separations_path
from stemyard_operator.errors import ConflictError, NotFoundError, OperatorError
from stemyard_operator.health import Health
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import Projection
from stemyard_operator.informer.event_handlers import Intake
from stemyard_operator.informer.job_watch import JOB_SELECTOR
from stemyard_operator.mirror.writer import MirrorFeed
from stemyard_operator.model.job import is_abandoned
from stemyard_operator.model.separation import Resource
from stemyard_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)


class Resync:
    """Lists everything, takes in what is news, drops what is gone, and wakes every separation that is at work."""

    def __init__(
        self,
        cluster: Cluster,
        projection: Projection,
        intake: Intake,
        queue: WorkQueue[Key],
        feed: MirrorFeed,
        health: Health,
        namespaces: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._projection = projection
        self._intake = intake
        self._queue = queue
        self._feed = feed
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
            await self._feed.check()
        self._health.synced()

    async def _separations(self, namespace: str) -> None:
        # known before the list is read, and not in it: deleted; what came since is not judged
        unseen = self._projection.uids(namespace)
        async for page in self._cluster.pages(separations_path(namespace)):
            for resource in page:
                unseen.discard(resource["metadata"]["uid"])
                self._intake.separation(resource)
        for uid in unseen:
            self._intake.separation_gone(uid)

    async def _jobs(self, namespace: str) -> None:
        unseen = self._projection.job_uids(namespace)
        async for page in self._cluster.pages(jobs_path(namespace), JOB_SELECTOR):
            for resource in page:
                unseen.discard(resource["metadata"]["uid"])
                self._intake.job(resource)
                if self._feed.active and is_abandoned(resource):
                    await self._remove(resource)
        for uid in unseen:
            self._intake.job_gone(uid)

    async def _remove(self, job: Resource) -> None:
        """Remove a Job that would work for nobody; its pods would hold a node until they end."""
        metadata = job["metadata"]
        with suppress(NotFoundError, ConflictError):
            await self._cluster.delete_job(metadata["namespace"], metadata["name"], metadata["uid"])
            log.warning("removed a job that nobody owns", extra={"job": metadata["name"]})

    def _wake(self) -> None:
        for one in self._projection.known():
            if one.at_work:
                self._queue.add(one.key)
