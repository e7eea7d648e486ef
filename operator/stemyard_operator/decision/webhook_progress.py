"""What is told of a run under way: that it started, and how far it is by each write made anyway. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from stemyard_contract.event_types import EventType
from stemyard_contract.separationjob import TERMINAL_PHASES, Phase, SeparationJobStatus
from stemyard_contract.webhook import processing_body, webhook_id
from stemyard_operator.decision.webhook_targets import Target
from stemyard_operator.model.separation import Separation


@dataclass(frozen=True, slots=True)
class ProgressWebhook:
    """News that is told once or not at all: it is not kept, and not tried again."""

    id: str
    url: str
    event: EventType
    run: int
    body: bytes
    endpoint: str | None = None
    key: str | None = None


def start_of(separation: Separation, told: Iterable[Target]) -> list[ProgressWebhook]:
    """Return the news that the first pod of a run has started; the status says whether that is known already."""
    status, run = separation.status, separation.spec.run
    known = status if status.run == run else SeparationJobStatus()
    if known.started_at is not None:
        return []
    phase = Phase.FETCHING if known.phase in {None, Phase.PENDING} else Phase(known.phase)
    return _to_each(separation, EventType.STARTED, run, known.progress or 0, phase, told)


def progress_of(before: Separation, after: SeparationJobStatus, told: Iterable[Target]) -> list[ProgressWebhook]:
    """Return the news of a status write that has just been made: how far a run under way is."""
    phase = after.phase or Phase.PENDING
    known = before.status if before.status.run == after.run else SeparationJobStatus()
    if phase in TERMINAL_PHASES or (after.progress or 0) <= (known.progress or 0):
        return []
    return _to_each(before, EventType.PROGRESS, after.run or 1, after.progress or 0, phase, told)


def _to_each(
    separation: Separation, event: EventType, run: int, progress: int, phase: Phase, told: Iterable[Target]
) -> list[ProgressWebhook]:
    track, part = separation.track_id, progress if event is EventType.PROGRESS else None
    body = processing_body(track, progress, separation.created.timestamp(), phase)
    return [
        ProgressWebhook(webhook_id(track, run, event, one.url, part), one.url, event, run, body, one.endpoint, one.key)
        for one in told
        if event in one.events
    ]
