"""Conditions of a SeparationJob: reading and setting. Pure."""

from datetime import datetime
from typing import Final, Literal

from stemyard_contract.failures import FailureCode
from stemyard_contract.separationjob import (
    Condition,
    ConditionType,
    Phase,
    SeparationJobStatus,
    phase_of,
)
from stemyard_operator.model.separation import Separation

_MESSAGE_LIMIT: Final = 1024
_ORDER: Final = {str(kind): position for position, kind in enumerate(ConditionType)}


def condition_of(status: SeparationJobStatus, kind: ConditionType) -> Condition | None:
    """Return the condition of this type, None if the status has none."""
    return next((condition for condition in status.conditions if condition.type == kind), None)


def holds(status: SeparationJobStatus, kind: ConditionType) -> bool:
    """Return whether a condition is True."""
    known = condition_of(status, kind)
    return known is not None and known.status == "True"


def set_condition(
    status: SeparationJobStatus,
    kind: ConditionType,
    value: Literal["True", "False", "Unknown"],
    reason: str,
    now: datetime,
    message: str = "",
) -> None:
    """Set a condition; lastTransitionTime changes only with its status."""
    before = condition_of(status, kind)
    since = before.last_transition_time if before and before.status == value else now.replace(microsecond=0)
    condition = Condition(
        type=kind,
        status=value,
        reason=reason,
        message=message[:_MESSAGE_LIMIT],
        last_transition_time=since,
    )
    others = [other for other in status.conditions if other.type != kind]
    status.conditions = sorted([*others, condition], key=lambda one: _ORDER.get(one.type, len(_ORDER)))


def drop_condition(status: SeparationJobStatus, kind: ConditionType) -> None:
    """Remove a condition."""
    status.conditions = [one for one in status.conditions if one.type != kind]


def camel_case(code: FailureCode) -> str:
    """Return a failure code as a condition reason: `SOURCE_TOO_LONG` is `SourceTooLong`."""
    return "".join(word.capitalize() for word in code.split("_"))


def ended(separation: Separation) -> bool:
    """Return whether the requested run has ended; a terminal phase is final within its run."""
    status = separation.status
    phase = phase_of(status.conditions)
    return status.run == separation.spec.run and phase in {Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED}
