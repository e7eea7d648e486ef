"""The webhook outbox in the status: targets frozen at the end of a run, results of attempts, what is due. Pure."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from stemyard_contract.outbox import REGISTERED_TARGETS_LIMIT, TARGETS_LIMIT, WebhookStatus
from stemyard_contract.separationjob import ConditionType, Reason, SeparationJobStatus, phase_of
from stemyard_contract.webhook import EventType, event_of, webhook_id
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.webhook_retries import next_attempt_at
from stemyard_operator.decision.webhook_targets import Target
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.model.conditions import set_condition
from stemyard_operator.model.separation import Separation

GATHER_SECONDS: Final = 2.0
"""Seconds that a result waits for those of other targets, so that one write records all of them."""
ALL: Final = "all"
"""Value of the redelivery annotation for all deliveries."""
_GONE: Final = 410


def freeze_targets(
    status: SeparationJobStatus, separation: Separation, targets: Iterable[Target], now: datetime
) -> None:
    """Store the targets of this run's terminal event."""
    status.webhooks = []
    status.last_handled_redelivery = separation.redeliver
    event = event_of(phase_of(status.conditions), test=separation.spec.webhook_test)
    _add(status, targets, event, separation.track_id, now)
    set_delivered_condition(status, now)


def add_late_targets(status: SeparationJobStatus, named: Collection[Target], track_id: str, now: datetime) -> None:
    """Store targets that were added after the end of the run; each gets one delivery."""
    known, event = {(one.url, one.registration) for one in status.webhooks}, event_of(phase_of(status.conditions))
    new = [one for one in named if one.consumer not in known and event in one.events]
    if not new:
        return
    registered = [one for one in status.webhooks if one.registration is not None]
    unregistered = [one for one in status.webhooks if one.registration is None]
    capacity = TARGETS_LIMIT - sum(one.registration is None for one in new)
    urls = {one.url for one in named}
    kept = [one for one in unregistered if one.pending or one.url in urls]
    others = [one for one in unregistered if one not in kept]
    status.webhooks = [*others[max(0, len(others) + len(kept) - capacity) :], *kept, *registered]
    _add(status, new, event, track_id, now)


def forget_withdrawn(status: SeparationJobStatus, claims: Collection[str], current: Iterable[Target]) -> None:
    """Remove deliveries for API keys without a claim; those to a URL that is still a target are of whom it is now.

    Args:
        status: is changed.
        claims: ids of the keys that have a claim.
        current: targets of a run that would end now.
    """
    by_url = {one.url: one for one in current if one.registration is None}
    kept = []
    for one in status.webhooks:
        if one.key is None or one.key in claims:
            kept.append(one)
        elif one.registration is None and one.url in by_url:
            kept.append(one.model_copy(update={"key": by_url[one.url].key}))
    status.webhooks = kept


def _add(
    status: SeparationJobStatus, targets: Iterable[Target], event: EventType, track_id: str, now: datetime
) -> None:
    run, due = status.run or 1, now.replace(microsecond=0)
    added = [
        WebhookStatus(
            id=webhook_id(track_id, run, event, one.url, registration=one.registration),
            url=one.url,
            endpoint=one.endpoint,
            key=one.key,
            registration=one.registration,
            next_attempt_at=due,
        )
        for one in targets
        if event in {*one.events, EventType.TEST}
    ]
    found = [*status.webhooks, *added]
    unregistered = [one for one in found if one.registration is None][:TARGETS_LIMIT]
    registered = [one for one in found if one.registration is not None][:REGISTERED_TARGETS_LIMIT]
    status.webhooks = [*unregistered, *registered]


def redeliver(status: SeparationJobStatus, request: str | None, now: datetime) -> None:
    """Handle a redelivery request, once: finished deliveries start again, pending ones become due."""
    if request is None or request == status.last_handled_redelivery:
        return
    status.last_handled_redelivery = request
    ids = frozenset(request.partition(" ")[0].split(","))
    status.webhooks = [_again(one, now) if ALL in ids or one.id in ids else one for one in status.webhooks]


def _again(one: WebhookStatus, now: datetime) -> WebhookStatus:
    due = now.replace(microsecond=0)
    if one.pending:
        return one.model_copy(update={"next_attempt_at": due})
    return one.model_copy(update={"attempts": 0, "delivered_at": None, "next_attempt_at": due})


def record_attempts(
    status: SeparationJobStatus, attempts: Iterable[AttemptResult], settings: Settings, *, once: bool = False
) -> None:
    """Record results of attempts; one of a delivery that is not pending changes nothing. `once` allows no retry."""
    schedule = settings.webhook_schedule[:1] if once else settings.webhook_schedule
    by_id = {attempt.id: attempt for attempt in attempts}
    status.webhooks = [
        _after(one, by_id[one.id], schedule) if one.pending and one.id in by_id else one for one in status.webhooks
    ]


def _after(one: WebhookStatus, attempt: AttemptResult, schedule: Sequence[float]) -> WebhookStatus:
    made = one.attempts + 1
    ended = attempt.delivered or attempt.hopeless or attempt.status == _GONE or made >= len(schedule)
    return one.model_copy(
        update={
            "attempts": made,
            "last_status": attempt.status,
            "last_error": attempt.error,
            "last_attempt_at": attempt.at,
            "delivered_at": attempt.at if attempt.delivered else None,
            "next_attempt_at": None if ended else next_attempt_at(one.id, made, attempt, schedule),
        }
    )


def finished_deliveries(before: SeparationJobStatus, after: SeparationJobStatus) -> list[WebhookStatus]:
    """Return the deliveries that a write has recorded as delivered or given up."""
    pending = {one.id for one in before.webhooks if one.pending}
    return [one for one in after.webhooks if one.id in pending and not one.pending]


def set_delivered_condition(status: SeparationJobStatus, now: datetime) -> None:
    """Set the condition WebhooksDelivered, if there are deliveries."""
    if not status.webhooks:
        return
    total = len(status.webhooks)
    delivered = sum(one.delivered_at is not None for one in status.webhooks)
    message = f"{delivered} of {total} delivered"
    if any(one.pending for one in status.webhooks):
        set_condition(status, ConditionType.WEBHOOKS_DELIVERED, "False", Reason.DELIVERING, now, message)
    elif delivered < total:
        set_condition(status, ConditionType.WEBHOOKS_DELIVERED, "False", Reason.UNDELIVERED, now, message)
    else:
        set_condition(status, ConditionType.WEBHOOKS_DELIVERED, "True", Reason.DELIVERED, now, message)
