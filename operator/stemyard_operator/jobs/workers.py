"""Workers: which songs may share one, and the manifests of their Jobs. Pure."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import worker_name
from stemyard_contract.leasing import PUBLISHING_LIMIT, WORKER_VARIABLE, WorkerAssignment
from stemyard_contract.separationjob import LABEL_COMPONENT, LABEL_PROFILE, LABEL_SHAPE, LABEL_STAGE, Output
from stemyard_operator.config.profiles import Worker
from stemyard_operator.config.settings import Settings
from stemyard_operator.jobs.disk import mebibytes, separate_workspace, workspace
from stemyard_operator.jobs.kueue import queue_of
from stemyard_operator.jobs.manifest import JOB_LABELS, Creation, PodTask, job_manifest, model_of
from stemyard_operator.model.separation import Separation

_LONGEST_SONG_SECONDS: Final = 900
"""Length of the songs that a worker's disk is made for, as 24-bit wav."""
_BESIDE_PREFETCH: Final = 1 + PUBLISHING_LIMIT
"""Songs whose files a worker has beside those it prefetches: one is being separated, the others published."""
LAST_SONG_SECONDS: Final = 3600
"""Seconds that a worker may run on for its last song."""
_DIGITS: Final = 10
_EPHEMERAL: Final = "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The worker that a song needs."""

    shape: str
    """Digest of everything that the pods of two songs must have in common to be one: songs of one shape share workers.

    Above all the namespace, the API key where results are not shared, profile, image, model, quality, stems and queue.
    """
    bounds: Worker
    manifest: dict[str, Any]
    """Its Job without a name."""
    queue: str = ""

    def creation(self, number: int) -> Creation:
        """Return the Job of a worker; `number` counts the workers of the shape."""
        name = worker_name(self.shape, number)
        manifest = {**self.manifest, "metadata": {**self.manifest["metadata"], "name": name}}
        return Creation(WorkStage.SEPARATE, name, manifest, self.queue, self.shape)


def fits_worker(separation: Separation, settings: Settings) -> bool:
    """Return whether the files of a fetched song need no more room than a worker has for each of its songs."""
    return workspace(separation, WorkStage.SEPARATE, settings) <= _song_bytes(separation)


def worker_plan(separation: Separation, settings: Settings) -> WorkerPlan | None:
    """Return the worker that a song needs; None if its profile has no workers."""
    profile = settings.profiles.get(separation.spec.profile)
    bounds = profile.separate.worker if profile is not None else None
    if bounds is None:
        return None
    unnamed = json.dumps([separation.owner, _manifest(separation, settings, bounds, "")], sort_keys=True)
    shape = hashlib.sha256(unnamed.encode()).hexdigest()[:_DIGITS]
    manifest = _manifest(separation, settings, bounds, shape)
    return WorkerPlan(shape, bounds, manifest, queue_of(separation, WorkStage.SEPARATE, settings))


def _song_bytes(separation: Separation) -> int:
    return separate_workspace(_LONGEST_SONG_SECONDS, len(separation.spec.stems), Output(format="wav"))


def _manifest(separation: Separation, settings: Settings, bounds: Worker, shape: str) -> dict[str, Any]:
    work = _song_bytes(separation) * (bounds.prefetch + _BESIDE_PREFETCH)
    own = settings.profiles[separation.spec.profile].separate
    amounts = {"requests": own.resources.requests, "limits": own.resources.limits}
    assignment = WorkerAssignment(
        shape=shape,
        model=model_of(separation.spec, settings).name,
        quality=separation.spec.quality,
        stems=sorted(separation.spec.stems),
        desk_url=settings.desk_url.rstrip("/"),
        **bounds.model_dump(),
    )
    task = PodTask(
        variable=WORKER_VARIABLE,
        text=assignment.dump(),
        deadline=int(bounds.max_seconds) + LAST_SONG_SECONDS,
        disk={kind: {_EPHEMERAL: given.get(_EPHEMERAL, mebibytes(work))} for kind, given in amounts.items()},
        work_bytes=work,
    )
    labels = {
        **JOB_LABELS,
        LABEL_COMPONENT: "separator",
        LABEL_STAGE: WorkStage.SEPARATE,
        LABEL_PROFILE: separation.spec.profile.rstrip("-."),
        LABEL_SHAPE: shape,
    }
    return job_manifest(separation, WorkStage.SEPARATE, settings, task, labels)
