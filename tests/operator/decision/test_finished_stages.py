"""A pod says that its stage is done: the next step does not wait for its end, and its place, time and result do."""

from datetime import timedelta
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Phase
from stemyard_operator.config.profiles import Gpu, Profile, Resources, StageProfile
from stemyard_operator.decision.actions import VerifyFinished
from stemyard_operator.decision.decide import decide
from stemyard_operator.decision.usage import ENDING_SECONDS, ending_jobs
from tests.operator.observability.test_metrics import accounts
from tests.operator.world import SPEC, World, settings

FETCH, SEPARATE = WorkStage


@pytest.fixture
def world() -> World:
    config = settings()
    fetch = StageProfile(resources=Resources(requests={"cpu": "250m"}))
    separate = StageProfile(resources=Resources(limits={"cpu": "2", "memory": "1Gi"}), gpu=Gpu(count=1))
    config.__dict__["profiles"] = {"default": Profile(fetch=fetch, separate=separate)}
    return World(config=config)


def usage(world: World) -> tuple[float, float]:
    found = world.separation.status.usage
    return (found.cpu_seconds, found.gpu_seconds) if found else (0, 0)


def is_stopped(job: dict[str, Any]) -> bool:
    return "deletionTimestamp" in job["metadata"]


def fetched(world: World) -> World:
    """Fetch has said that it is finished after 10 seconds, and its pod is ending."""
    world.settle()
    world.run(world.job(FETCH))
    world.settle()
    world.wait(10)
    world.say_finished(world.job(FETCH))
    world.settle()
    return world


def completed(world: World) -> World:
    """Separate has said that it is finished after 20 seconds, and its pod is ending."""
    fetched(world)
    world.wait(2)
    world.end(world.job(FETCH), "Complete", exit_code=0)
    world.settle()
    world.run(world.job(SEPARATE))
    world.settle()
    world.wait(20)
    world.say_finished(world.job(SEPARATE))
    world.settle()
    return world


def test_the_separate_job_is_made_while_the_fetch_pod_ends(world: World) -> None:
    fetched(world)
    assert world.live(FETCH)
    assert world.live(SEPARATE)
    assert not is_stopped(world.job(FETCH))
    world.run(world.job(SEPARATE))
    world.settle()
    status = world.separation.status
    assert status.phase is Phase.SEPARATING
    assert status.queued_at == world.now
    assert ending_jobs(status) == [world.job(FETCH)["metadata"]["name"]]
    assert usage(world) == (0, 0)


def test_the_run_completes_while_the_separate_pod_ends(world: World) -> None:
    completed(world)
    assert world.phase() is Phase.COMPLETED
    assert world.live(SEPARATE)
    assert not is_stopped(world.job(SEPARATE))
    assert [write.phase for write in world.writes] == [Phase.FETCHING, Phase.SEPARATING, Phase.COMPLETED]
    assert usage(world) == (12 * 0.25, 0), "the time of fetch, whose pod has ended"


def test_the_time_until_the_pod_is_gone_is_counted_by_one_more_write(world: World) -> None:
    told = accounts(world)
    completed(world)
    finished_at, writes = world.separation.status.finished_at, len(world.writes)
    world.wait(3)
    world.end(world.job(SEPARATE), "Complete", exit_code=0)
    world.settle()
    assert usage(world) == (12 * 0.25 + 23 * 2, 23)
    assert ending_jobs(world.separation.status) == []
    assert len(world.writes) == writes + 1
    assert world.separation.status.finished_at == finished_at
    assert sum(one.gpu_seconds for one in told) == 23
    assert [(span.name, span.seconds) for one in told for span in one.stages] == [("fetch", 12), ("separate", 23)]
    assert [one.ended for one in told if one.ended] == [Phase.COMPLETED]


def test_a_new_leader_counts_it_too(world: World) -> None:
    completed(world)
    world.restart()
    world.seen.clear()
    world.wait(3)
    world.end(world.job(SEPARATE), "Complete", exit_code=0)
    world.settle()
    assert usage(world) == (12 * 0.25 + 23 * 2, 23)


@pytest.mark.parametrize(
    "how", [{"exit_code": 1}, {"exit_code": 137, "reason": "OOMKilled"}, {"pod_reason": "Evicted"}]
)
def test_what_a_pod_ends_with_afterwards_does_not_matter(world: World, how: dict[str, Any]) -> None:
    completed(world)
    world.wait(1)
    world.end(world.job(SEPARATE), "Failed", **how)
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert usage(world) == (12 * 0.25 + 21 * 2, 21)
    assert len(world.created) == 2


def test_a_failed_end_of_a_finished_fetch_does_not_matter(world: World) -> None:
    fetched(world)
    world.end(world.job(FETCH), "Failed", exit_code=1)
    world.settle()
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert world.created == [world.job(stage)["metadata"]["name"] for stage in WorkStage]


def test_a_pod_that_does_not_end_is_stopped_after_a_while(world: World) -> None:
    completed(world)
    world.wait(ENDING_SECONDS - 1)
    world.settle()
    assert not is_stopped(world.job(SEPARATE))
    assert world.requeue_after == pytest.approx(1)
    world.wait(1)
    world.settle()
    assert is_stopped(world.job(SEPARATE))
    assert usage(world)[1] == 20 + ENDING_SECONDS


def test_a_deleted_job_is_counted_until_it_was_seen_gone(world: World) -> None:
    completed(world)
    world.wait(2)
    world.vanish(world.job(SEPARATE))
    world.settle()
    assert usage(world)[1] == 22
    assert ending_jobs(world.separation.status) == []


def test_a_separation_without_a_life_waits_for_its_pod(world: World) -> None:
    world.spec = {**SPEC, "ttlSecondsAfterFinished": 0}
    completed(world)
    assert not world.deleted
    world.end(world.job(SEPARATE), "Complete", exit_code=0)
    world.settle()
    assert world.deleted
    assert usage(world)[1] == 20


@pytest.mark.parametrize("stage", WorkStage)
@pytest.mark.parametrize("how", ["too early", "falsely"])
def test_words_that_are_not_true_change_nothing(world: World, stage: WorkStage, how: str) -> None:
    world.settle()
    if stage is SEPARATE:
        world.run(world.job(FETCH))
        world.succeed(world.job(FETCH))
        world.settle()
    world.run(world.job(stage))
    world.settle()
    before, created, job = world.status, list(world.created), world.job(stage)
    reference = world.publish(job)
    if how == "too early":
        del world.objects[reference.key]
    else:
        reference = reference.model_copy(update={"sha256": "0" * 64})
    world.say_finished(job, reference)
    world.settle()
    assert (world.status, world.created, is_stopped(job)) == (before, created, False)
    assert world.finished == {}
    world.succeed(job)
    world.settle()
    if stage is FETCH:
        world.succeed(world.job(SEPARATE))
        world.settle()
    assert world.phase() is Phase.COMPLETED


def test_an_early_word_does_not_make_the_end_of_the_job_a_failure(world: World) -> None:
    """The Job ends, with its mark, between the search at the pod's word and the decision from the result."""
    world.settle()
    job = world.job(FETCH)
    world.run(job)
    reference = world.publish(job)
    content = world.objects.pop(reference.key)
    world.say_finished(job, reference)
    [asked] = decide(world.observed(), world.now, world.config).queries
    assert isinstance(asked, VerifyFinished)
    assert world.find(asked.search) is None
    world.finished.clear()
    world.objects[reference.key] = content
    world.end(job, "Complete", exit_code=0)
    world.settle()
    assert len(world.live(SEPARATE)) == 1


def test_a_cancellation_beats_what_a_pod_says(world: World) -> None:
    fetched(world)
    world.say_finished(world.job(SEPARATE))
    world.spec = {**SPEC, "cancel": True}
    world.step()
    assert is_stopped(world.job(FETCH))
    assert is_stopped(world.job(SEPARATE))
    world.vanish(world.job(FETCH))
    world.vanish(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.CANCELLED


def test_a_suspended_run_lets_the_finished_fetch_end(world: World) -> None:
    world.room.discard(SEPARATE)
    fetched(world)
    world.spec = {**SPEC, "suspend": True}
    world.settle()
    assert world.phase() is Phase.SUSPENDED
    assert not is_stopped(world.job(FETCH))


def test_a_long_queue_begins_when_fetch_said_so(world: World) -> None:
    world.room.discard(SEPARATE)
    fetched(world)
    said = world.now
    world.wait(6)
    world.end(world.job(FETCH), "Complete", exit_code=0)
    world.settle()
    assert world.phase() is Phase.QUEUED
    assert world.separation.status.queued_at == said
    world.wait(timedelta(minutes=5).total_seconds())
    world.settle()
    assert world.separation.status.queued_at == said
