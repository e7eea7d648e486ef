"""Decisions about a finished run: webhook deliveries, leftover artifacts, and deletion after the TTL. Pure."""

from datetime import datetime
from typing import Final

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import Phase, SeparationJobSpec, SeparationJobStatus, phase_of
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.artifacts import objects_of_source
from stemyard_operator.decision.status import derive_phase
from stemyard_operator.decision.webhook_outbox import (
    GATHER_SECONDS,
    conclude,
    deliver_again,
    due,
    outstanding,
    record,
    take_in,
    until_next,
)
from stemyard_operator.decision.webhook_targets import named
from stemyard_operator.model.job import Job, live_jobs
from stemyard_operator.model.observed import Observed

LEFTOVER_SECONDS: Final = 24 * 3600
"""Seconds after which source audio and upload of a failed or cancelled run are removed."""
_LEFTOVER_WINDOW: Final = 3600
_OUTSTANDING_LOOK_SECONDS: Final = 60.0
"""Interval at which an expired SeparationJob is checked while webhooks are outstanding."""


def decide_finished(observed: Observed, now: datetime, settings: Settings) -> Decision:
    """Return the decision about a separation whose run has ended."""
    separation = observed.separation
    stop = tuple(job for job in live_jobs(observed.jobs) if job.deleted_at is None)
    draft = _draft_status(observed, now, settings)
    gather = _gather_seconds(observed)
    recorded = tuple(attempt.id for attempt in observed.attempted)
    outdated = separation.status.observed_generation != separation.generation
    if outdated or (draft != separation.status and gather <= 0):
        return Decision(status=derive_phase(draft, separation), recorded=recorded, stop=stop, requeue_after=0)
    handled = observed.in_hand.union(recorded)
    deliver = due(separation.status, handled, now)
    waits = [until_next(separation.status, handled | {one.id for one in deliver}, now), gather if gather > 0 else None]
    return _decide_expiry(observed, now, settings, stop, deliver, [wait for wait in waits if wait is not None])


def life_seconds(phase: Phase, spec: SeparationJobSpec, settings: Settings) -> float:
    """Return the TTL of a finished SeparationJob in seconds; failed and cancelled ones may have a shorter one."""
    longest = {Phase.FAILED: settings.ttl_failed_seconds, Phase.CANCELLED: settings.ttl_cancelled_seconds}
    return min(spec.ttl_seconds_after_finished, longest.get(phase, spec.ttl_seconds_after_finished))


def _draft_status(observed: Observed, now: datetime, settings: Settings) -> SeparationJobStatus:
    separation = observed.separation
    draft = separation.status.draft()
    record(draft, observed.attempted, settings, once=separation.spec.webhook_test)
    take_in(draft, named(separation.spec, observed.endpoints), separation.track_id, now)
    deliver_again(draft, separation.redeliver, now)
    if draft.webhooks != separation.status.webhooks:
        conclude(draft, now)
    return draft


def _gather_seconds(observed: Observed) -> float:
    """Return the seconds that webhook results may still wait to be written together with those in flight."""
    if not observed.attempted or not observed.in_hand:
        return 0
    return GATHER_SECONDS - observed.attempted_seconds


def _decide_expiry(
    observed: Observed,
    now: datetime,
    settings: Settings,
    stop: tuple[Job, ...],
    deliver: tuple[WebhookStatus, ...],
    waits: list[float],
) -> Decision:
    separation = observed.separation
    status, spec = separation.status, separation.spec
    since = (now - (status.finished_at or now)).total_seconds()
    left = life_seconds(phase_of(status.conditions), spec, settings) - since
    if left <= 0 and not outstanding(status, now, settings):
        return Decision(stop=stop, delete=True)
    waits = [*waits, left if left > 0 else _OUTSTANDING_LOOK_SECONDS]
    until_removal = LEFTOVER_SECONDS - since
    if phase_of(status.conditions) is Phase.COMPLETED or until_removal <= -_LEFTOVER_WINDOW:
        return Decision(stop=stop, deliver=deliver, requeue_after=min(waits))
    if until_removal > 0:
        return Decision(stop=stop, deliver=deliver, requeue_after=min(*waits, until_removal))
    remove = objects_of_source(spec, status, settings.stemyard_install_id)
    return Decision(remove=remove, stop=stop, deliver=deliver, requeue_after=min(waits))
