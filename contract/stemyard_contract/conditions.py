"""The conditions of a SeparationJob, and the phase that they add up to."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from stemyard_contract.resource import Value


class Phase(StrEnum):
    """Summary of the conditions in one word."""

    PENDING = "Pending"
    FETCHING = "Fetching"
    QUEUED = "Queued"
    SEPARATING = "Separating"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SUSPENDED = "Suspended"


TERMINAL_PHASES: Final = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})


class ConditionType(StrEnum):
    """Types of the conditions in `status.conditions`."""

    ACCEPTED = "Accepted"
    FETCHED = "Fetched"
    ADMITTED = "Admitted"
    SEPARATED = "Separated"
    PUBLISHED = "Published"
    WEBHOOKS_DELIVERED = "WebhooksDelivered"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Stable reasons of conditions that are not failures; failed conditions carry the failure code in CamelCase."""

    VALID = "Valid"
    INVALID = "Invalid"
    WAITING = "Waiting"
    RUNNING = "Running"
    STARTING = "Starting"
    RETRYING = "Retrying"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    JOB_REFUSED = "JobRefused"
    REQUEUED = "Requeued"
    SCHEDULED = "Scheduled"
    SUCCEEDED = "Succeeded"
    VERIFIED = "Verified"
    TESTED = "Tested"
    DELIVERING = "Delivering"
    DELIVERED = "Delivered"
    UNDELIVERED = "Undelivered"
    CANCELLED = "Cancelled"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    DUPLICATE = "Duplicate"
    COPIED = "Copied"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    ADMITTED = "Admitted"
    WAITING_FOR_WORKER = "WaitingForWorker"
    LEASED = "Leased"
    EVICTED = "Evicted"
    SUSPENDED_EXTERNALLY = "SuspendedExternally"


_WAITING_REASONS: Final = frozenset(
    {
        Reason.CONCURRENCY_LIMIT,
        Reason.WAITING,
        Reason.UNSCHEDULABLE,
        Reason.IMAGE_PULL,
        Reason.JOB_REFUSED,
        Reason.REQUEUED,
        Reason.WAITING_FOR_QUOTA,
        Reason.WAITING_FOR_WORKER,
        Reason.SUSPENDED_EXTERNALLY,
    }
)
"""Reasons of a stage whose pod does not run, and for which more than the usual start-up is to be waited."""


class Condition(Value):
    """A condition as defined by `meta/v1`."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Machine-readable reason, CamelCase."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Human-readable explanation."""
    last_transition_time: datetime
    """When the status of the condition last changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """`metadata.generation` that the condition was set from."""


def phase_of(conditions: Iterable[Condition]) -> Phase:
    """Return the phase that the conditions add up to."""
    by_type = {condition.type: condition for condition in conditions}

    def holds(kind: ConditionType) -> bool:
        return kind in by_type and by_type[kind].status == "True"

    if holds(ConditionType.COMPLETE):
        return Phase.COMPLETED
    if holds(ConditionType.FAILED):
        cancelled = by_type[ConditionType.FAILED].reason == Reason.CANCELLED
        return Phase.CANCELLED if cancelled else Phase.FAILED
    if holds(ConditionType.SUSPENDED):
        return Phase.SUSPENDED
    stage = by_type.get(ConditionType.SEPARATED if holds(ConditionType.FETCHED) else ConditionType.FETCHED)
    if holds(ConditionType.FETCHED):
        at_work = holds(ConditionType.ADMITTED) and (stage is None or stage.reason not in _WAITING_REASONS)
        return Phase.SEPARATING if at_work else Phase.QUEUED
    return Phase.PENDING if stage is None or stage.reason in _WAITING_REASONS else Phase.FETCHING
