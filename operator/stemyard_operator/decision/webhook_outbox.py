"""The outbox: which webhooks a run's end is worth, how their attempts are kept, and when the next is due. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.outbox import TARGETS_LIMIT, WebhookStatus
from stemyard_contract.separationjob import ConditionType, Reason, SeparationJobStatus, phase_of
from stemyard_contract.webhook import EventType, event_of, webhook_id
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.webhook_targets import Target
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.model.conditions import set_condition
from stemyard_operator.model.separation import Separation

GATHER_SECONDS: Final = 2.0
"""How long a result waits for those of the other targets, so that one write tells of all."""
ALL: Final = "all"
"""In a wish to deliver again: everything."""
_GONE: Final = 410
_JITTER: Final = 0.2
"""An attempt comes later than the schedule says by up to this share."""
_LONGEST_PAUSE: Final = 24 * 3600.0
_SPARE_SECONDS: Final = 3600.0


def freeze(status: SeparationJobStatus, separation: Separation, told: Iterable[Target], now: datetime) -> None:
    """Write down who is to be told that this run has ended."""
    status.webhooks = []
    status.last_handled_redelivery = separation.redeliver
    event = event_of(phase_of(status.conditions), test=separation.spec.webhook_test)
    _add(status, told, event, separation.track_id, now)
    conclude(status, now)


def take_in(status: SeparationJobStatus, named: Collection[Target], track_id: str, now: datetime) -> None:
    """Write down addresses that were named after the end; each gets one delivery."""
    known, event = {one.url for one in status.webhooks}, event_of(phase_of(status.conditions))
    new = [one for one in named if one.url not in known and event in one.events]
    if not new:
        return
    room = TARGETS_LIMIT - len(new)
    urls = {one.url for one in named}
    kept = [one for one in status.webhooks if one.pending or one.url in urls]
    others = [one for one in status.webhooks if one not in kept]
    status.webhooks = [*others[max(0, len(others) + len(kept) - room) :], *kept]
    _add(status, new, event, track_id, now)


def _add(status: SeparationJobStatus, told: Iterable[Target], event: EventType, track_id: str, now: datetime) -> None:
    run, due = status.run or 1, now.replace(microsecond=0)
    added = [
        WebhookStatus(
            id=webhook_id(track_id, run, event, one.url),
            url=one.url,
            endpoint=one.endpoint,
            key=one.key,
            next_attempt_at=due,
        )
        for one in told
        if event in {*one.events, EventType.TEST}
    ]
    status.webhooks = [*status.webhooks, *added][:TARGETS_LIMIT]


def deliver_again(status: SeparationJobStatus, wish: str | None, now: datetime) -> None:
    """Carry out a wish to deliver again, once: what was delivered or given up starts anew, what is pending is due."""
    if wish is None or wish == status.last_handled_redelivery:
        return
    status.last_handled_redelivery = wish
    asked = frozenset(wish.partition(" ")[0].split(","))
    status.webhooks = [_again(one, now) if ALL in asked or one.id in asked else one for one in status.webhooks]


def _again(one: WebhookStatus, now: datetime) -> WebhookStatus:
    due = now.replace(microsecond=0)
    if one.pending:
        return one.model_copy(update={"next_attempt_at": due})
    return one.model_copy(update={"attempts": 0, "delivered_at": None, "next_attempt_at": due})


def record(
    status: SeparationJobStatus, attempts: Iterable[AttemptResult], settings: Settings, *, once: bool = False
) -> None:
    """Take in what came of attempts; one that the outbox does not wait for changes nothing. `once` allows no second."""
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
            "next_attempt_at": None if ended else _next(one.id, made, attempt, schedule),
        }
    )


def _next(message_id: str, made: int, attempt: AttemptResult, schedule: Sequence[float]) -> datetime:
    """Return when the next attempt is due: by the schedule, spread by a hash, and not before the consumer asks for it.

    A hash instead of chance: the same world always gives the same decision, and consumers still meet no wave.
    """
    share = int.from_bytes(hashlib.sha256(f"{message_id}\n{made}".encode()).digest()[:4]) / 2**32
    pause = schedule[made] * (1 + _JITTER * share)
    asked = min(attempt.retry_after or 0, _LONGEST_PAUSE)
    return attempt.at + timedelta(seconds=max(pause, asked))


def settled_by(before: SeparationJobStatus, after: SeparationJobStatus) -> list[WebhookStatus]:
    """Return the deliveries that a write has made, or given up."""
    waited = {one.id for one in before.webhooks if one.pending}
    return [one for one in after.webhooks if one.id in waited and not one.pending]


def conclude(status: SeparationJobStatus, now: datetime) -> None:
    """Set the condition that tells how the deliveries stand; without any there is none."""
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


def due(status: SeparationJobStatus, but: Collection[str], now: datetime) -> tuple[WebhookStatus, ...]:
    """Return the deliveries to attempt now, without those that are seen to already."""
    return tuple(
        one
        for one in status.webhooks
        if one.pending and one.id not in but and one.next_attempt_at is not None and one.next_attempt_at <= now
    )


def until_next(status: SeparationJobStatus, but: Collection[str], now: datetime) -> float | None:
    """Return the seconds until the next delivery is due, None where none is or all are seen to."""
    times = [one.next_attempt_at for one in status.webhooks if one.pending and one.id not in but]
    seconds = [(time - now).total_seconds() for time in times if time is not None]
    return max(0.0, min(seconds)) if seconds else None


def outstanding(status: SeparationJobStatus, now: datetime, settings: Settings) -> bool:
    """Return whether a delivery is still to be waited for; not for ever, even where a dead consumer blocks it."""
    if not any(one.pending for one in status.webhooks):
        return False
    whole = sum(settings.webhook_schedule) * (1 + _JITTER) + _SPARE_SECONDS
    due = [one.next_attempt_at for one in status.webhooks if one.pending and one.next_attempt_at is not None]
    return (now - max(due)).total_seconds() < whole
