"""The page for kubectl users names every condition, reason and event there is, and no other."""

import re
from pathlib import Path

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import ConditionType, Phase, Reason
from stemyard_operator.decision import events
from tests.operator.decision.test_decide import separating
from tests.operator.world import World

PAGE = (Path(__file__).parents[3] / "docs/04-kubectl.md").read_text()


def words(text: str) -> set[str]:
    return set(re.findall(r"`([A-Z]\w+)`", text))


def rows() -> list[list[str]]:
    table = PAGE.partition("| condition | reason | means |\n|---|---|---|\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_reason_is_explained() -> None:
    assert set().union(*(words(reason) for _, reason, _ in rows())) == set(Reason)


def test_every_condition_is_explained() -> None:
    named = {name for condition, _, _ in rows() for name in re.findall(r"`(\w+)(?:=\w+)?`", condition)}
    assert named == set(ConditionType)


def test_every_event_is_listed() -> None:
    listed = PAGE.partition("Events have fixed reasons")[2].partition("\n\n")[0]
    assert words(listed) == set(events.REASONS)


@pytest.mark.parametrize(("stage", "phase"), [(WorkStage.FETCH, Phase.FETCHING), (WorkStage.SEPARATE, Phase.QUEUED)])
def test_the_columns_during_a_retry_are_as_explained(stage: WorkStage, phase: Phase) -> None:
    world = World()
    world.settle()
    if stage is WorkStage.SEPARATE:
        separating(world)
    world.end(world.job(stage), "Failed", exit_code=FAILURES[FailureCode.INTERNAL_IO].exit_code)
    world.settle()
    status = world.separation.status
    assert status.retry_at is not None
    assert (world.phase(), status.reason) == (phase, "InternalIo")
    [(_, _, meaning)] = [row for row in rows() if "Retrying" in words(row[1])]
    assert f"`{phase}` ({stage})" in meaning
    assert "the column REASON has the failure code in CamelCase" in meaning
