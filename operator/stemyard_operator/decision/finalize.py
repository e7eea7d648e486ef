"""The end of a decision about a running separation: derives the rest of the status and decides whether to write it.

Pure. Called once by `decide`, after the policies have filled the draft.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from stemyard_contract.separationjob import ConditionType, Phase, SeparationJobStatus
from stemyard_operator.decision.actions import Decision, Step
from stemyard_operator.decision.status import derive_phase
from stemyard_operator.decision.status_draft import HOLD_SECONDS, QUIET_REASONS, TICK_SECONDS, StatusDraft
from stemyard_operator.decision.usage import usage_after
from stemyard_operator.model.conditions import holds

_MINOR_FIELDS: Final = frozenset({"progress", "pod", "started_at", "observed_generation", "reason", "usage"})
_MAJOR_FIELDS: Final = tuple(
    name for name in SeparationJobStatus.model_fields if name not in {*_MINOR_FIELDS, "conditions"}
)


def finalize(draft: StatusDraft, step: Step) -> Decision:
    """Return the decision of a step, with the draft as its status if it is to be written now."""
    requeue_after, write = step.requeue_after, False
    if step.write:
        _take_progress(draft)
        draft.status.usage = usage_after(draft.observed, draft.status, draft.now, draft.settings)
        derive_phase(draft.status, draft.separation, draft.now)
        hold = _hold_seconds(draft)
        write = hold <= 0 and _is_worth_writing(draft)
        if hold > 0 and (requeue_after is None or hold < requeue_after):
            requeue_after = hold
    return Decision(
        queries=step.queries,
        remove=step.remove,
        copy=step.copy,
        create=step.create,
        status=draft.status if write else None,
        stop=step.stop,
        waiting_for=step.waiting_for,
        waiting_shape=step.waiting_shape,
        requeue_after=requeue_after,
    )


def _take_progress(draft: StatusDraft) -> None:
    progress, disruptions = draft.observed.progress, draft.observed.disruptions
    if progress is not None:
        draft.status.progress = max(draft.status.progress or 0, min(99, int(progress)))
    if disruptions > draft.attempts.disruptions:
        draft.status.attempts = draft.attempts.model_copy(update={"disruptions": disruptions})


def _hold_seconds(draft: StatusDraft) -> float:
    """Return the seconds that a write may be delayed, since an expected event will replace it."""
    status = draft.status
    visible = holds(status, ConditionType.ADMITTED) or holds(status, ConditionType.SUSPENDED)
    if draft.urgent or status.finished_at or status.attempt_over or visible:
        return 0
    if draft.hold_seconds > 0:
        return draft.hold_seconds
    if holds(status, ConditionType.FETCHED) and not holds(draft.separation.run_status, ConditionType.FETCHED):
        return _hold_left(status.queued_at, draft.now)
    return _hold_left(draft.separation.created, draft.now) if status.phase is Phase.PENDING else 0


def _hold_left(since: datetime | None, now: datetime) -> float:
    return (since + timedelta(seconds=HOLD_SECONDS) - now).total_seconds() if since else 0


def _is_worth_writing(draft: StatusDraft) -> bool:
    before, after = draft.separation.status, draft.status
    if before.observed_generation != after.observed_generation:
        return True  # `kubectl wait` ignores conditions of an older generation
    if _major_content(before) != _major_content(after):
        return True
    return before != after and draft.observed.seconds_since_write >= TICK_SECONDS


def _major_content(status: SeparationJobStatus) -> tuple[list[Any], dict[str, Any]]:
    """Return the part of a status whose change is written immediately; other changes wait for the next tick."""
    conditions = {
        one.type: (one.status, "" if one.reason in QUIET_REASONS else one.reason) for one in status.conditions
    }
    return [getattr(status, name) for name in _MAJOR_FIELDS], conditions
