"""Typed view of a fetch or separate Job. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json

from stemyard_contract.handover import (
    ASSIGNMENT_VARIABLE,
    MarkReference,
    WorkStage,
)
from stemyard_contract.identity import job_name
from stemyard_contract.separationjob import (
    KIND,
    LABEL_JOB,
    LABEL_QUEUE,
)
from stemyard_operator.config.profiles import quantity_bytes
from stemyard_operator.model.separation import Resource, controller_of, parse_time

_JOB_NAME: Final = re.compile(r"-(?P<stage>[fs])(?P<run>\d{1,6})-(?P<attempt>\d{1,6})$")
_STAGES: Final = {stage[0]: stage for stage in WorkStage}


@dataclass(frozen=True, slots=True)
class Job:
    """A fetch or separate Job. `ended` is `Complete` or `Failed` once it and its pods have ended."""

    name: str
    namespace: str
    uid: str
    owner: str
    """uid of its SeparationJob."""
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
    fetched: MarkReference | None = None
    """Commit mark of fetch that a separate Job was given."""
    queue: str = ""
    """Kueue queue of the Job."""
    suspended: bool = False

    @property
    def live(self) -> bool:
        """Whether it may still start or run pods."""
        return self.ended is None


def job_of(resource: Resource) -> Job | None:
    """Return the typed view of a Job, or None if it is not the operator's: its name must match its owner."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    owner = controller_of(metadata, KIND)
    match = _JOB_NAME.search(metadata["name"])
    if owner is None or match is None:
        return None
    stage, run, attempt = _STAGES[match["stage"]], int(match["run"]), int(match["attempt"])
    if metadata["name"] != job_name(owner["name"], owner["uid"], stage, run, attempt):
        return None
    created, suspended = datetime.fromisoformat(metadata["creationTimestamp"]), resource["spec"].get("suspend") is True
    end = _end(status)
    container = resource["spec"]["template"]["spec"]["containers"][0]
    return Job(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        owner=owner["uid"],
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
        memory=_memory(container),
        fetched=_fetched(container) if stage is WorkStage.SEPARATE else None,
        queue=(metadata.get("labels") or {}).get(LABEL_QUEUE, ""),
        suspended=suspended,
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


def _memory(container: Mapping[str, Any]) -> int | None:
    limit = (container.get("resources") or {}).get("limits", {}).get("memory")
    try:
        return quantity_bytes(limit) if limit else None
    except ValueError:
        return None


def _fetched(container: Mapping[str, Any]) -> MarkReference | None:
    for variable in container.get("env") or []:
        if variable["name"] == ASSIGNMENT_VARIABLE:
            try:
                return MarkReference.model_validate(from_json(variable.get("value") or "")["fetched"])
            except (ValueError, LookupError, TypeError):
                return None
    return None


def live_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return the Jobs that may still start or run pods."""
    return [job for job in jobs if job.live]
