"""Second-level deduplication: copies the stems of another separation of the same recording, or waits for them. Pure."""

from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Reason
from stemyard_operator.decision.actions import CopyStems, FindMark, Step, query
from stemyard_operator.decision.status_draft import StatusDraft

_LOOK_SECONDS: Final = 60


def reuse_duplicate(draft: StatusDraft) -> Step | None:
    """Return the step that reuses the stems of a duplicate, or None if the run has to separate by itself.

    A run that replaces a result never reuses one: it was requested to make a new one.
    """
    if draft.status.result is not None:
        return None
    completed = [other for other in draft.observed.duplicates if other.manifest_key]
    if completed:
        if WorkStage.SEPARATE not in draft.observed.looked:
            return query(FindMark(WorkStage.SEPARATE))
        other = completed[0]
        copy = CopyStems(other.name, other.uid, other.manifest_key, other.processing_seconds)
        return Step(copy=copy, requeue_after=0, write=False)
    first = next((other.name for other in draft.observed.duplicates if other.first), None)
    if first is None:
        return None
    if draft.queue_deadline <= draft.now:
        return draft.fail(FailureCode.QUEUE_DEADLINE, WorkStage.SEPARATE)
    message = f"{first} is separating the same recording; its stems will be copied."
    draft.waiting(WorkStage.SEPARATE, Reason.DUPLICATE, message)
    return Step(requeue_after=min(_LOOK_SECONDS, (draft.queue_deadline - draft.now).total_seconds()))
