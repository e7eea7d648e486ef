"""Webhooks of a running separation: `separation.started` and `separation.progress`. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from stemyard_contract.event_types import EventType
from stemyard_contract.separationjob import TERMINAL_PHASES, Phase, SeparationJobStatus
from stemyard_contract.webhook import processing_body, webhook_id
from stemyard_operator.decision.webhook_targets import Target
from stemyard_operator.model.separation import Separation


@dataclass(frozen=True, slots=True)
class ProgressWebhook:
    """A webhook that is sent at most once: neither persisted nor retried."""

    id: str
    url: str
    event: EventType
    run: int
    body: bytes
    endpoint: str | None = None
    key: str | None = None
    registration: str | None = None


def started_webhooks(separation: Separation, targets: Iterable[Target]) -> list[ProgressWebhook]:
    """Return the webhooks about the start of a run's first pod, none if the status has recorded the start already."""
    status, run = separation.status, separation.spec.run
    known = status if status.run == run else SeparationJobStatus()
    if known.started_at is not None:
        return []
    phase = Phase.FETCHING if known.phase in {None, Phase.PENDING} else Phase(known.phase)
    return _for_each(separation, EventType.STARTED, run, known.progress or 0, phase, targets)


def progress_webhooks(
    before: Separation, after: SeparationJobStatus, targets: Iterable[Target]
) -> list[ProgressWebhook]:
    """Return the webhooks about the progress that a status write has recorded."""
    phase = after.phase or Phase.PENDING
    known = before.status if before.status.run == after.run else SeparationJobStatus()
    if phase in TERMINAL_PHASES or (after.progress or 0) <= (known.progress or 0):
        return []
    return _for_each(before, EventType.PROGRESS, after.run or 1, after.progress or 0, phase, targets)


def _for_each(
    separation: Separation, event: EventType, run: int, progress: int, phase: Phase, targets: Iterable[Target]
) -> list[ProgressWebhook]:
    track, part = separation.track_id, progress if event is EventType.PROGRESS else None
    body = processing_body(track, progress, separation.created.timestamp(), phase)
    return [
        ProgressWebhook(
            webhook_id(track, run, event, one.url, part, one.registration),
            one.url,
            event,
            run,
            body,
            one.endpoint,
            one.key,
            one.registration,
        )
        for one in targets
        if event in one.events
    ]
