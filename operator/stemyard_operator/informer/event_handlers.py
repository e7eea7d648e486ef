"""Applies events to the cluster cache, notifies listeners and requeues the SeparationJobs concerned."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stemyard_contract.handover import WorkStage
from stemyard_operator.informer.cache_entry import Key, key_of
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.informer.upload_index import UploadIndex
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
        uploads: index of the uploads that are needed.
        leases: which songs wait for a worker or are held by one.
        next_in_line: returns the keys of those that may start a Job of a stage now.
        on_change: called with the uid of a SeparationJob that has a newer state.
        on_end: each is called with the uid of a SeparationJob whose run has ended.
        on_lost: called with the uid of a SeparationJob in a namespace that can no longer be read.
        on_forget: each is called with the uid of a SeparationJob that is gone, and drops what it keeps of it.
        on_delete: each is called with the last state of a deleted SeparationJob, if that is known.
    """

    cluster_cache: ClusterCache
    queue: WorkQueue[Key]
    duplicates: DuplicateIndex
    uploads: UploadIndex
    leases: LeaseBook
    next_in_line: Callable[[WorkStage], Iterable[Key]]
    on_change: Callable[[str], None]
    on_end: tuple[Callable[[str], None], ...]
    on_lost: Callable[[str], None]
    on_forget: tuple[Callable[[str], None], ...]
    on_delete: tuple[Callable[[Resource], None], ...]

    def separation(self, resource: Resource, delay: float = 0) -> bool:
        """Apply a SeparationJob, to be reconciled after so many seconds; return whether it was newer than known."""
        changed = self.cluster_cache.apply(resource)
        if changed:
            uid = resource["metadata"]["uid"]
            self.on_change(uid)
            entry = self.cluster_cache.entry(uid)
            if entry is not None and not entry.at_work:
                for end in self.on_end:
                    end(uid)
            self.queue.add(key_of(resource), delay)
            self.duplicates.learn(resource)
            self.uploads.learn(resource)
            self.leases.learn(resource)
            self._requeue_duplicates(uid)
        return changed

    def separation_gone(self, uid: str, last: Resource | None = None) -> None:
        """Drop a deleted SeparationJob; `last` is its last state, if the caller has it."""
        known = self.cluster_cache.drop(uid)
        self._forget(uid)
        resource = last or known
        if resource is None:
            return
        for deleted in self.on_delete:
            deleted(resource)
        self.queue.add(key_of(resource))

    def separation_missing(self, uid: str) -> None:
        """Drop what is kept of a SeparationJob that was not found by its name, until it is received again.

        One response may be wrong, and removed objects do not come back: only an event or a list makes it a deletion.
        """
        known = self.cluster_cache.forget(uid)
        self._forget(uid)
        if known is not None:
            self.queue.add(key_of(known))

    def job(self, resource: Resource, delay: float = 0) -> None:
        """Apply a Job, whose SeparationJob is reconciled after so many seconds; Jobs of others are ignored."""
        job = self.cluster_cache.apply_job(resource)
        if job is not None:
            self._job_changed(job, delay)

    def job_read(self, resource: Resource) -> None:
        """Apply a Job that has just been read by its name: it exists, even if the watch said that it is gone."""
        self.cluster_cache.revive(resource["metadata"]["uid"])
        self.job(resource)

    def job_gone(self, uid: str) -> None:
        """Drop a deleted Job."""
        job = self.cluster_cache.drop_job(uid)
        if job is not None:
            self._job_changed(job)

    def requeue_all(self, namespace: str | None = None, *, finished: bool = True) -> None:
        """Queue every SeparationJob, or those of one namespace, oldest first; perhaps without the finished ones."""
        for entry in self.cluster_cache.known():
            if namespace in {None, entry.key[0]} and (finished or entry.at_work):
                self.queue.add(entry.key)

    def namespace_lost(self, namespace: str) -> None:
        """Requeue what a namespace that can no longer be read made wait: its own waiting and places count no more."""
        for entry in self.cluster_cache.known():
            if entry.key[0] == namespace:
                self.on_lost(entry.uid)
        for stage in WorkStage:
            for key in self.next_in_line(stage):
                self.queue.add(key)

    def _forget(self, uid: str) -> None:
        for job in self.cluster_cache.jobs_of(uid):
            if not job.watched:
                self.job_gone(job.uid)
        self._requeue_duplicates(uid)
        self.duplicates.forget(uid)
        self.uploads.forget(uid)
        self.leases.forget(uid)
        for forget in self.on_forget:
            forget(uid)

    def _requeue_duplicates(self, uid: str) -> None:
        """Queue unfinished SeparationJobs that may wait for this one."""
        for other in self.duplicates.others(uid):
            entry = self.cluster_cache.entry(other)
            if entry is not None and entry.at_work:
                self.queue.add(entry.key)

    def _job_changed(self, job: Job, delay: float = 0) -> None:
        requeue(self.cluster_cache, self.queue, job.owner, delay)
        for uid in self.leases.songs_of(job) if job.shape else ():
            requeue(self.cluster_cache, self.queue, uid, delay)
        for key in self.next_in_line(job.stage):
            self.queue.add(key)
