"""In-memory cache of the cluster: trimmed SeparationJobs and Jobs, each in its newest known version."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from stemyard_contract.handover import WorkStage
from stemyard_operator.informer.cache_entry import CacheEntry, Key, entry_of, version_of
from stemyard_operator.model.job import Job, job_of
from stemyard_operator.model.separation import Resource, Separation, separation_of

_REMEMBERED: Final = 4096
"""uids of deleted objects that are kept, so that a late response does not bring them back."""
_TYPED: Final = 256
"""Typed SeparationJobs that are kept: those at work are read several times in short order."""


class ClusterCache:
    """Updated by events, by responses to own writes and by the resync; older versions never replace newer ones.

    Args:
        api_namespace: the namespace of API tracks.
        is_known: returns whether what is cached of a namespace still counts.
    """

    def __init__(self, api_namespace: str, is_known: Callable[[str], bool] = lambda _: True) -> None:
        self._api_namespace = api_namespace
        self._is_known = is_known
        self._separations: dict[str, CacheEntry] = {}
        self._names: dict[Key, str] = {}
        self._typed: dict[str, Separation] = {}
        self._jobs: dict[str, Job] = {}
        self._live: dict[WorkStage, dict[str, Job]] = {stage: {} for stage in WorkStage}
        self._of_owner: dict[str, set[str]] = {}
        self._gone: dict[str, str] = {}
        """Namespaces of deleted SeparationJobs and Jobs, by uid; "" where it was not known."""

    # SeparationJobs

    def known(self) -> list[CacheEntry]:
        """Return all SeparationJobs, oldest first."""
        return sorted(self._separations.values(), key=lambda entry: entry.created)

    def phases(self) -> Iterator[str]:
        """Yield the phase of each SeparationJob as last written; one without a status is pending."""
        return (entry.phase for entry in self._separations.values())

    def webhooks_pending(self) -> int:
        """Return how many deliveries are neither delivered nor given up, as last written."""
        return sum(entry.webhooks_pending for entry in self._separations.values())

    def uids(self, namespace: str) -> set[str]:
        """Return the uids of the SeparationJobs of a namespace."""
        return {uid for uid, entry in self._separations.items() if entry.key[0] == namespace}

    def at(self, key: Key) -> Separation | None:
        """Return the SeparationJob of that name, typed.

        Raises:
            pydantic.ValidationError: as `typed`.
        """
        return self.typed(self._names.get(key, ""))

    def resource_at(self, key: Key) -> Resource | None:
        """Return the SeparationJob of that name as received."""
        return self.separation(self._names.get(key, ""))

    def entry(self, uid: str) -> CacheEntry | None:
        """Return the SeparationJob with that uid as it is kept."""
        return self._separations.get(uid)

    def separation(self, uid: str) -> Resource | None:
        """Return the SeparationJob with that uid."""
        known = self._separations.get(uid)
        return None if known is None else known.resource()

    def typed(self, uid: str) -> Separation | None:
        """Return the SeparationJob with that uid, typed.

        Raises:
            pydantic.ValidationError: it does not have the schema of its CRD.
        """
        known, typed = self._separations.get(uid), self._typed.pop(uid, None)
        if known is None:
            return None
        if typed is None or typed.resource_version != known.version:
            typed = separation_of(known.resource(), self._api_namespace)
        self._typed[uid] = typed
        if len(self._typed) > _TYPED:
            del self._typed[next(iter(self._typed))]
        return typed

    def readable(self, uid: str) -> Separation | None:
        """Return the SeparationJob with that uid, typed; None also if it does not have the schema of its CRD."""
        try:
            return self.typed(uid)
        except ValidationError:
            return None

    def seconds_since_received(self, uid: str, version: int) -> float:
        """Return the seconds since this version of a SeparationJob was received, infinite if it is not the newest."""
        known = self._separations.get(uid)
        return time.monotonic() - known.received_at if known is not None and known.version == version else math.inf

    def apply(self, resource: Resource) -> bool:
        """Store a SeparationJob; return whether it was newer than known."""
        uid, version = resource["metadata"]["uid"], version_of(resource)
        before = self._separations.get(uid)
        if uid in self._gone or (before is not None and before.version >= version):
            return False
        known = self._separations[uid] = entry_of(resource, self._api_namespace)
        current = self._separations.get(self._names.get(known.key, ""))
        if current is None or current.created <= known.created:
            self._names[known.key] = uid
        return True

    def drop(self, uid: str) -> Resource | None:
        """Drop a deleted SeparationJob, which does not come back; return its last known state."""
        known = self._separations.get(uid)
        self._remember_gone(uid, known.key[0] if known is not None else "")
        return self.forget(uid)

    def forget(self, uid: str) -> Resource | None:
        """Drop a SeparationJob until it is received again; return its last known state."""
        known = self._separations.pop(uid, None)
        self._typed.pop(uid, None)
        if known is None:
            return None
        if self._names.get(known.key) == uid:
            del self._names[known.key]
        return known.resource()

    # Jobs

    def jobs_of(self, owner: str) -> tuple[Job, ...]:
        """Return the Jobs of a SeparationJob, by its uid; what names it as owner from another namespace is forged."""
        found, entry = (self._jobs[uid] for uid in self._of_owner.get(owner, ())), self._separations.get(owner)
        return tuple(job for job in found if entry is None or job.namespace == entry.key[0])

    def workers(self, namespace: str, shape: str = "") -> tuple[Job, ...]:
        """Return the workers of a namespace, those that have ended included, perhaps of one shape only."""
        found = (self._jobs[uid] for uid in self._of_owner.get("", ()))
        return tuple(job for job in found if job.namespace == namespace and shape in {"", job.shape})

    def job_uids(self, namespace: str) -> set[str]:
        """Return the uids of the Jobs of a namespace that a list of its Jobs must contain."""
        return {uid for uid, job in self._jobs.items() if job.namespace == namespace and job.watched}

    def live(self, stage: WorkStage) -> Iterator[Job]:
        """Yield the Jobs of a stage that may still start or run pods, in namespaces that are known.

        Jobs that state an owner which never existed, or one in another namespace, are not the operator's.
        """
        return (job for job in self._live[stage].values() if self._is_known(job.namespace) and self._is_owned(job))

    def _is_owned(self, job: Job) -> bool:
        entry = self._separations.get(job.owner)
        if entry is not None:
            return job.namespace == entry.key[0]
        return job.shape != "" or self._gone.get(job.owner) == job.namespace

    def apply_job(self, resource: Resource) -> Job | None:
        """Store a Job; return it if it is one of the operator's and something other than its version changed."""
        uid, version = resource["metadata"]["uid"], version_of(resource)
        known = self._jobs.get(uid)
        if uid in self._gone or (known is not None and known.resource_version >= version):
            return None
        job = job_of(resource)
        if job is None:
            return None
        self._jobs[uid] = job
        if known is not None and replace(known, resource_version=version) == job:
            return None
        if job.live:
            self._live[job.stage][job.uid] = job
        else:
            self._live[job.stage].pop(job.uid, None)
        self._of_owner.setdefault(job.owner, set()).add(job.uid)
        return job

    def drop_job(self, uid: str) -> Job | None:
        """Drop a deleted Job; return its last known state."""
        known = self._jobs.pop(uid, None)
        self._remember_gone(uid, known.namespace if known is not None else "")
        if known is not None:
            self._live[known.stage].pop(uid, None)
            siblings = self._of_owner[known.owner]
            siblings.discard(uid)
            if not siblings:
                del self._of_owner[known.owner]
        return known

    # both

    def gone(self) -> frozenset[str]:
        """Return the uids of deleted objects."""
        return frozenset(self._gone)

    def revive(self, uid: str) -> None:
        """Forget that an object is gone: a read or a list that began later has it."""
        self._gone.pop(uid, None)

    def _remember_gone(self, uid: str, namespace: str) -> None:
        self._gone[uid] = namespace
        if len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]
