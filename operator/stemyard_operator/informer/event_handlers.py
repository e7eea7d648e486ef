"""Applies events to the cluster cache, notifies listeners and requeues the SeparationJobs concerned."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stemyard_contract.handover import WorkStage
from stemyard_operator.informer.cache_entry import Key, key_of
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.model.job import Job
from stemyard_operator.model.separation import Resource
from stemyard_operator.workqueue import WorkQueue


def requeue(cluster_cache: ClusterCache, queue: WorkQueue[Key], uid: str, delay: float = 0) -> None:
    """Queue a SeparationJob, if it still exists, to be reconciled after so many seconds."""
    entry = cluster_cache.entry(uid)
    if entry is not None:
        queue.add(entry.key, delay)


@dataclass(frozen=True, slots=True)
class EventHandlers:
    """Level-triggered: an event says only that something may have changed.

    Events of watches, lists of the resync and responses to the operator's own writes all come here.

    Args:
        cluster_cache: holds the newest known state of each object.
        queue: keys of SeparationJobs to reconcile.
        duplicates: index of SeparationJobs of the same recording.
        next_in_line: returns the keys of those that may start a Job of a stage now.
        on_change: called with the uid of a SeparationJob that has a newer state.
        on_forget: each is called with the uid of a SeparationJob that was deleted, and drops what it keeps of it.
        on_delete: each is called with the last state of a deleted SeparationJob, if that is known.
    """

    cluster_cache: ClusterCache
    queue: WorkQueue[Key]
    duplicates: DuplicateIndex
    next_in_line: Callable[[WorkStage], Iterable[Key]]
    on_change: Callable[[str], None]
    on_forget: tuple[Callable[[str], None], ...]
    on_delete: tuple[Callable[[Resource], None], ...]

    def separation(self, resource: Resource, delay: float = 0) -> bool:
        """Apply a SeparationJob, to be reconciled after so many seconds; return whether it was newer than known."""
        changed = self.cluster_cache.apply(resource)
        if changed:
            uid = resource["metadata"]["uid"]
            self.on_change(uid)
            self.queue.add(key_of(resource), delay)
            self.duplicates.learn(resource)
            self._requeue_duplicates(uid)
        return changed

    def separation_gone(self, uid: str, last: Resource | None = None) -> None:
        """Drop a deleted SeparationJob; `last` is its last state, if the caller has it."""
        known = self.cluster_cache.drop(uid)
        resource = last or known
        self._requeue_duplicates(uid)
        self.duplicates.forget(uid)
        for forget in self.on_forget:
            forget(uid)
        if resource is None:
            return
        for deleted in self.on_delete:
            deleted(resource)
        self.queue.add(key_of(resource))

    def job(self, resource: Resource, delay: float = 0) -> None:
        """Apply a Job, whose SeparationJob is reconciled after so many seconds; Jobs of others are ignored."""
        job = self.cluster_cache.apply_job(resource)
        if job is not None:
            self._job_changed(job, delay)

    def job_gone(self, uid: str) -> None:
        """Drop a deleted Job."""
        job = self.cluster_cache.drop_job(uid)
        if job is not None:
            self._job_changed(job)

    def requeue_all(self) -> None:
        """Queue every SeparationJob, oldest first."""
        for entry in self.cluster_cache.known():
            self.queue.add(entry.key)

    def _requeue_duplicates(self, uid: str) -> None:
        """Queue unfinished SeparationJobs that may wait for this one."""
        for other in self.duplicates.others(uid):
            entry = self.cluster_cache.entry(other)
            if entry is not None and entry.at_work:
                self.queue.add(entry.key)

    def _job_changed(self, job: Job, delay: float = 0) -> None:
        requeue(self.cluster_cache, self.queue, job.owner, delay)
        for key in self.next_in_line(job.stage):
            self.queue.add(key)
