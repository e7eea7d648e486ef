"""The status says what is: phases, summaries for kstatus, generations and the time in the queue."""

from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Phase
from tests.operator.decision.test_decide import SCHEDULED, conditions, failure, fetched, pending, separating, unready
from tests.operator.decision.test_suspend import resume, stopped, suspend
from tests.operator.world import SPEC, World

FETCH, SEPARATE = WorkStage
PULLING = [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]


def cancel(world: World) -> None:
    world.spec = {**world.spec, "cancel": True}
    world.generation += 1


def test_a_retry_has_the_whole_time_in_the_queue() -> None:
    """Running is not waiting: the deadline of the queue was over before the second attempt could start."""
    world = separating(World(spec={**SPEC, "deadlines": {"queue": 600}}))
    world.wait(3000)
    world.end(world.job(SEPARATE), "Failed", exit_code=1)
    world.settle()
    world.room.clear()
    world.wait(300)
    world.settle()
    assert failure(world) is None
    assert world.phase() is Phase.QUEUED
    world.wait(301)
    world.settle()
    assert failure(world) == "QUEUE_DEADLINE"


def test_a_pod_that_replaces_a_disrupted_one_has_the_whole_time_in_the_queue() -> None:
    world = separating(World(spec={**SPEC, "deadlines": {"queue": 600}}))
    world.wait(3000)
    world.disruptions = 1
    world.pods.clear()
    unready(world)
    for _ in range(3):
        world.wait(100)
        world.settle()
    assert failure(world) is None
    assert world.phase() is Phase.QUEUED


def test_a_deadline_that_passes_before_the_container_started_is_of_the_start() -> None:
    world = fetched(World(spec={**SPEC, "deadlines": {"separate": 90}}))
    job = world.job(SEPARATE)
    world.pod(job, phase="Failed", reason="DeadlineExceeded", containerStatuses=PULLING)
    job["status"] = {"failed": 1, "conditions": [{"type": "Failed", "status": "True"}]}
    world.settle()
    assert world.separation.status.reason == "StartDeadline"


@pytest.mark.parametrize(("stage", "phase"), [(FETCH, Phase.PENDING), (SEPARATE, Phase.QUEUED)])
def test_a_pod_whose_image_cannot_be_pulled_is_not_at_work(stage: WorkStage, phase: Phase) -> None:
    world = World() if stage is FETCH else fetched(World())
    world.settle()
    pending(world, stage, conditions=SCHEDULED, containerStatuses=PULLING)
    world.wait(6)
    world.settle()
    assert (world.phase(), world.separation.status.reason) == (phase, "ImagePull")


def test_nothing_of_a_cancelled_run_is_said_to_go_on() -> None:
    world = separating(World())
    cancel(world)
    world.settle()
    stopped(world, SEPARATE)
    world.settle()
    assert world.phase() is Phase.CANCELLED
    assert conditions(world)["Admitted"] == ("False", "Cancelled")
    assert conditions(world)["Separated"] == ("False", "Cancelled")
    assert conditions(world)["Fetched"] == ("True", "Succeeded")


def summary(world: World) -> dict[str, tuple[str, str]]:
    return {kind: value for kind, value in conditions(world).items() if kind in {"Ready", "Reconciling", "Stalled"}}


def test_kstatus_waits_for_one_under_way_and_fails_with_one_that_failed() -> None:
    world = World()
    world.settle()
    assert summary(world) == {"Ready": ("False", "Fetching"), "Reconciling": ("True", "Fetching")}
    separating(world)
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert summary(world) == {"Ready": ("True", "Completed")}
    refused = World(spec={**SPEC, "model": "nope"})
    refused.settle()
    assert summary(refused) == {"Ready": ("False", "ModelNotEnabled"), "Stalled": ("True", "ModelNotEnabled")}


@pytest.mark.parametrize("change", [{"priority": 5}, {"webhooks": [{"url": "https://a.example.com"}]}])
@pytest.mark.parametrize("waiting", ["suspended", "queued", "running", "completed"])
def test_the_generation_catches_up_though_nothing_is_to_be_done(waiting: str, change: dict[str, Any]) -> None:
    """`kubectl wait` ignores conditions of an older generation."""
    world = fetched(World())
    world.run(world.job(SEPARATE))
    world.settle()
    if waiting == "suspended":
        suspend(world)
        stopped(world, SEPARATE)
    elif waiting == "queued":
        world.end(world.job(SEPARATE), "Failed", exit_code=1)
        world.room.clear()
    elif waiting == "completed":
        world.succeed(world.job(SEPARATE))
    world.settle()
    world.spec = {**world.spec, **change}
    world.generation += 1
    world.settle()
    status = world.separation.status
    assert status.observed_generation == world.generation
    assert {one.observed_generation for one in status.conditions} == {world.generation}


def test_a_resumed_run_is_not_said_to_be_suspended_while_its_job_starts() -> None:
    world = separating(World())
    suspend(world)
    stopped(world, SEPARATE)
    world.settle()
    resume(world)
    world.settle()
    assert world.created[-1].endswith("-s1-2")
    assert conditions(world)["Suspended"] == ("False", "Resumed")


def test_no_stage_is_said_to_run_while_suspended_or_between_attempts() -> None:
    world = separating(World())
    world.end(world.job(SEPARATE), "Failed", exit_code=1)
    world.settle()
    assert conditions(world)["Separated"] == ("False", "Retrying")
    suspend(world)
    world.settle()
    assert conditions(world)["Separated"] == conditions(world)["Admitted"] == ("False", "Suspended")


def test_a_run_that_is_suspended_while_it_fetches_waits_for_a_slot_when_it_is_resumed() -> None:
    world = World()
    world.settle()
    world.run(world.job(FETCH))
    world.settle()
    suspend(world)
    stopped(world, FETCH)
    world.settle()
    assert conditions(world)["Fetched"] == ("False", "Suspended")
    world.room.clear()
    resume(world)
    world.wait(10)
    world.settle()
    assert conditions(world)["Fetched"] == ("False", "ConcurrencyLimit")
    assert world.phase() is Phase.PENDING


def test_the_model_is_named_not_auto() -> None:
    world = World()
    world.settle()
    assert world.separation.status.model == world.config.default_model
