"""After a run has ended: its webhooks, what it left behind, and its own end when its time is over. Pure."""

from datetime import datetime
from typing import Final

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import Phase, SeparationJobSpec, SeparationJobStatus, phase_of
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.artifacts import objects_of_source
from stemyard_operator.decision.status import settle
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
"""Age at which source audio and upload of a failed or cancelled run go."""
_LEFTOVER_WINDOW: Final = 3600
_LINGER_SECONDS: Final = 60.0
"""How often one that has outlived its time is looked at while webhooks are still to be delivered."""


def after_the_end(observed: Observed, now: datetime, settings: Settings) -> Decision:
    """Return the next step of a separation whose run has ended."""
    separation = observed.separation
    stop = tuple(job for job in live_jobs(observed.jobs) if job.deleted_at is None)
    draft = _draft(observed, now, settings)
    gather = _gather(observed)
    attempted = tuple(attempt.id for attempt in observed.attempted)
    asked = separation.status.observed_generation != separation.generation
    if asked or (draft != separation.status and gather <= 0):
        return Decision(status=settle(draft, separation), recorded=attempted, stop=stop, again_in=0)
    seen = observed.in_hand.union(attempted)
    deliver = due(separation.status, seen, now)
    waits = [until_next(separation.status, seen | {one.id for one in deliver}, now), gather if gather > 0 else None]
    return _over_time(observed, now, settings, stop, deliver, [wait for wait in waits if wait is not None])


def life_seconds(phase: Phase, spec: SeparationJobSpec, settings: Settings) -> float:
    """Return for how long a finished SeparationJob is kept: what it asks for, and less where it came to nothing."""
    longest = {Phase.FAILED: settings.ttl_failed_seconds, Phase.CANCELLED: settings.ttl_cancelled_seconds}
    return min(spec.ttl_seconds_after_finished, longest.get(phase, spec.ttl_seconds_after_finished))


def _draft(observed: Observed, now: datetime, settings: Settings) -> SeparationJobStatus:
    separation = observed.separation
    draft = separation.status.draft()
    record(draft, observed.attempted, settings, once=separation.spec.webhook_test)
    take_in(draft, named(separation.spec, observed.endpoints), separation.track_id, now)
    deliver_again(draft, separation.redeliver, now)
    if draft.webhooks != separation.status.webhooks:
        conclude(draft, now)
    return draft


def _gather(observed: Observed) -> float:
    """Return how many seconds results may still wait for those of deliveries under way."""
    if not observed.attempted or not observed.in_hand:
        return 0
    return GATHER_SECONDS - observed.attempted_seconds


def _over_time(
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
    waits = [*waits, left if left > 0 else _LINGER_SECONDS]
    until_leftovers = LEFTOVER_SECONDS - since
    if phase_of(status.conditions) is Phase.COMPLETED or until_leftovers <= -_LEFTOVER_WINDOW:
        return Decision(stop=stop, deliver=deliver, again_in=min(waits))
    if until_leftovers > 0:
        return Decision(stop=stop, deliver=deliver, again_in=min(*waits, until_leftovers))
    remove = objects_of_source(spec, status, settings.stemyard_install_id)
    return Decision(remove=remove, stop=stop, deliver=deliver, again_in=min(waits))
