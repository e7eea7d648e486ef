"""Suspend and resume: nothing runs meanwhile, nothing is lost, and no attempt counts as a failure."""

import pytest

from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.separationjob import Phase
from stemyard_operator.decision.events import events_of
from tests.operator.decision.test_decide import conditions, failure, fetched, separating
from tests.operator.world import SPEC, World

FETCH, SEPARATE = WorkStage


def suspend(world: World) -> None:
    world.spec["suspend"] = True
    world.settle()


def resume(world: World) -> None:
    world.spec["suspend"] = False
    world.settle()


def stopped(world: World, stage: WorkStage, attempt: int = 1) -> None:
    """Let a Job that was stopped be gone."""
    job = world.job(stage, attempt)
    assert "deletionTimestamp" in job["metadata"]
    world.vanish(job)
    world.settle()


def test_the_job_is_stopped_first() -> None:
    world = separating(World())
    suspend(world)
    assert world.phase() is Phase.SEPARATING
    assert conditions(world)["Suspended"] == ("False", "Suspending")
    stopped(world, SEPARATE)
    assert world.phase() is Phase.SUSPENDED
    assert conditions(world)["Suspended"] == ("True", "Suspended")
    assert conditions(world)["Admitted"] == ("False", "Suspended")
    writes = len(world.writes)
    world.wait(100_000)
    world.settle()
    assert len(world.writes) == writes
    assert world.requeue_after is None


def test_resume_goes_on_with_the_next_attempt_and_what_was_fetched() -> None:
    world = separating(World(spec={**SPEC, "retryPolicy": {"limit": 0}}))
    for attempt in (1, 2, 3):
        suspend(world)
        stopped(world, SEPARATE, attempt)
        resume(world)
        assert world.created[-1].endswith(f"-s1-{attempt + 1}")
        world.run(world.job(SEPARATE, attempt + 1))
        world.settle()
    assert world.phase() is Phase.SEPARATING
    assert conditions(world)["Suspended"] == ("False", "Resumed")
    assert len([name for name in world.created if "-f1-" in name]) == 1
    world.succeed(world.job(SEPARATE, 4))
    world.settle()
    assert world.phase() is Phase.COMPLETED


def test_suspended_before_what_was_fetched_is_written_down() -> None:
    world = fetched(World(spec={**SPEC, "retryPolicy": {"limit": 0}}))
    assert conditions(world)["Fetched"][0] == "False"
    suspend(world)
    stopped(world, SEPARATE)
    assert world.phase() is Phase.SUSPENDED
    resume(world)
    assert world.created[-1].endswith("-s1-2")


def test_failures_before_and_after_still_count() -> None:
    world = World(spec={**SPEC, "retryPolicy": {"limit": 1}})
    world.settle()
    lost = Outcome(stage=FETCH, code="SOURCE_NETWORK").dump()
    world.end(world.job(FETCH), "Failed", message=lost)
    world.settle()
    suspend(world)
    assert world.phase() is Phase.SUSPENDED
    resume(world)
    world.wait(20)
    world.settle()
    suspend(world)
    stopped(world, FETCH, 2)
    resume(world)
    world.end(world.job(FETCH, 3), "Failed", message=lost)
    world.settle()
    assert failure(world) == "SOURCE_NETWORK"


def test_what_ended_before_it_was_stopped_is_not_done_again() -> None:
    world = fetched(World())
    world.spec["suspend"] = True
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED

    world = World()
    world.settle()
    world.spec["suspend"] = True
    world.succeed(world.job(FETCH))
    world.settle()
    assert world.phase() is Phase.SUSPENDED
    assert conditions(world)["Fetched"][0] == "True"
    resume(world)
    assert world.created[-1].endswith("-s1-1")


def test_resumed_while_the_job_is_still_stopping() -> None:
    world = separating(World(spec={**SPEC, "retryPolicy": {"limit": 0}}))
    suspend(world)
    resume(world)
    assert len(world.created) == 2
    world.vanish(world.job(SEPARATE))
    world.settle()
    assert world.created[-1].endswith("-s1-2")
    assert failure(world) is None


def test_suspended_from_the_start_and_resumed_without_room() -> None:
    world = World(spec={**SPEC, "suspend": True})
    world.settle()
    assert world.phase() is Phase.SUSPENDED
    assert world.created == []
    world.room.clear()
    resume(world)
    world.wait(10)
    world.settle()
    assert world.phase() is Phase.PENDING
    world.room.add(FETCH)
    world.settle()
    assert world.created[-1].endswith("-f1-1")


def test_waiting_while_suspended_does_not_use_up_the_queue_deadline() -> None:
    world = separating(World(spec={**SPEC, "deadlines": {"queue": 60}}))
    suspend(world)
    stopped(world, SEPARATE)
    world.wait(600)
    world.room.clear()
    resume(world)
    world.wait(30)
    world.settle()
    assert world.phase() is Phase.QUEUED
    world.wait(31)
    world.settle()
    assert failure(world) == "QUEUE_DEADLINE"


def test_cancel_ends_a_suspended_one() -> None:
    world = separating(World())
    suspend(world)
    stopped(world, SEPARATE)
    world.spec["cancel"] = True
    world.settle()
    assert world.phase() is Phase.CANCELLED
    assert conditions(world)["Suspended"][0] == "False"


@pytest.mark.parametrize("crash", range(6))
def test_a_crash_within_any_step_counts_no_failure(crash: int) -> None:
    for crashing in range(6):
        world = separating(World(spec={**SPEC, "retryPolicy": {"limit": 0}}))
        for number in range(6):
            world.spec["suspend"] = number < 3
            world.step(crash_after=crash if number == crashing else None)
            for name in list(world.jobs):
                if "deletionTimestamp" in world.jobs[name]["metadata"]:
                    world.vanish(world.jobs[name])
        world.settle()
        assert failure(world) is None, (crash, crashing)
        assert world.created[-1].endswith("-s1-2")


def test_it_is_reported_by_an_event_and_not_as_a_retry() -> None:
    world = separating(World())
    reasons = []
    for spec in ({"suspend": True}, {}, {"suspend": False}):
        world.spec.update(spec)
        for _ in range(4):
            before, writes = world.separation, len(world.writes)
            world.step()
            if len(world.writes) > writes:
                reasons += [event["reason"] for event in events_of(before, world.separation.status, world.now)]
        for name in list(world.jobs):
            if "deletionTimestamp" in world.jobs[name]["metadata"]:
                world.vanish(world.jobs[name])
    assert reasons == ["Suspended"]
