"""Second-level deduplication: stems of the same recording, taken from another separation or waited for. Pure."""

from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Reason
from stemyard_operator.decision.actions import Copy, Decision, LookForMark, ask
from stemyard_operator.decision.status_draft import StatusDraft

_LOOK_SECONDS: Final = 60


def reuse(turn: StatusDraft) -> Decision | None:
    """Return the step that spares the run its own separation, or None where it has to separate.

    A run that replaces a result was asked for to make a new one.
    """
    if turn.status.result is not None:
        return None
    made = [other for other in turn.observed.duplicates if other.manifest_key]
    if made:
        if WorkStage.SEPARATE not in turn.observed.looked:
            return ask(LookForMark(WorkStage.SEPARATE))
        other = made[0]
        copy = Copy(other.name, other.uid, other.manifest_key, other.processing_seconds)
        return Decision(copy=copy, again_in=0)
    first = next((other.name for other in turn.observed.duplicates if other.first), None)
    if first is None:
        return None
    if turn.queue_deadline <= turn.now:
        return turn.end(FailureCode.QUEUE_DEADLINE, WorkStage.SEPARATE)
    message = f"{first} is separating the same recording; its stems will be copied."
    turn.waits(WorkStage.SEPARATE, Reason.DUPLICATE, message)
    return turn.step(min(_LOOK_SECONDS, (turn.queue_deadline - turn.now).total_seconds()))
