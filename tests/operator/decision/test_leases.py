"""Songs of a profile with workers: leased to one, followed, and repeated alone or by another worker."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.leasing import WORKER_VARIABLE, WorkerAssignment
from stemyard_contract.separationjob import LABEL_QUEUE, Condition, ConditionType, Phase, Reason, SeparationJobStatus
from stemyard_operator.config.profiles import Gpu, Profile, Resources, StageProfile, Worker
from stemyard_operator.decision.failure_policy import DISRUPTION_LIMIT
from stemyard_operator.decision.leases import SILENT_SECONDS
from stemyard_operator.model.conditions import condition_of
from stemyard_operator.model.observed import StageFinished
from stemyard_operator.model.pod import Workload
from tests.operator.observability.test_metrics import accounts
from tests.operator.world import UID, World, settings, stamp

FETCH, SEPARATE = WorkStage


def profile(**separate: Any) -> Profile:
    resources = Resources(requests={"cpu": "2"}, limits={"memory": "1Gi"})
    return Profile(separate=StageProfile(resources=resources, gpu=Gpu(count=1), worker=Worker(), **separate))


@pytest.fixture
def world() -> World:
    """A song that is fetched; nothing else happens for it yet."""
    return fetched(profile())


def fetched(found: Profile, **changes: Any) -> World:
    config = settings(**changes)
    config.__dict__["profiles"] = {"default": found}
    world = World(config=config)
    world.settle()
    world.run(world.job(FETCH))
    world.settle()
    world.wait(10)
    world.succeed(world.job(FETCH))
    return world


def lease(world: World) -> World:
    world.settle()
    world.offer_worker()
    world.settle()
    assert world.separation.status.lease is not None
    return world


def status(world: World) -> SeparationJobStatus:
    return world.separation.status


def admitted(world: World) -> Condition:
    found = condition_of(status(world), ConditionType.ADMITTED)
    assert found is not None
    return found


def failure(world: World) -> str:
    found = status(world).failure
    return found.code if found is not None else ""


def own_jobs(world: World) -> list[str]:
    return [name for name in world.created if "-s1-" in name]


def environment(job: Mapping[str, Any]) -> dict[str, str]:
    container = job["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value", "") for each in container["env"]}


# waiting


def test_a_worker_is_created_instead_of_a_job_of_the_song(world: World) -> None:
    world.settle()
    assert own_jobs(world) == []
    worker = world.worker()
    assert "ownerReferences" not in worker["metadata"], "it outlives the song"
    told = WorkerAssignment.model_validate_json(environment(worker)[WORKER_VARIABLE])
    assert (told.model, told.songs, told.prefetch) == ("spleeter-2stems", 50, 1)
    assert worker["metadata"]["name"] == f"stemyard-worker-{told.shape}-1"
    world.wait(6)
    world.settle()
    assert (world.phase(), admitted(world).reason) == (Phase.QUEUED, Reason.WAITING_FOR_WORKER)


def test_a_song_waits_for_a_worker_that_is_free(world: World) -> None:
    world.settle()
    world.wait(100)
    world.settle()
    assert len(world.created) == 2, "fetch and one worker"


def test_one_more_worker_is_created_if_those_there_are_have_enough_to_do(world: World) -> None:
    world.settle()
    world.ahead = 1
    world.settle()
    assert world.worker()["metadata"]["name"].endswith("-2")


def test_a_worker_needs_a_slot(world: World) -> None:
    world.room = set()
    decision = world.step()
    assert decision.waiting_for is SEPARATE
    assert decision.waiting_shape
    world.wait(6)
    world.settle()
    assert len(world.created) == 1
    assert "concurrency limit" in admitted(world).message
    world.room = {SEPARATE}
    world.settle()
    assert len(world.created) == 2


def test_of_a_queue_one_worker_at_a_time_is_waited_for() -> None:
    world = fetched(profile(queue_name="gpus"), kueue_enabled=True)
    world.room = set()
    world.settle()
    worker = world.worker()
    assert worker["spec"]["suspend"] is True
    assert worker["metadata"]["labels"][LABEL_QUEUE] == "gpus"
    world.ahead = 5
    world.workloads[worker["metadata"]["name"]] = Workload(Reason.WAITING_FOR_QUOTA, "Pending: no quota")
    world.settle()
    assert len(world.created) == 2
    world.run(worker)
    world.settle()
    assert len(world.created) == 3


def test_the_first_in_the_queue_says_what_kueue_says() -> None:
    world = fetched(profile(queue_name="gpus"), kueue_enabled=True)
    world.settle()
    world.workloads[world.worker()["metadata"]["name"]] = Workload(Reason.WAITING_FOR_QUOTA, "Pending: no quota")
    world.wait(11)
    world.settle()
    assert (admitted(world).reason, admitted(world).message) == (Reason.WAITING_FOR_WORKER, "Pending: no quota")


def test_the_first_in_the_queue_says_why_its_worker_has_no_node(world: World) -> None:
    world.settle()
    no_gpu = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes have a GPU"}
    world.pod(world.worker(), phase="Pending", conditions=[no_gpu])
    world.wait(11)
    world.settle()
    assert admitted(world).message == "0/1 nodes have a GPU"


def test_a_worker_that_is_refused_is_tried_again(world: World) -> None:
    world.refusal = "exceeded quota"
    world.step()
    world.wait(6)
    world.settle()
    assert "exceeded quota" in admitted(world).message
    world.refusal = ""
    world.wait(400)
    world.settle()
    assert len(world.created) == 2


def test_after_a_worker_that_did_not_start_the_next_is_created_later(world: World) -> None:
    world.paused_until = world.now + timedelta(seconds=60)
    world.settle()
    assert len(world.created) == 1
    assert world.requeue_after is not None
    assert world.requeue_after <= 60
    world.wait(61)
    world.settle()
    assert len(world.created) == 2


def test_the_queue_has_a_deadline(world: World) -> None:
    world.settle()
    world.wait(86_401)
    world.settle()
    assert (world.phase(), failure(world)) == (Phase.FAILED, FailureCode.QUEUE_DEADLINE)


def test_a_long_song_has_a_job_of_its_own(world: World) -> None:
    key = next(key for key in world.objects if key.endswith("source.json"))
    mark = world.objects[key].replace(b'"samples":441000', b'"samples":88200000')
    assert mark != world.objects[key]
    world.objects[key] = mark
    world.pods[world.job(FETCH)["metadata"]["uid"]][0]["status"].pop("containerStatuses")
    world.settle()
    assert own_jobs(world)


def test_profiles_without_workers_are_as_they_were() -> None:
    world = fetched(Profile())
    world.settle()
    assert len(own_jobs(world)) == 1
    assert world.step().waiting_shape == ""


# leased


def test_a_song_is_leased_to_the_pod_that_waits(world: World) -> None:
    lease(world)
    found, pod = status(world), world.pod(world.worker())["metadata"]
    assert (found.phase, admitted(world).status, admitted(world).reason) == (Phase.SEPARATING, "True", Reason.LEASED)
    assert (found.job, found.pod) == (world.worker()["metadata"]["name"], pod["name"])
    assert found.lease is not None
    assert (found.lease.pod_uid, found.lease.since, found.lease.attempt) == (pod["uid"], world.now, 1)
    assert found.attempts is not None
    assert found.attempts.separate == 1
    assert own_jobs(world) == []


def test_a_pod_of_another_shape_gets_no_song(world: World) -> None:
    world.settle()
    world.offer_worker()
    assert world.offer is not None
    world.offer = replace(world.offer, worker=replace(world.offer.worker, shape="other"))
    world.wait(6)
    world.settle()
    assert status(world).lease is None


def test_a_leased_song_completes_with_its_mark(world: World) -> None:
    told = accounts(world)
    lease(world)
    world.wait(30)
    world.say_end(mark=world.publish_leased())
    world.settle()
    assert (world.phase(), status(world).lease) == (Phase.COMPLETED, None)
    usage = status(world).usage
    assert usage is not None
    assert (usage.gpu_seconds, usage.cpu_seconds) == (30.0, 60.0)
    assert sum(one.gpu_seconds for one in told) == 30
    assert sum(one.busy_gpu_seconds for one in told) == 4
    assert [span.seconds for one in told for span in one.stages if span.name == SEPARATE] == [30]
    assert world.live(SEPARATE) == [world.worker()["metadata"]["name"]], "the worker goes on"


def test_a_mark_that_is_said_is_enough(world: World) -> None:
    lease(world)
    world.finished[world.worker()["metadata"]["uid"]] = StageFinished(world.publish_leased(), world.now)
    world.settle()
    assert world.phase() is Phase.COMPLETED


def test_only_the_time_after_the_song_before_counts(world: World) -> None:
    lease(world)
    world.wait(30)
    world.held_since = world.now - timedelta(seconds=5)
    world.say_end(mark=world.publish_leased())
    world.settle()
    usage = status(world).usage
    assert usage is not None
    assert usage.gpu_seconds == 5.0


def test_a_mark_that_is_not_there_is_a_failure(world: World) -> None:
    lease(world)
    mark = world.publish_leased()
    world.objects.pop(mark.key)
    world.say_end(mark=mark)
    world.settle()
    assert status(world).reason == "ArtifactMismatch"


def test_a_failed_song_is_tried_again_in_a_job_of_its_own(world: World) -> None:
    lease(world)
    world.say_end(FailureCode.INTERNAL_IO)
    world.settle()
    found = status(world)
    assert found.attempts is not None
    assert (found.attempts.failed, found.attempts.separate, found.lease) == (1, 1, None)
    assert found.reason == "InternalIo"
    assert not is_stopped(world.worker())
    world.wait(60)
    world.settle()
    assert own_jobs(world) == [world.job(SEPARATE, attempt=2)["metadata"]["name"]]
    world.run(world.job(SEPARATE, attempt=2))
    world.succeed(world.job(SEPARATE, attempt=2))
    world.settle()
    assert world.phase() is Phase.COMPLETED


def is_stopped(job: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in job["metadata"]


def test_a_failure_that_no_retry_helps_ends_the_run(world: World) -> None:
    lease(world)
    world.say_end(FailureCode.MODEL_MISSING)
    world.settle()
    assert (world.phase(), failure(world), status(world).lease) == (Phase.FAILED, FailureCode.MODEL_MISSING, None)


def test_a_worker_without_the_desk_is_no_failure_of_its_song(world: World) -> None:
    lease(world)
    world.say_end(FailureCode.DESK_UNREACHABLE)
    world.settle()
    found = status(world).attempts
    assert found is not None
    assert (found.failed, found.disruptions) == (0, 1)


def test_a_song_that_takes_too_long_ends_its_worker(world: World) -> None:
    lease(world)
    world.wait(2 * 3600)
    world.settle()
    found = status(world).attempts
    assert found is not None
    assert found.failed == 1
    assert is_stopped(world.worker())


# lost


def end_pod(world: World, *, exit_code: int | None, outcome: Outcome | None = None, disrupted: bool = False) -> None:
    worker = world.worker()
    ended = {"startedAt": stamp(world.now), "exitCode": exit_code, "message": outcome.dump() if outcome else ""}
    target = [{"type": "DisruptionTarget", "status": "True"}] if disrupted else []
    world.pod(worker, phase="Failed", conditions=target, containerStatuses=[{"state": {"terminated": ended}}])
    worker["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": stamp(world.now)}]}


@pytest.mark.parametrize(
    "end",
    [
        {"exit_code": 137, "disrupted": True},
        {"exit_code": 143},
        {"exit_code": 0},
        {"exit_code": 62, "outcome": Outcome(stage=SEPARATE, code=FailureCode.DEVICE_UNAVAILABLE)},
    ],
)
def test_a_song_whose_worker_ended_for_another_reason_is_leased_again(world: World, end: dict[str, Any]) -> None:
    lease(world)
    end_pod(world, **end)
    world.settle()
    found = status(world)
    assert found.attempts is not None
    assert (found.attempts.failed, found.attempts.disruptions, found.attempts.alone) == (0, 1, None)
    assert found.lease is None
    world.offer_worker()
    world.settle()
    found = status(world)
    assert found.lease is not None
    assert found.lease.attempt == 2
    assert own_jobs(world) == []


@pytest.mark.parametrize("exit_code", [137, 139, 1])
def test_a_song_whose_worker_crashed_meets_no_others_again(world: World, exit_code: int) -> None:
    lease(world)
    end_pod(world, exit_code=exit_code)
    world.settle()
    world.wait(1)
    world.settle()
    found = status(world).attempts
    assert found is not None
    assert (found.failed, found.disruptions, found.alone) == (0, 1, True)
    assert own_jobs(world) == [world.job(SEPARATE, attempt=2)["metadata"]["name"]]


def test_a_song_that_crashes_its_own_job_too_fails(world: World) -> None:
    lease(world)
    end_pod(world, exit_code=139)
    for attempt in range(2, 6):
        world.settle()
        world.wait(400)
        world.settle()
        world.run(world.job(SEPARATE, attempt=attempt))
        world.end(world.job(SEPARATE, attempt=attempt), "Failed", exit_code=139)
    world.settle()
    assert (world.phase(), failure(world)) == (Phase.FAILED, FailureCode.POD_FAILED)


def test_a_mark_counts_whatever_its_worker_ended_with(world: World) -> None:
    lease(world)
    world.publish_leased()
    end_pod(world, exit_code=139)
    world.settle()
    assert world.phase() is Phase.COMPLETED


def test_a_pod_that_was_replaced_is_lost(world: World) -> None:
    lease(world)
    world.replace_pod(world.worker())
    world.settle()
    found = status(world)
    assert found.lease is None
    assert found.attempts is not None
    assert found.attempts.disruptions == 1


def test_a_pod_that_was_replaced_unnoticed_is_lost(world: World) -> None:
    lease(world)
    world.replace_pod(world.worker())
    world.run(world.worker())
    world.settle()
    assert status(world).lease is not None, "nothing has shown that it is another pod"
    world.caller = world.pod(world.worker())["metadata"]["uid"]
    world.settle()
    assert status(world).lease is None


def test_a_worker_that_is_gone_is_lost(world: World) -> None:
    lease(world)
    world.vanish(world.worker())
    world.settle()
    found = status(world)
    assert found.attempts is not None
    assert (found.lease, found.attempts.disruptions, found.attempts.failed) == (None, 1, 0)


def test_a_pod_that_is_not_ready_and_silent_is_given_up(world: World) -> None:
    lease(world)
    world.worker()["status"] = {"active": 1, "ready": 0}
    world.silent_seconds = SILENT_SECONDS - 1
    world.settle()
    assert status(world).lease is not None
    world.silent_seconds = SILENT_SECONDS
    world.settle()
    assert status(world).lease is None


def test_disruptions_have_a_limit(world: World) -> None:
    for _ in range(DISRUPTION_LIMIT):
        lease(world)
        world.replace_pod(world.worker())
        world.settle()
    assert (world.phase(), failure(world)) == (Phase.FAILED, FailureCode.DISRUPTED)


# withdrawn


def test_a_leased_song_can_be_cancelled(world: World) -> None:
    lease(world)
    world.spec["cancel"] = True
    world.settle()
    assert (world.phase(), status(world).lease) == (Phase.CANCELLED, None)
    assert not is_stopped(world.worker())


def test_a_leased_song_can_be_suspended_and_resumed(world: World) -> None:
    lease(world)
    world.spec["suspend"] = True
    world.settle()
    assert (world.phase(), status(world).lease) == (Phase.SUSPENDED, None)
    world.spec["suspend"] = False
    lease(world)
    found = status(world)
    assert found.attempts is not None
    assert (found.attempts.separate, found.attempts.failed, found.attempts.disruptions) == (2, 0, 0)


def test_a_restart_of_the_operator_changes_nothing(world: World) -> None:
    lease(world)
    before = status(world)
    world.restart()
    world.settle()
    assert status(world) == before
    world.say_end(mark=world.publish_leased())
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert world.separation.uid == UID
