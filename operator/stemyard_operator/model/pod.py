"""A pod of one of our Jobs, and a Kueue Workload, read from raw JSON. Pure."""

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
from stemyard_operator.model.separation import Resource, moment

PULL_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})


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


def last_pod(pods: Sequence[Pod]) -> Pod | None:
    """Return the pod that has the last word: one that was not disrupted and got furthest."""
    return max(pods, key=lambda pod: (not pod.disrupted, pod.exit_code is not None, pod.running), default=None)
