"""Typed views of a separator pod and of a Kueue Workload. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from stemyard_contract.handover import (
    Outcome,
    parse_outcome,
)
from stemyard_contract.separationjob import (
    Reason,
)
from stemyard_operator.model.job import Job
from stemyard_operator.model.separation import Resource, parse_time

PULL_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True, slots=True)
class Pod:
    """A separator pod."""

    name: str
    uid: str
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    """Why it is in its phase, such as the kubelet's message about an eviction."""
    created: datetime | None = None
    scheduled_at: datetime | None = None
    unschedulable: str = ""
    """Message of the scheduler while the pod is unschedulable."""
    waiting: str = ""
    """Reason why the container is waiting, such as `ImagePullBackOff`."""
    waiting_message: str = ""
    started_at: datetime | None = None
    exit_code: int | None = None
    terminated: str = ""
    """Reason why the container terminated, such as `OOMKilled`."""
    outcome: Outcome | None = None
    disrupted: bool = False
    gone_at: datetime | None = None
    """End of its grace period, if it is being deleted."""

    @property
    def running(self) -> bool:
        """Whether its container has started."""
        return self.started_at is not None

    @property
    def waits_for(self) -> str:
        """Why its container does not run yet, in the kubelet's words, else the scheduler's."""
        return ": ".join(part for part in (self.waiting, self.waiting_message) if part) or self.unschedulable


def pod_of(resource: Resource) -> Pod:
    """Return the typed view of a pod."""
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
        message=status.get("message", ""),
        created=parse_time(metadata.get("creationTimestamp")),
        scheduled_at=parse_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        started_at=parse_time((state.get("running") or ended).get("startedAt")),
        exit_code=ended.get("exitCode"),
        terminated=ended.get("reason", ""),
        outcome=parse_outcome(ended.get("message")),
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        gone_at=parse_time(metadata.get("deletionTimestamp")),
    )


Sighting = tuple[Job, tuple[Pod, ...]]
"""A Job and its pods, as last read."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Why Kueue keeps a Job suspended."""

    reason: Reason
    message: str


def last_pod(pods: Sequence[Pod]) -> Pod | None:
    """Return the pod that determines the result of a Job: not disrupted, and furthest along."""
    return max(pods, key=lambda pod: (not pod.disrupted, pod.exit_code is not None, pod.running), default=None)
