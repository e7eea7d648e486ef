"""SeparationJobs that the types cannot read, stored under another CRD."""

from typing import Any

import pytest
from pydantic import ValidationError

from stemyard_contract.separationjob import Phase
from stemyard_operator.decision.unreadable import refuse_unreadable
from stemyard_operator.model.separation import separation_of
from tests.operator.world import NAMESPACE, SPEC, START, World


def refused(**spec: Any) -> tuple[Phase | None, int | None]:
    resource = World(spec={**SPEC, **spec}).resource
    with pytest.raises(ValidationError) as caught:
        separation_of(resource, NAMESPACE)
    found = refuse_unreadable(resource, NAMESPACE, caught.value, START)
    assert found is not None
    status = found[1].status
    assert status is not None
    assert {one.type: (one.status, one.reason) for one in status.conditions}["Accepted"] == ("False", "Invalid")
    return status.phase, status.run


@pytest.mark.parametrize(
    ("spec", "run"),
    [
        ({"model": "Nope!"}, 1),
        ({"model": "Nope!", "run": 7}, 7),
        ({"run": 0}, 1),
        ({"run": "x"}, 1),
        ({"run": 10**9}, 1),
    ],
)
def test_one_that_cannot_be_read_fails(spec: dict[str, Any], run: int) -> None:
    assert refused(**spec) == (Phase.FAILED, run)


def test_one_that_was_accepted_or_refused_before_is_left_alone() -> None:
    world = World()
    world.settle()
    world.spec = {**SPEC, "model": "Nope!"}
    error = ValidationError.from_exception_data("x", [])
    assert refuse_unreadable(world.resource, NAMESPACE, error, START) is None
