"""Ends useless workers: no song waits for them, they get no node, or they keep a song that they must drop.

All others end by themselves. What ends one here is decided from the workers alone, so no song's reconcile has to.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ConflictError, NotFoundError, OperatorError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.model.job import Job

DROP_SECONDS: Final = 10.0
"""Time within which a worker must drop a song that was cancelled, suspended or deleted."""
_LOOK_SECONDS: Final = 5.0
_UNWANTED: Final = timedelta(seconds=30)
"""Age from which a worker that has not started is ended if no song waits for it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerKeeper:
    """Looks at all workers every few seconds; run by the leader only."""

    settings: Settings
    cluster: KubernetesClient
    cluster_cache: ClusterCache
    event_handlers: EventHandlers
    leases: LeaseBook
    now: Callable[[], datetime]

    async def run(self) -> None:
        """Look forever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for worker, why in self.useless():
                await self._end(worker, why)

    def useless(self) -> list[tuple[Job, str]]:
        """Return the workers to be ended, and why."""
        found = ((worker, self._why(worker)) for worker in self._live())
        return [(worker, why) for worker, why in found if why]

    def _live(self) -> Iterable[Job]:
        namespaces = self.settings.namespaces
        workers = (worker for namespace in namespaces for worker in self.cluster_cache.workers(namespace))
        return (worker for worker in workers if worker.live and worker.deleted_at is None)

    def _why(self, worker: Job) -> str:
        if self.leases.longest_drop(worker) > DROP_SECONDS:
            return "it goes on with a song that it does not hold any more"
        if worker.ready or self.leases.is_busy(worker):
            return ""
        if worker.created + _UNWANTED <= self.now() and not self.leases.is_wanted(worker):
            return "no song waits for it"
        timeout = self.settings.unscheduled_timeout_seconds
        if timeout and not worker.queue and worker.since + timedelta(seconds=timeout) <= self.now():
            self.leases.give_up(worker)
            return f"it has not started within {timeout:g} seconds"
        return ""

    async def _end(self, worker: Job, why: str) -> None:
        try:
            await self.cluster.delete_job(worker.namespace, worker.name, worker.uid)
        except (NotFoundError, ConflictError):
            self.event_handlers.job_gone(worker.uid)
            return
        except OperatorError as error:
            log.warning("a worker could not be ended: %s", error, extra={"job": worker.name})
            return
        log.info("ending worker: %s", why, extra={"job": worker.name, "key": f"{worker.namespace}/{worker.name}"})
