"""Webhook deliveries of a track as an API key may see them, and redelivery requests. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.schemas.delivery_responses import Attempt, DeadLetter, Delivery
from stemyard_api.services.placement_rules import Operation, annotation_patch
from stemyard_api.services.records import read_status
from stemyard_contract.mirror import AttemptRecord, MirrorRecord
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import ANNOTATION_REDELIVER, REDELIVER_LIMIT, phase_of
from stemyard_contract.webhook import event_of

ALL: Final = "all"
"""Stands for every delivery."""


def may_see(one: WebhookStatus | AttemptRecord, record: MirrorRecord, principal: Principal) -> bool:
    """Whether a key may see a delivery or attempt: an admin all, others what they requested or is signed for them.

    Another key's registered webhook is not theirs, even if they requested the same URL.
    """
    requested = one.registration is None and record.webhooks.get(principal.key_id) == one.url
    return principal.is_admin or one.key == principal.key_id or requested


def visible_deliveries(resource: Mapping[str, Any], record: MirrorRecord, principal: Principal) -> list[WebhookStatus]:
    """Return the deliveries of a track's last run that a key may see."""
    status = read_status(resource)
    return [one for one in status.webhooks if may_see(one, record, principal)]


def count_pending(resource: Mapping[str, Any]) -> int:
    """Return the number of deliveries that are neither delivered nor given up."""
    status = read_status(resource)
    return sum(one.pending for one in status.webhooks)


def delivery_body(one: WebhookStatus, resource: Mapping[str, Any]) -> Delivery:
    """Return the response body of a delivery."""
    status = read_status(resource)
    test = bool(resource["spec"].get("webhookTest"))
    return Delivery(
        id=one.id,
        url=one.url,
        event=event_of(phase_of(status.conditions), test=test),
        endpoint=one.endpoint,
        registration=one.registration,
        state="delivered" if one.delivered_at else "pending" if one.pending else "given_up",
        attempts=one.attempts,
        last_status=one.last_status,
        last_error=one.last_error,
        last_attempt_at=_epoch(one.last_attempt_at),
        next_attempt_at=_epoch(one.next_attempt_at),
        delivered_at=_epoch(one.delivered_at),
    )


def visible_attempts(attempts: Iterable[AttemptRecord], record: MirrorRecord, principal: Principal) -> list[Attempt]:
    """Return the response bodies of the attempts that a key may see."""
    return [
        Attempt(
            id=one.id,
            url=one.url,
            event=one.event,
            at=one.at,
            seconds=one.seconds,
            status=one.status,
            error=one.error,
        )
        for one in attempts
        if may_see(one, record, principal)
    ]


def dead_letters(resource: Mapping[str, Any], track_id: str) -> list[DeadLetter]:
    """Return the deliveries of a SeparationJob that were given up."""
    status = read_status(resource)
    given_up = [one for one in status.webhooks if one.delivered_at is None and not one.pending]
    return [DeadLetter(track_id=track_id, **delivery_body(one, resource)) for one in given_up]


def redelivery_patch(resource: Mapping[str, Any], ids: Collection[str], now: float) -> list[Operation]:
    """Return the patch that annotates a SeparationJob with a redelivery request, merged with one not yet handled.

    The time makes each request unique; a request whose value is too long applies to all deliveries.
    """
    before = (resource["metadata"].get("annotations") or {}).get(ANNOTATION_REDELIVER)
    handled = (resource.get("status") or {}).get("lastHandledRedelivery")
    pending = before.partition(" ")[0].split(",") if before and before[:REDELIVER_LIMIT] != handled else []
    requested = sorted({*pending, *ids})
    value = f"{ALL if ALL in requested else ','.join(requested)} {int(now * 1000)}"
    return annotation_patch(resource, ANNOTATION_REDELIVER, value)


def _epoch(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
