"""What the operator sees of one separation: its resource, Jobs, pods and commit marks, read from raw JSON."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json

from stemyard_contract.handover import (
    ASSIGNMENT_VARIABLE,
    Manifest,
    MarkReference,
    Outcome,
    SourceMark,
    WorkStage,
    parse_outcome,
)
from stemyard_contract.identity import job_name, track_of
from stemyard_contract.separationjob import (
    ANNOTATION_REDELIVER,
    KIND,
    LABEL_JOB,
    LABEL_OWNER,
    LABEL_QUEUE,
    REDELIVER_LIMIT,
    Reason,
    SeparationJobSpec,
    SeparationJobStatus,
)
from stemyard_contract.tracing import traceparent_of
from stemyard_operator.config.profiles import quantity_bytes
from stemyard_operator.config.webhook_endpoints import NONE, Endpoints
from stemyard_operator.model.attempt_result import Attempted

Resource = Mapping[str, Any]
"""A Kubernetes object as raw JSON."""

_JOB_NAME: Final = re.compile(r"-(?P<stage>[fs])(?P<run>\d{1,6})-(?P<attempt>\d{1,6})$")
_STAGES: Final = {stage[0]: stage for stage in WorkStage}
PULL_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})


def moment(text: str | None) -> datetime | None:
    """Return the time that a Kubernetes timestamp names."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True, slots=True)
class Separation:
    """A SeparationJob."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    generation: int
    created: datetime
    deleting: bool
    track_id: str
    labels: Mapping[str, str]
    spec: SeparationJobSpec
    status: SeparationJobStatus
    redeliver: str | None = None
    """The wish to deliver webhooks again that was annotated."""
    traceparent: str | None = None
    """Trace of the request that made it."""

    @property
    def owner(self) -> str | None:
        """Id of the API key it belongs to, where results are not shared between keys."""
        return self.labels.get(LABEL_OWNER)

    @property
    def run_status(self) -> SeparationJobStatus:
        """What is stored of the run that is asked for: nothing where only an earlier one has a status."""
        return self.status if self.status.run == self.spec.run else SeparationJobStatus()

    @property
    def place(self) -> tuple[int, float, str]:
        """Sort key among those that wait: by priority, then by age."""
        return (-self.spec.priority, self.created.timestamp(), self.uid)

    @property
    def about(self) -> dict[str, Any]:
        """What every log line about it tells."""
        key = f"{self.namespace}/{self.name}"
        return {"track_id": self.track_id, "key": key, "uid": self.uid, "run": self.spec.run}


def separation_of(resource: Resource) -> Separation:
    """Return the typed form of a SeparationJob.

    Raises:
        pydantic.ValidationError: it does not have the form its CRD demands.
    """
    metadata = resource["metadata"]
    return Separation(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        generation=metadata.get("generation", 1),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        track_id=track_of(metadata["namespace"], metadata["name"], metadata.get("labels") or {}),
        labels=metadata.get("labels") or {},
        spec=SeparationJobSpec.model_validate(resource["spec"]),
        status=SeparationJobStatus.model_validate(resource.get("status") or {}),
        redeliver=((metadata.get("annotations") or {}).get(ANNOTATION_REDELIVER) or "")[:REDELIVER_LIMIT] or None,
        traceparent=traceparent_of(resource),
    )


@dataclass(frozen=True, slots=True)
class Job:
    """A Job of ours. `ended` is `Complete` or `Failed` once it has ended, and its pods with it."""

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
    """Since when it is suspended or, where it is not, may have a pod: its creation, or a later change."""
    deleted_at: datetime | None = None
    ready: int = 0
    ended: str | None = None
    ended_at: datetime | None = None
    reason: str = ""
    memory: int | None = None
    """Bytes its container may use."""
    fetched: MarkReference | None = None
    """The source a separate Job was given."""
    queue: str = ""
    """Kueue's queue that it is in."""
    suspended: bool = False

    @property
    def live(self) -> bool:
        """Whether it may still start or run pods."""
        return self.ended is None


def job_of(resource: Resource) -> Job | None:
    """Return the typed form of a Job, or None where it is not one of ours: owner and derived name must agree."""
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
        since=_turned_at(status, suspended=suspended) or created,
        deleted_at=moment(metadata.get("deletionTimestamp")),
        ready=status.get("ready") or 0,
        ended=end.get("type"),
        ended_at=moment(end.get("lastTransitionTime")),
        reason=end.get("reason", ""),
        memory=_memory(container),
        fetched=_fetched(container) if stage is WorkStage.SEPARATE else None,
        queue=(metadata.get("labels") or {}).get(LABEL_QUEUE, ""),
        suspended=suspended,
    )


def is_abandoned(resource: Resource) -> bool:
    """Return whether a Job is one of ours that nobody owns any more, as after `kubectl delete --cascade=orphan`."""
    metadata = resource["metadata"]
    ours = LABEL_JOB in (metadata.get("labels") or {}) and _JOB_NAME.search(metadata["name"]) is not None
    return ours and not metadata.get("ownerReferences") and "deletionTimestamp" not in metadata


def controller_of(metadata: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """Return the owner reference of the controller, where it is of that kind."""
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("controller") and reference.get("kind") == kind:
            return dict(reference)
    return None


def _end(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for condition in status.get("conditions") or []:
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True":
            return dict(condition)
    return {}


def _turned_at(status: Mapping[str, Any], *, suspended: bool) -> datetime | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "Suspended" and (condition["status"] == "True") is suspended:
            return moment(condition.get("lastTransitionTime"))
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


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of one of our Jobs."""

    name: str
    uid: str
    phase: str = "Pending"
    reason: str = ""
    scheduled_at: datetime | None = None
    unschedulable: str = ""
    """The scheduler's message, while it finds no node."""
    waiting: str = ""
    """Why the container is not started, such as `ImagePullBackOff`."""
    waiting_message: str = ""
    started_at: datetime | None = None
    exit_code: int | None = None
    terminated: str = ""
    """Why the container ended, such as `OOMKilled`."""
    outcome: Outcome | None = None
    disrupted: bool = False
    gone_at: datetime | None = None
    """When its grace period ends, once it is being deleted."""

    @property
    def running(self) -> bool:
        """Whether its container has started."""
        return self.started_at is not None


def pod_of(resource: Resource) -> Pod:
    """Return what matters of a pod."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    containers: list[dict[str, Any]] = status.get("containerStatuses") or [{}]
    state: Mapping[str, Any] = containers[0].get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        scheduled_at=moment(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        started_at=moment((state.get("running") or ended).get("startedAt")),
        exit_code=ended.get("exitCode"),
        terminated=ended.get("reason", ""),
        outcome=parse_outcome(ended.get("message")),
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        gone_at=moment(metadata.get("deletionTimestamp")),
    )


Sighting = tuple[Job, tuple[Pod, ...]]
"""A Job and its pods, as they once were."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Why Kueue holds a Job."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class FoundSource:
    """The commit mark of fetch, read from the store and verified."""

    reference: MarkReference
    mark: SourceMark


@dataclass(frozen=True, slots=True)
class FoundManifest:
    """The commit mark of separate, read from the store and verified, stems included."""

    reference: MarkReference
    mark: Manifest


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Another separation of the same recording that asks for the same."""

    name: str
    uid: str
    manifest_key: str = ""
    """Of its stems, where it is completed."""
    processing_seconds: float = 0
    """Seconds that the run took which made them."""
    first: bool = False
    """Whether it is under way and nearer to its end: then this one waits for it."""


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a decision is made from. What was not asked for yet is absent from `pods`, `marks` and `absent`."""

    separation: Separation
    jobs: tuple[Job, ...] = ()
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    """By uid of their Job."""
    seen: Mapping[str, Sighting] = field(default_factory=dict)
    """Jobs that had a pod when last looked at, by uid: enough for figures, too old to decide from."""
    source: FoundSource | None = None
    manifest: FoundManifest | None = None
    looked: frozenset[WorkStage] = frozenset()
    """Stages whose commit mark was looked for."""
    workloads: Mapping[str, Workload | None] = field(default_factory=dict)
    """By uid of their Job; None where there is none."""
    absent: frozenset[str] = frozenset()
    """Names of Jobs that the API server says do not exist."""
    foreign: frozenset[str] = frozenset()
    """Names of Jobs that belong to somebody else."""
    room: frozenset[WorkStage] = frozenset()
    """Stages that may start another Job now, as far as limits and order go."""
    rest_seconds: float = 0
    """Seconds for which nothing may be fetched from its host, so that fetches are spaced."""
    duplicates: tuple[Duplicate, ...] = ()
    disruptions: int = 0
    """Pods of this run's Jobs that were replaced after a disruption."""
    progress: float | None = None
    """Percent of the whole separation, as last reported for this run."""
    started_at: datetime | None = None
    """Start of the first pod that was seen of this run."""
    quiet_seconds: float = float("inf")
    """Seconds since this process last wrote the status."""
    attempted: tuple[Attempted, ...] = ()
    """What came of deliveries and is not recorded yet."""
    attempted_seconds: float = 0
    """Age of the oldest of these."""
    in_hand: frozenset[str] = frozenset()
    """Ids of the webhooks that are being delivered, or wait for their consumer's turn."""
    endpoints: Endpoints = NONE
    """The deployment's own endpoints."""

    def of_stage(self, stage: WorkStage) -> list[Job]:
        """Return the Jobs of a stage of the run that is asked for, oldest attempt first."""
        run = self.separation.spec.run
        return sorted((job for job in self.jobs if job.stage is stage and job.run == run), key=lambda job: job.attempt)

    def last(self, stage: WorkStage) -> tuple[Job, tuple[Pod, ...]] | tuple[None, tuple[()]]:
        """Return the last Job of a stage, were it gone by now, and its pods as last looked at."""
        jobs = {job.uid: job for job, _ in self.seen.values()} | {job.uid: job for job in self.jobs}
        own = [job for job in jobs.values() if job.stage is stage and job.run == self.separation.spec.run]
        if not own:
            return None, ()
        last = max(own, key=lambda job: job.attempt)
        return last, self.pods.get(last.uid) or (self.seen[last.uid][1] if last.uid in self.seen else ())


def live_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return the Jobs that may still start or run pods."""
    return [job for job in jobs if job.live]
