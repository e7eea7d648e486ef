"""Typed view of a fetch or separate Job, and of a worker's. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json

from stemyard_contract.handover import (
    ASSIGNMENT_VARIABLE,
    MarkReference,
    WorkStage,
)
from stemyard_contract.identity import job_name, worker_name
from stemyard_contract.leasing import WORKER_VARIABLE
from stemyard_contract.separationjob import (
    KIND,
    LABEL_JOB,
    LABEL_MANAGED_BY,
    LABEL_PROFILE,
    LABEL_QUEUE,
    MANAGED_BY,
)
from stemyard_operator.config.profiles import quantity_bytes
from stemyard_operator.model.separation import Resource, controller_of, parse_time

_JOB_NAME: Final = re.compile(r"-(?P<stage>[fs])(?P<run>\d{1,6})-(?P<attempt>\d{1,6})$")
_WORKER_NAME: Final = re.compile(r"-(?P<number>\d{1,9})$")
_STUCK: Final = timedelta(seconds=40)
"""Several times the grace period of a separator pod."""
_STAGES: Final = {stage[0]: stage for stage in WorkStage}


@dataclass(frozen=True, slots=True)
class Job:
    """A fetch or separate Job, or a worker's. `ended` is `Complete` or `Failed` once it and its pods have ended."""

    name: str
    namespace: str
    uid: str
    owner: str
    """uid of its SeparationJob; "" for a worker, which has none."""
    resource_version: int
    stage: WorkStage
    run: int
    attempt: int
    created: datetime
    since: datetime
    """Since when it is suspended, or since when it may have a pod: its creation, or a later resume."""
    deleted_at: datetime | None = None
    ready: int = 0
    ended: str | None = None
    ended_at: datetime | None = None
    reason: str = ""
    memory: int | None = None
    """Memory limit of its container, in bytes."""
    disk: int | None = None
    """Limit of ephemeral storage of its container, in bytes."""
    fetched: MarkReference | None = None
    """Commit mark of fetch that a separate Job was given."""
    queue: str = ""
    """Kueue queue of the Job."""
    suspended: bool = False
    watched: bool = True
    """Whether it has the label that lists and watches select by; another client may have removed or replaced it."""

    shape: str = ""
    """What the songs of a worker have in common; "" for the Job of one song."""
    profile: str = ""
    """Profile of a worker."""

    @property
    def live(self) -> bool:
        """Whether it may still start or run pods."""
        return self.ended is None

    def is_stuck(self, now: datetime) -> bool:
        """Return whether its deletion takes longer than its pods' grace period: their node may be dead."""
        return self.deleted_at is not None and now - self.deleted_at > _STUCK


def job_of(resource: Resource) -> Job | None:
    """Return the typed view of a Job, or None if it is not the operator's: its name must match its owner or shape."""
    metadata = resource["metadata"]
    if not metadata.get("ownerReferences"):
        return _worker_of(resource)
    owner = controller_of(metadata, KIND)
    match = _JOB_NAME.search(metadata["name"])
    if owner is None or match is None:
        return None
    stage, run, attempt = _STAGES[match["stage"]], int(match["run"]), int(match["attempt"])
    if metadata["name"] != job_name(owner["name"], owner["uid"], stage, run, attempt):
        return None
    return _typed(resource, owner["uid"], stage, run, attempt)


def _worker_of(resource: Resource) -> Job | None:
    """Return the typed view of a worker's Job: its name follows from its shape, which its container states."""
    metadata = resource["metadata"]
    match = _WORKER_NAME.search(metadata["name"])
    shape = _shape(_container(resource)) if match is not None else ""
    if match is None or not shape or metadata["name"] != worker_name(shape, int(match["number"])):
        return None
    worker = _typed(resource, "", WorkStage.SEPARATE, 0, int(match["number"]))
    return replace(worker, shape=shape, profile=(metadata.get("labels") or {}).get(LABEL_PROFILE, ""))


def _container(resource: Resource) -> Mapping[str, Any]:
    return dict(resource["spec"]["template"]["spec"]["containers"][0])


def _typed(resource: Resource, owner: str, stage: WorkStage, run: int, attempt: int) -> Job:
    metadata, status = resource["metadata"], resource.get("status") or {}
    created, suspended = datetime.fromisoformat(metadata["creationTimestamp"]), resource["spec"].get("suspend") is True
    end = _end(status)
    container = _container(resource)
    return Job(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        owner=owner,
        resource_version=int(metadata["resourceVersion"]),
        stage=stage,
        run=run,
        attempt=attempt,
        created=created,
        since=_suspension_changed_at(status, suspended=suspended) or created,
        deleted_at=parse_time(metadata.get("deletionTimestamp")),
        ready=status.get("ready") or 0,
        ended=end.get("type"),
        ended_at=parse_time(end.get("lastTransitionTime")),
        reason=end.get("reason", ""),
        memory=_limit(container, "memory"),
        disk=_limit(container, "ephemeral-storage"),
        fetched=_fetched(container) if stage is WorkStage.SEPARATE else None,
        queue=(metadata.get("labels") or {}).get(LABEL_QUEUE, ""),
        suspended=suspended,
        watched=(metadata.get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY,
    )


def is_orphaned(resource: Resource) -> bool:
    """Return whether a Job is the operator's but has no owner any more, as after `kubectl delete --cascade=orphan`."""
    metadata = resource["metadata"]
    ours = LABEL_JOB in (metadata.get("labels") or {}) and _JOB_NAME.search(metadata["name"]) is not None
    return ours and not metadata.get("ownerReferences") and "deletionTimestamp" not in metadata


def _end(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for condition in status.get("conditions") or []:
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True":
            return dict(condition)
    return {}


def _suspension_changed_at(status: Mapping[str, Any], *, suspended: bool) -> datetime | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "Suspended" and (condition["status"] == "True") is suspended:
            return parse_time(condition.get("lastTransitionTime"))
    return None


def _limit(container: Mapping[str, Any], resource: str) -> int | None:
    limit = (container.get("resources") or {}).get("limits", {}).get(resource)
    try:
        return quantity_bytes(limit) if limit else None
    except ValueError:
        return None


def _fetched(container: Mapping[str, Any]) -> MarkReference | None:
    try:
        return MarkReference.model_validate(_stated(container, ASSIGNMENT_VARIABLE)["fetched"])
    except (ValueError, LookupError, TypeError):
        return None


def _shape(container: Mapping[str, Any]) -> str:
    try:
        return str(_stated(container, WORKER_VARIABLE)["shape"])
    except (ValueError, LookupError, TypeError):
        return ""


def _stated(container: Mapping[str, Any], variable: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON in a variable of a container; raises LookupError or ValueError if there is none."""
    values = {each["name"]: each.get("value") or "" for each in container.get("env") or []}
    return from_json(values[variable])


def live_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return the Jobs that may still start or run pods."""
    return [job for job in jobs if job.live]
