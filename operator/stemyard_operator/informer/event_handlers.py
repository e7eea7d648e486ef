"""Where news of the cluster comes in, from watch, resync and our own writes alike: keep it, and wake who must act."""

from collections.abc import Callable
from contextlib import suppress

from pydantic import ValidationError

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import SeparationJobSpec, SeparationJobStatus
from stemyard_operator.decision.artifacts import objects_of
from stemyard_operator.informer.cache_entry import Key, key_of
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.maintenance.deletions import Deletions
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.model.job import Job
from stemyard_operator.model.separation import Resource
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.workqueue import WorkQueue


class EventHandlers:
    """Level-triggered: an event says only that something may have changed, never what to do."""

    def __init__(
        self,
        cluster_cache: ClusterCache,
        queue: WorkQueue[Key],
        slots: ConcurrencyLimiter,
        mirror_writer: MirrorWriter,
        deletions: Deletions,
        duplicates: DuplicateIndex,
        install_id: str,
    ) -> None:
        self._cluster_cache = cluster_cache
        self._queue = queue
        self._concurrency = slots
        self._mirror_writer = mirror_writer
        self._deletions = deletions
        self.duplicates = duplicates
        self._install_id = install_id
        self.on_gone: Callable[[str], None] = lambda _: None

    def separation(self, resource: Resource, delay: float = 0) -> bool:
        """Take in a SeparationJob, to be decided about after so many seconds; return whether it was news."""
        news = self._cluster_cache.apply(resource)
        if news:
            self._mirror_writer.changed(resource["metadata"]["uid"])
            self._queue.add(key_of(resource), delay)
            self.duplicates.learn(resource)
            self._wake_duplicates(resource["metadata"]["uid"])
        return news

    def separation_gone(self, uid: str, last: Resource | None = None) -> None:
        """Take in that a SeparationJob was deleted; `last` is its last state, where the caller has it."""
        resource = last or self._cluster_cache.separation(uid)
        self._cluster_cache.drop(uid)
        self._concurrency.leave(uid)
        self._wake_duplicates(uid)
        self.duplicates.forget(uid)
        self.on_gone(uid)
        if resource is None:
            return
        self._mirror_writer.gone(resource)
        with suppress(ValidationError):
            spec = SeparationJobSpec.model_validate(resource["spec"])
            status = SeparationJobStatus.model_validate(resource.get("status") or {})
            self._deletions.deleted(uid, objects_of(spec, status, self._install_id))
        self._queue.add(key_of(resource))

    def job(self, resource: Resource, delay: float = 0) -> None:
        """Take in a Job, whose SeparationJob is decided about after so many seconds; others are left alone."""
        job = self._cluster_cache.apply_job(resource)
        if job is not None:
            self._changed(job, delay)

    def job_gone(self, uid: str) -> None:
        """Take in that a Job is no longer there."""
        job = self._cluster_cache.drop_job(uid)
        if job is not None:
            self._changed(job)

    def wake(self, resource: Resource) -> None:
        """Have one SeparationJob decided about."""
        self._queue.add(key_of(resource))

    def wake_all(self) -> None:
        """Have every SeparationJob decided about, oldest first."""
        for one in self._cluster_cache.known():
            self._queue.add(one.key)

    def _wake_duplicates(self, uid: str) -> None:
        """Have those decided about that may wait for this one."""
        for other in self.duplicates.others(uid):
            resource = self._cluster_cache.separation(other)
            if resource is not None and not (resource.get("status") or {}).get("finishedAt"):
                self._queue.add(key_of(resource))

    def _changed(self, job: Job, delay: float = 0) -> None:
        owner = self._cluster_cache.separation(job.owner)
        if owner is not None:
            self._queue.add(key_of(owner), delay)
        self._wake(job.stage)

    def _wake(self, stage: WorkStage) -> None:
        for key in self._concurrency.next_in_line(stage):
            self._queue.add(key)
