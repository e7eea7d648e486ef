"""The retry schedule of webhooks: when the next attempt is due. Pure.

The default schedule is `RETRY_SCHEDULE` of `stemyard_contract.webhook`; `WEBHOOK_SCHEDULE` replaces it.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.config.settings import Settings
from stemyard_operator.model.attempt_result import AttemptResult

_JITTER: Final = 0.2
"""Maximum jitter, as a share of the delay."""
_LONGEST_PAUSE: Final = 24 * 3600.0
_SPARE_SECONDS: Final = 3600.0


def next_attempt_at(message_id: str, made: int, attempt: AttemptResult, schedule: Sequence[float]) -> datetime:
    """Return when the next attempt is due: by the retry schedule, with jitter, and not before Retry-After.

    The jitter is a hash: the same observed state always gives the same decision, and consumers see no bursts.

    Args:
        message_id: id of the delivery.
        made: attempts made so far.
        attempt: the last one.
        schedule: seconds before each attempt, counted from the one before it.
    """
    share = int.from_bytes(hashlib.sha256(f"{message_id}\n{made}".encode()).digest()[:4]) / 2**32
    pause = schedule[made] * (1 + _JITTER * share)
    retry_after = min(attempt.retry_after or 0, _LONGEST_PAUSE)
    return attempt.at + timedelta(seconds=max(pause, retry_after))


def due_deliveries(status: SeparationJobStatus, excluded: Collection[str], now: datetime) -> tuple[WebhookStatus, ...]:
    """Return the deliveries that are due, except those in `excluded`."""
    return tuple(
        one
        for one in status.webhooks
        if one.pending and one.id not in excluded and one.next_attempt_at is not None and one.next_attempt_at <= now
    )


def seconds_until_next(status: SeparationJobStatus, excluded: Collection[str], now: datetime) -> float | None:
    """Return the seconds until the next delivery is due, except those in `excluded`; None if there is none."""
    times = [one.next_attempt_at for one in status.webhooks if one.pending and one.id not in excluded]
    seconds = [(time - now).total_seconds() for time in times if time is not None]
    return max(0.0, min(seconds)) if seconds else None


def has_outstanding(status: SeparationJobStatus, now: datetime, settings: Settings) -> bool:
    """Return whether a delivery is outstanding; bounded, even if the queue of a dead consumer blocks it."""
    if not any(one.pending for one in status.webhooks):
        return False
    whole = sum(settings.webhook_schedule) * (1 + _JITTER) + _SPARE_SECONDS
    due = [one.next_attempt_at for one in status.webhooks if one.pending and one.next_attempt_at is not None]
    return (now - max(due)).total_seconds() < whole
