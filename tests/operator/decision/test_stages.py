"""One stage of a run: what is said of its Job, and what is done about it, to the second."""

from datetime import timedelta
from typing import Any

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.separationjob import Phase
from stemyard_operator.decision.actions import Decision, FindMark, ReadPods
from stemyard_operator.decision.decide import decide
from stemyard_operator.jobs.manifest import JOB_TTL_SECONDS
from stemyard_operator.model.job import job_of
from tests.operator.decision.test_decide import conditions, failure, fetched, separating
from tests.operator.world import SPEC, World, stamp

FETCH, SEPARATE = WorkStage


def message(world: World, kind: str) -> str:
    [found] = [one.message for one in world.separation.status.conditions if one.type == kind]
    return found


def test_a_suspension_names_the_jobs_that_it_stops() -> None:
    world = separating(World())
    world.spec = {**world.spec, "suspend": True}
    name = world.job(SEPARATE)["metadata"]["name"]
    world.step()
    assert message(world, "Suspended") == f"Stopping {name}."
    assert "deletionTimestamp" in world.jobs[name]["metadata"]


def test_a_run_whose_source_is_gone_waits_for_a_slot_to_fetch_it_again() -> None:
    world = separating(World())
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    world.jobs.clear()
    world.objects.clear()
    world.spec = {**world.spec, "run": 2}
    world.room.clear()
    world.settle()
    world.wait(6)
    world.settle()
    assert conditions(world)["Fetched"] == ("False", "ConcurrencyLimit")
    assert len(world.created) == 2
    world.room.update(WorkStage)
    world.settle()
    assert world.live(FETCH)


def unanswered(world: World) -> Decision:
    """Decide before any question has been answered."""
    nothing: dict[str, Any] = {"pods": {}, "searched_marks": frozenset(), "absent_jobs": frozenset()}
    return decide(world.observed(**nothing), world.now, world.config)


SOURCE_GONE = Outcome(stage=SEPARATE, code=FailureCode.ARTIFACT_MISMATCH, message="The source mark is gone.").dump()


def lose_the_source(world: World, attempt: int = 1) -> World:
    """The store loses all it holds while a separation is queued or at work."""
    world.objects.clear()
    world.end(world.job(SEPARATE, attempt), "Failed", message=SOURCE_GONE)
    world.settle()
    return world


def wait_for_retry(world: World) -> None:
    due = world.separation.status.retry_at
    assert due is not None
    world.now = due
    world.settle()


def test_a_source_that_the_store_lost_is_fetched_again() -> None:
    world = lose_the_source(separating(World()))
    assert world.phase() is Phase.FETCHING
    assert conditions(world)["Fetched"] == ("False", "Retrying")
    assert message(world, "Fetched") == "The store no longer has the fetched source."
    wait_for_retry(world)
    world.run(world.job(FETCH, 2))
    world.succeed(world.job(FETCH, 2))
    world.settle()
    world.run(world.job(SEPARATE, 2))
    world.succeed(world.job(SEPARATE, 2))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    attempts = world.separation.status.attempts
    assert attempts is not None
    assert (attempts.fetch, attempts.separate) == (2, 2)


def test_a_new_leader_fetches_a_lost_source_again_too() -> None:
    world = separating(World())
    world.restart()
    lose_the_source(world)
    world.restart()
    world.vanish(world.job(SEPARATE))
    wait_for_retry(world)
    world.succeed(world.job(FETCH, 2))
    world.settle()
    assert world.live(SEPARATE) == [world.job(SEPARATE, 2)["metadata"]["name"]]


def test_a_source_that_is_still_stored_is_not_fetched_again() -> None:
    world = separating(World())
    world.end(world.job(SEPARATE), "Failed", message=SOURCE_GONE)
    world.settle()
    assert conditions(world)["Fetched"][0] == "True"
    wait_for_retry(world)
    assert world.live(SEPARATE) == [world.job(SEPARATE, 2)["metadata"]["name"]]


def test_a_source_that_is_lost_again_and_again_ends_the_run() -> None:
    world = separating(World(spec={**SPEC, "retryPolicy": {"limit": 1}}))
    lose_the_source(world)
    wait_for_retry(world)
    world.succeed(world.job(FETCH, 2))
    world.settle()
    world.run(world.job(SEPARATE, 2))
    world.settle()
    lose_the_source(world, attempt=2)
    assert world.phase() is not Phase.FETCHING
    wait_for_retry(world)
    lose_the_source(world, attempt=3)
    assert failure(world) == FailureCode.ARTIFACT_MISMATCH


def test_a_job_of_the_same_name_and_another_owner_is_reported_by_its_name() -> None:
    world = World()
    name = World().decide().create
    assert name is not None
    world.foreign.add(name.name)
    world.settle()
    assert failure(world) == FailureCode.NAME_CONFLICT
    assert world.separation.status.failure is not None
    assert world.separation.status.failure.message == f"A Job named {name.name} exists and has another owner."


def test_the_status_names_the_pod_of_its_job() -> None:
    world = fetched(World())
    world.run(world.job(SEPARATE))
    world.settle()
    assert world.separation.status.pod == world.pod(world.job(SEPARATE))["metadata"]["name"]


def test_a_run_with_too_many_disruptions_stops_its_job_unless_it_is_being_deleted() -> None:
    for deleting in (False, True):
        world = separating(World())
        world.disruptions = 20
        if deleting:
            world.job(SEPARATE)["metadata"]["deletionTimestamp"] = stamp(world.now)
        decision = world.decide()
        assert [job.stage for job in decision.stop] == ([] if deleting else [SEPARATE])


def test_a_job_that_is_suspended_by_another_party_is_looked_at_until_it_is_reported() -> None:
    world = fetched(World())
    world.job(SEPARATE)["spec"]["suspend"] = True
    world.wait(55)
    assert world.decide().requeue_after == 5
    world.wait(5)
    world.settle()
    assert conditions(world)["Admitted"] == ("False", "SuspendedExternally")


def test_a_pod_that_does_not_start_fails_at_its_deadline_and_not_a_second_earlier() -> None:
    world = fetched(World(spec={**SPEC, "deadlines": {"start": 100}}))
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(world.now)}
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    world.pod(world.job(SEPARATE), conditions=[scheduled], containerStatuses=[{"state": {"waiting": waiting}}])
    begin = world.now
    world.wait(99)
    world.settle()
    assert conditions(world)["Separated"] == ("False", "ImagePull")
    assert message(world, "Separated") == "ImagePullBackOff: not found"
    world.wait(1)
    world.settle()
    assert world.now - begin == timedelta(seconds=100)
    assert world.separation.status.reason == "StartDeadline"


def test_the_pods_of_a_done_stage_are_read_unless_they_were_seen_while_its_job_lives() -> None:
    world = separating(World())
    world.succeed(world.job(SEPARATE))
    job = job_of(world.job(SEPARATE))
    assert job is not None
    found = world.find(FindMark(SEPARATE))
    answers: dict[str, Any] = {"pods": {}, "manifest": found}
    assert decide(world.observed(**answers), world.now, world.config).queries == (ReadPods(job),)
    world.job(SEPARATE)["status"] = {"active": 1}
    assert decide(world.observed(**answers), world.now, world.config).queries == ()


def test_a_mark_is_looked_for_once_jobs_may_have_been_removed() -> None:
    world = World()
    world.wait(JOB_TTL_SECONDS / 2 - 1)
    assert not unanswered(world).queries
    world.wait(1)
    assert unanswered(world).queries == (FindMark(FETCH),)


def test_a_profile_that_is_removed_while_a_run_waits_is_named() -> None:
    world = World()
    world.room.discard(SEPARATE)
    fetched(world)
    world.spec = {**world.spec, "profile": "gone"}
    world.room.update(WorkStage)
    world.settle()
    assert failure(world) == FailureCode.INVALID_REQUEST
    assert "The profile gone no longer exists." in message(world, "Failed")
