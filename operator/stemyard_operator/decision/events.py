"""Kubernetes Events of a separation: fixed reasons, each at most once per run. Pure."""

import hashlib
from datetime import datetime
from typing import Any, Final

from stemyard_contract.separationjob import API_VERSION, KIND, MANAGED_BY, Phase, SeparationJobStatus
from stemyard_operator.decision.webhook_outbox import finished_deliveries
from stemyard_operator.model.separation import Separation

_PHASE_REASONS: Final = {
    Phase.FETCHING: "Fetching",
    Phase.SEPARATING: "Separating",
    Phase.COMPLETED: "Completed",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
    Phase.SUSPENDED: "Suspended",
}
_LIMIT: Final = 1024
"""Maximum length of an Event's message, in characters."""
_RETRYING: Final = "Retrying"
_UNDELIVERED: Final = "WebhookUndelivered"
_OUTDATED_CRD: Final = "OldDefinition"
_WARNINGS: Final = frozenset({"Failed", _RETRYING, _UNDELIVERED, _OUTDATED_CRD})
REASONS: Final = frozenset(_PHASE_REASONS.values()) | _WARNINGS
"""Reasons of all Events of a SeparationJob."""


def events_of(before: Separation, after: SeparationJobStatus, now: datetime) -> list[dict[str, Any]]:
    """Return the Events of a status write.

    Their names are derived from uid, run and reason, so that the API server rejects duplicates.
    """
    if before.spec.webhook_test:
        return []
    reasons = []
    same_run = before.status.run == after.run
    if after.phase in _PHASE_REASONS and (not same_run or after.phase != before.status.phase):
        reasons.append(_PHASE_REASONS[after.phase])
    retries = after.retry_at is not None and any(one.reason == _RETRYING for one in after.conditions)
    if retries and not (same_run and before.status.retry_at):
        reasons = [_RETRYING]
    if any(one.delivered_at is None for one in finished_deliveries(before.status, after)):
        reasons.append(_UNDELIVERED)
    return [_event(before, after, reason, now, _message(after, reason)) for reason in reasons]


def status_refused(separation: Separation, status: SeparationJobStatus, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event about a status that the installed CRD rejects; one per run."""
    return _event(separation, status, _OUTDATED_CRD, now, why[:_LIMIT])


def sweep_stopped(lease: str, namespace: str, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event, on the operator's Lease, about a sweep that stopped as a precaution; one per day."""
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
    digest = hashlib.sha256(f"{separation.uid}\n{status.run}\n{reason}".encode()).hexdigest()[:16]
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{separation.name}.{digest}", "namespace": separation.namespace},
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
        failed = [one for one in status.webhooks if one.delivered_at is None and not one.pending]
        return f"Gave up {len(failed)} of {len(status.webhooks)} webhooks, such as {failed[0].id}; see status.webhooks."
    if status.failure is not None:
        return f"{status.failure.code}: {status.failure.message}"
    if reason == _RETRYING:
        waiting = [one.message for one in status.conditions if one.reason == _RETRYING and one.message]
        return waiting[0] if waiting else "The last attempt failed."
    if reason == "Completed":
        copied = status.result.copied_from if status.result else None
        return f"Stems of {status.title} are published{f', copied from {copied}' if copied else ''}."
    return f"Job {status.job}" if status.job else "No Job was running."
