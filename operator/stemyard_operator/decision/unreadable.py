"""The decision about a SeparationJob whose spec the types cannot read, as one stored under an older CRD. Pure."""

from datetime import datetime

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode, Stage
from stemyard_contract.separationjob import RUN_LIMIT, STAND_IN_SPEC, ConditionType, Reason, SeparationJobStatus
from stemyard_contract.validation import error_lines
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.status import derive_phase, fail
from stemyard_operator.model.conditions import set_condition
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.separation import Resource, separation_of


def refuse_unreadable(
    resource: Resource, api_namespace: str, error: ValidationError, now: datetime
) -> tuple[Observed, Decision] | None:
    """Return the decision that fails it and what that was made from; None if it is to be left alone.

    One that was accepted is left alone: it is at work for an operator of another version, which can read it. One that
    was refused is not refused again.
    """
    status = resource.get("status") or {}
    accepted = any(
        one.get("type") == ConditionType.ACCEPTED and one["status"] == "True" for one in status.get("conditions", ())
    )
    if accepted or status.get("observedGeneration") == resource["metadata"].get("generation"):
        return None
    stated = resource["spec"].get("run", 1)
    run = stated if isinstance(stated, int) and 1 <= stated <= RUN_LIMIT else 1
    separation = separation_of({**resource, "spec": {**STAND_IN_SPEC, "run": run}, "status": {}}, api_namespace)
    message = "; ".join(error_lines(error))
    refused = SeparationJobStatus(run=run, track_id=separation.track_id)
    set_condition(refused, ConditionType.ACCEPTED, "False", Reason.INVALID, now, message)
    fail(refused, FailureCode.INVALID_REQUEST, Stage.REQUEST, now, message)
    return Observed(separation), Decision(status=derive_phase(refused, separation, now))
