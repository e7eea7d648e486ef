"""Webhook deliveries of a track as an API key may see them, and redelivery requests. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.schemas.responses import Attempt, DeadLetter, Delivery
from stemyard_api.services.placement_rules import Operation, test_operation
from stemyard_contract.mirror import AttemptRecord, MirrorRecord
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import ANNOTATION_REDELIVER, REDELIVER_LIMIT, SeparationJobStatus, phase_of
from stemyard_contract.webhook import event_of

ALL: Final = "all"
"""Stands for every delivery."""


def may_see(url: str, key: str | None, record: MirrorRecord, principal: Principal) -> bool:
    """Whether an API key may see what was sent there: an admin all, others what they named or is for them."""
    return principal.is_admin or key == principal.key_id or record.webhooks.get(principal.key_id) == url


def visible_deliveries(resource: Mapping[str, Any], record: MirrorRecord, principal: Principal) -> list[WebhookStatus]:
    """Return the deliveries of a track's last end that a key may see."""
    status = SeparationJobStatus.model_validate(resource.get("status") or {})
    return [one for one in status.webhooks if may_see(one.url, one.key, record, principal)]


def count_pending(resource: Mapping[str, Any]) -> int:
    """Return how many deliveries are neither made nor given up."""
    status = SeparationJobStatus.model_validate(resource.get("status") or {})
    return sum(one.pending for one in status.webhooks)


def delivery_body(one: WebhookStatus, resource: Mapping[str, Any]) -> Delivery:
    """Return a delivery as clients get it."""
    status = SeparationJobStatus.model_validate(resource.get("status") or {})
    test = bool(resource["spec"].get("webhookTest"))
    return Delivery(
        id=one.id,
        url=one.url,
        event=event_of(phase_of(status.conditions), test=test).value,
        endpoint=one.endpoint,
        state="delivered" if one.delivered_at else "pending" if one.pending else "given_up",
        attempts=one.attempts,
        last_status=one.last_status,
        last_error=one.last_error,
        last_attempt_at=_epoch(one.last_attempt_at),
        next_attempt_at=_epoch(one.next_attempt_at),
        delivered_at=_epoch(one.delivered_at),
    )


def visible_attempts(attempts: Iterable[AttemptRecord], record: MirrorRecord, principal: Principal) -> list[Attempt]:
    """Return the attempts that a key may see, as clients get them."""
    return [
        Attempt(
            id=one.id,
            url=one.url,
            event=one.event.value,
            at=one.at,
            seconds=one.seconds,
            status=one.status,
            error=one.error,
        )
        for one in attempts
        if may_see(one.url, one.key, record, principal)
    ]


def dead_letters(resource: Mapping[str, Any], track_id: str) -> list[DeadLetter]:
    """Return the deliveries of a SeparationJob that were given up."""
    status = SeparationJobStatus.model_validate(resource.get("status") or {})
    given_up = [one for one in status.webhooks if one.delivered_at is None and not one.pending]
    return [DeadLetter(track_id=track_id, **delivery_body(one, resource)) for one in given_up]


def redelivery_patch(resource: Mapping[str, Any], ids: Collection[str], now: float) -> list[Operation]:
    """Return what annotates a SeparationJob with the wish to deliver these again, beside one not carried out yet.

    The time makes it another wish than the last; a wish that gets too long stands for everything.
    """
    metadata = resource["metadata"]
    annotations = metadata.get("annotations")
    before = (annotations or {}).get(ANNOTATION_REDELIVER)
    handled = (resource.get("status") or {}).get("lastHandledRedelivery")
    unheard = before.partition(" ")[0].split(",") if before and before[:REDELIVER_LIMIT] != handled else []
    asked = sorted({*unheard, *ids})
    value = f"{ALL if ALL in asked else ','.join(asked)} {int(now * 1000)}"
    uid = test_operation("/metadata/uid", metadata["uid"])
    if annotations is None:
        # the whole map is added, so no other annotation may have been added in the meantime
        guard = test_operation("/metadata/resourceVersion", metadata["resourceVersion"])
        return [uid, guard, {"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION_REDELIVER: value}}]
    path = f"/metadata/annotations/{ANNOTATION_REDELIVER.replace('/', '~1')}"
    guards = [] if before is None else [test_operation(path, before)]
    return [uid, *guards, {"op": "add", "path": path, "value": value}]


def _epoch(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
