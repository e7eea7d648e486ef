"""Decisions about a finished run: webhook deliveries, leftover artifacts, and deletion after the TTL. Pure."""

from datetime import datetime
from typing import Final

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import Phase, SeparationJobSpec, SeparationJobStatus, phase_of
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.artifacts import objects_of_source
from stemyard_operator.decision.status import derive_phase
from stemyard_operator.decision.usage import ENDING_SECONDS, is_ending, unread_ends, usage_after
from stemyard_operator.decision.webhook_outbox import (
    GATHER_SECONDS,
    add_late_targets,
    forget_withdrawn,
    record_attempts,
    redeliver,
    set_delivered_condition,
)
from stemyard_operator.decision.webhook_retries import due_deliveries, has_outstanding, seconds_until_next
from stemyard_operator.decision.webhook_targets import requested_targets, targets
from stemyard_operator.model.job import Job, live_jobs
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.separation import LEFTOVER_SECONDS

_LEFTOVER_WINDOW: Final = 3600
_OUTSTANDING_LOOK_SECONDS: Final = 60.0
"""Interval at which an expired SeparationJob is checked while webhooks are outstanding."""


def decide_finished(observed: Observed, now: datetime, settings: Settings) -> Decision:
    """Return the decision about a separation whose run has ended."""
    separation = observed.separation
    unread = unread_ends(observed, now)
    if unread:
        return Decision(queries=unread)
    ending = [job for job in observed.jobs if is_ending(job, separation.status, now)]
    stop = tuple(job for job in live_jobs(observed.jobs) if job.deleted_at is None and job not in ending)
    draft = _draft_status(observed, now, settings)
    gather = _gather_seconds(observed)
    recorded = tuple(attempt.id for attempt in observed.attempt_results)
    outdated = separation.status.observed_generation != separation.generation
    if outdated or (draft != separation.status and gather <= 0):
        return Decision(status=derive_phase(draft, separation, now), recorded=recorded, stop=stop, requeue_after=0)
    handled = observed.in_flight.union(recorded)
    deliver = due_deliveries(separation.status, handled, now)
    waits = [
        seconds_until_next(separation.status, handled | {one.id for one in deliver}, now),
        gather if gather > 0 else None,
        ENDING_SECONDS - _seconds_since_end(separation.status, now) if ending else None,
    ]
    return _decide_expiry(observed, now, settings, stop, deliver, [wait for wait in waits if wait is not None])


def life_seconds(phase: Phase, spec: SeparationJobSpec, settings: Settings) -> float | None:
    """Return the TTL of a finished SeparationJob in seconds, None if it is kept.

    Failed and cancelled ones may have a shorter one, but are kept too where no TTL is set: what is declared in git
    would be created, and fail, again and again.
    """
    longest = {Phase.FAILED: settings.ttl_failed_seconds, Phase.CANCELLED: settings.ttl_cancelled_seconds}
    ttl = spec.ttl_seconds_after_finished
    return None if ttl is None else min(ttl, longest.get(phase, ttl))


def _draft_status(observed: Observed, now: datetime, settings: Settings) -> SeparationJobStatus:
    separation = observed.separation
    draft = separation.status.draft()
    if draft.usage is not None and draft.usage.ending_jobs:
        draft.usage = usage_after(observed, draft, now, settings)
    record_attempts(draft, observed.attempt_results, settings, once=separation.spec.webhook_test)
    claims = [claim.key for claim in separation.spec.claims]
    consumers = observed.endpoints, observed.registrations
    forget_withdrawn(draft, claims, targets(separation.spec, settings, *consumers))
    add_late_targets(draft, requested_targets(separation.spec, *consumers), separation.track_id, now)
    redeliver(draft, separation.redeliver, now)
    if draft.webhooks != separation.status.webhooks:
        set_delivered_condition(draft, now)
    return draft


def _seconds_since_end(status: SeparationJobStatus, now: datetime) -> float:
    return (now - (status.finished_at or now)).total_seconds()


def _gather_seconds(observed: Observed) -> float:
    """Return the seconds that webhook results may still wait to be written together with those in flight."""
    if not observed.attempt_results or not observed.in_flight:
        return 0
    return GATHER_SECONDS - observed.attempt_results_age


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
    since = _seconds_since_end(status, now)
    life = life_seconds(phase_of(status.conditions), spec, settings)
    if life is not None:
        left = life - since
        ending = any(is_ending(job, status, now) for job in observed.jobs)
        if left <= 0 and not ending and not has_outstanding(status, now, settings):
            return Decision(stop=stop, delete=True)
        waits = [*waits, left if left > 0 else _OUTSTANDING_LOOK_SECONDS]
    until_removal = LEFTOVER_SECONDS - since
    if phase_of(status.conditions) is Phase.COMPLETED or until_removal <= -_LEFTOVER_WINDOW:
        return Decision(stop=stop, deliver=deliver, requeue_after=min(waits, default=None))
    if until_removal > 0:
        return Decision(stop=stop, deliver=deliver, requeue_after=min([*waits, until_removal]))
    remove = objects_of_source(status, observed.unneeded_upload, settings.stemyard_install_id)
    return Decision(remove=remove, stop=stop, deliver=deliver, requeue_after=min(waits, default=None))
