"""Kubernetes Events of a separation: fixed reasons, each at most once per run. Pure."""

import hashlib
from datetime import datetime
from typing import Any, Final

from stemyard_contract.outbox import ADDRESS_REFUSED, WebhookStatus
from stemyard_contract.separationjob import API_VERSION, KIND, MANAGED_BY, Phase, Reason, SeparationJobStatus
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
_REFUSED: Final = str(Reason.JOB_REFUSED)
_NOT_DELETED: Final = "DeletionRefused"
_UNDELIVERED: Final = "WebhookUndelivered"
_WEBHOOK_REFUSED: Final = "WebhookRefused"
_OUTDATED_CRD: Final = "OldDefinition"
_WARNINGS: Final = frozenset(
    {"Failed", _RETRYING, _REFUSED, _NOT_DELETED, _UNDELIVERED, _WEBHOOK_REFUSED, _OUTDATED_CRD}
)
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
    retries = after.retry_at is not None and _has_reason(after, _RETRYING)
    if retries and not (same_run and before.status.retry_at):
        reasons = [_RETRYING]
    if _has_reason(after, _REFUSED) and not (same_run and _has_reason(before.status, _REFUSED)):
        reasons.append(_REFUSED)
    if _refused(after) and not (same_run and _refused(before.status)):
        reasons.append(_WEBHOOK_REFUSED)
    if any(one.delivered_at is None for one in finished_deliveries(before.status, after)):
        reasons.append(_UNDELIVERED)
    return [_event(before, after, reason, now, _message(after, reason)) for reason in reasons]


def status_refused(separation: Separation, status: SeparationJobStatus, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event about a status that the installed CRD rejects; one per run."""
    return _event(separation, status, _OUTDATED_CRD, now, why[:_LIMIT])


def deletion_refused(separation: Separation, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event about a deletion that the API server refuses; one per run."""
    return _event(separation, separation.status, _NOT_DELETED, now, why[:_LIMIT])


def sweep_stopped(lease: str, namespace: str, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event, on the operator's Lease, about a sweep that stopped as a precaution; one per day."""
    message = f"Nothing was removed: {why}. If that is right, set sweep.force to today's date."
    return _lease_event(lease, namespace, f"sweep-{now:%Y%m%d}", "SweepStopped", message, now)


def namespace_unreadable(lease: str, namespace: str, unreadable: str, why: str, now: datetime) -> dict[str, Any]:
    """Return the Event, on the operator's Lease, about a watched namespace that cannot be read; one per day."""
    message = (
        f"Namespace {unreadable} cannot be read, its SeparationJobs wait: {why}. "
        "Restore the operator's RoleBinding there, or take the namespace out of watchNamespaces."
    )
    digest = hashlib.sha256(unreadable.encode()).hexdigest()[:16]
    return _lease_event(lease, namespace, f"{digest}-{now:%Y%m%d}", "NamespaceUnreadable", message[:_LIMIT], now)


def _lease_event(lease: str, namespace: str, suffix: str, reason: str, message: str, now: datetime) -> dict[str, Any]:
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{lease}.{suffix}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "namespace": namespace,
            "name": lease,
        },
        "reason": reason,
        "message": message,
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


def _has_reason(status: SeparationJobStatus, reason: str) -> bool:
    return any(one.reason == reason for one in status.conditions)


def _refused(status: SeparationJobStatus) -> list[WebhookStatus]:
    """Return the deliveries whose last attempt the address guard refused."""
    return [one for one in status.webhooks if one.last_error == ADDRESS_REFUSED]


def _condition_message(status: SeparationJobStatus, reason: str) -> str:
    return next((one.message for one in status.conditions if one.reason == reason and one.message), "")


def _message(status: SeparationJobStatus, reason: str) -> str:
    if reason == _UNDELIVERED:
        failed = [one for one in status.webhooks if one.delivered_at is None and not one.pending]
        why = failed[0].last_error or f"HTTP {failed[0].last_status}"
        return (
            f"Gave up {len(failed)} of {len(status.webhooks)} webhooks, such as {failed[0].id} ({why}); "
            "see status.webhooks."
        )
    if reason == _WEBHOOK_REFUSED:
        return (
            f"Webhook {_refused(status)[0].id} was not sent: it is not https on an allowed port at a public address. "
            "Use such a URL, or add its origin to webhooks.allowedOrigins."
        )
    if reason == _REFUSED:
        return _condition_message(status, reason)[:_LIMIT]
    if status.failure is not None:
        return f"{status.failure.code}: {status.failure.message}"
    if reason == _RETRYING:
        return _condition_message(status, reason) or "The last attempt failed."
    if reason == "Completed":
        copied = status.result.copied_from if status.result else None
        return f"Stems of {status.title} are published{f', copied from {copied}' if copied else ''}."
    return f"Job {status.job}" if status.job else "No Job was running."
