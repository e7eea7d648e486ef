"""The Events of a separation, from one status to the next: fixed reasons, each at most once in a run. Pure."""

import hashlib
from datetime import datetime
from typing import Any, Final

from stemyard_contract.separationjob import API_VERSION, KIND, MANAGED_BY, Phase, SeparationJobStatus
from stemyard_operator.decision.webhook_outbox import settled_by
from stemyard_operator.model.separation import Separation

_TOLD: Final = {
    Phase.FETCHING: "Fetching",
    Phase.SEPARATING: "Separating",
    Phase.COMPLETED: "Completed",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
    Phase.SUSPENDED: "Suspended",
}
_LIMIT: Final = 1024
"""Characters of a message that an Event may have."""
_RETRYING: Final = "Retrying"
_UNDELIVERED: Final = "WebhookUndelivered"
_OLD_DEFINITION: Final = "OldDefinition"
_WARNINGS: Final = frozenset({"Failed", _RETRYING, _UNDELIVERED, _OLD_DEFINITION})
REASONS: Final = frozenset(_TOLD.values()) | _WARNINGS
"""Reasons of all Events of a SeparationJob."""


def events_of(before: Separation, after: SeparationJobStatus, now: datetime) -> list[dict[str, Any]]:
    """Return the Events that a status write is worth.

    Names follow from uid, run and reason, so that the API server itself refuses the second of a kind.
    """
    if before.spec.webhook_test:
        return []
    reasons = []
    same_run = before.status.run == after.run
    if after.phase in _TOLD and (not same_run or after.phase != before.status.phase):
        reasons.append(_TOLD[after.phase])
    retries = after.retry_at is not None and any(one.reason == _RETRYING for one in after.conditions)
    if retries and not (same_run and before.status.retry_at):
        reasons = [_RETRYING]
    if any(one.delivered_at is None for one in settled_by(before.status, after)):
        reasons.append(_UNDELIVERED)
    return [_event(before, after, reason, now, _message(after, reason)) for reason in reasons]


def status_refused(separation: Separation, status: SeparationJobStatus, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event of a status that the cluster's definition of SeparationJobs does not know; one in a run."""
    return _event(separation, status, _OLD_DEFINITION, now, why[:_LIMIT])


def sweep_stopped(lease: str, namespace: str, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event, about the operator's Lease, of a sweep that removes nothing for doubt; one a day."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{lease}.sweep-{now:%Y%m%d}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "namespace": namespace,
            "name": lease,
        },
        "reason": "SweepStopped",
        "message": f"Nothing was removed: {why}. If that is right, set sweep.force to today's date.",
        "type": "Warning",
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "source": {"component": MANAGED_BY},
    }


def _event(
    separation: Separation, status: SeparationJobStatus, reason: str, now: datetime, message: str
) -> dict[str, Any]:
    seal = hashlib.sha256(f"{separation.uid}\n{status.run}\n{reason}".encode()).hexdigest()[:16]
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{separation.name}.{seal}", "namespace": separation.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": separation.namespace,
            "name": separation.name,
            "uid": separation.uid,
            "resourceVersion": str(separation.resource_version),
        },
        "reason": reason,
        "message": message,
        "type": "Warning" if reason in _WARNINGS else "Normal",
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "source": {"component": MANAGED_BY},
    }


def _message(status: SeparationJobStatus, reason: str) -> str:
    if reason == _UNDELIVERED:
        lost = [one for one in status.webhooks if one.delivered_at is None and not one.pending]
        return f"Gave up {len(lost)} of {len(status.webhooks)} webhooks, such as {lost[0].id}; see status.webhooks."
    if status.failure is not None:
        return f"{status.failure.code}: {status.failure.message}"
    if reason == _RETRYING:
        waiting = [one.message for one in status.conditions if one.reason == _RETRYING and one.message]
        return waiting[0] if waiting else "The last attempt failed."
    if reason == "Completed":
        copied = status.result.copied_from if status.result else None
        return f"Stems of {status.title} are published{f', copied from {copied}' if copied else ''}."
    return f"Job {status.job}" if status.job else "Nothing was at work."
