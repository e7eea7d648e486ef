"""The failure policy by itself: delays, limits, memory, and what a pod's end means."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Outcome, WorkStage
from stemyard_operator.config.profiles import StageProfile
from stemyard_operator.decision.failure_policy import (
    DISRUPTION_LIMIT,
    AttemptFailure,
    failure_of,
    job_to_stop,
    more_memory,
    requeue_at,
    retry_at,
    retry_limit,
)
from stemyard_operator.model.job import Job, job_of
from stemyard_operator.model.pod import Pod
from tests.operator.world import SPEC, World, settings

FETCH, SEPARATE = WorkStage
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
C = FailureCode
GIB = 1024**3


def job(stage: WorkStage = FETCH, memory: int | None = None) -> Job:
    world = World()
    world.settle()
    if stage is SEPARATE:
        world.succeed(world.job(FETCH))
        world.settle()
    found = job_of(world.job(stage))
    assert found is not None
    return Job(**{**{name: getattr(found, name) for name in found.__slots__}, "memory": memory})


def pod(**fields: Any) -> Pod:
    return Pod(name="x", uid="pod-1", **fields)


def delay(failures: int, code: FailureCode = C.SOURCE_NETWORK, uid: str = "uid", **config: Any) -> float:
    return (retry_at(NOW, uid, "job", failures, settings(**config), code) - NOW).total_seconds()


def test_the_delay_doubles_with_each_failure_up_to_the_maximum() -> None:
    config: dict[str, Any] = {"retry_base_seconds": 10, "retry_max_seconds": 300}
    delays = [delay(failures, **config) for failures in range(1, 9)]
    assert [later / delays[0] for later in delays] == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])
    assert 5 <= delays[0] < 10


def test_the_jitter_is_the_same_for_the_same_attempt_and_differs_between_separations() -> None:
    config: dict[str, Any] = {"retry_base_seconds": 10, "retry_max_seconds": 300}
    assert delay(1, **config) == delay(1, **config) == pytest.approx(9.279299)
    spread = sorted(delay(1, uid=f"uid-{number}", **config) for number in range(200))
    assert 5 <= spread[0] < 5.5
    assert 9.5 < spread[-1] < 10


def test_a_code_with_a_minimum_delay_never_waits_less() -> None:
    delays = [delay(1, C.SOURCE_BOT_CHECK, f"uid-{number}", retry_base_seconds=1) for number in range(200)]
    assert 900 <= min(delays) < 990
    assert 1710 < max(delays) < 1800


def test_an_unscheduled_job_is_created_again_with_a_backoff_of_its_own() -> None:
    one = job()
    config = settings(requeue_base_seconds=60, requeue_max_seconds=200)
    delays = [(requeue_at(NOW, one, count, config) - NOW).total_seconds() for count in range(1, 5)]
    assert [later / delays[0] for later in delays] == pytest.approx([1, 2, 200 / 60, 200 / 60])
    assert 30 <= delays[0] < 60


def test_the_table_may_allow_fewer_retries_than_requested() -> None:
    assert retry_limit(C.SOURCE_FORBIDDEN, 3) == 1
    assert retry_limit(C.SOURCE_FORBIDDEN, 0) == 0
    assert retry_limit(C.SOURCE_NETWORK, 3) == 3


def test_twenty_disruptions_are_the_limit() -> None:
    assert DISRUPTION_LIMIT == 20


def test_only_live_jobs_that_are_not_deleted_have_to_be_stopped() -> None:
    live = job()
    gone = Job(**{**{name: getattr(live, name) for name in live.__slots__}, "deleted_at": NOW})
    ended = Job(**{**{name: getattr(live, name) for name in live.__slots__}, "ended": "Complete"})
    assert job_to_stop(live) == (live,)
    assert [job_to_stop(other) for other in (gone, ended, None)] == [(), (), ()]


@pytest.mark.parametrize(
    ("had", "most", "next_one"),
    [
        (GIB, 4 * GIB, GIB * 3 // 2),
        (3 * GIB, 4 * GIB, 4 * GIB),
        (4 * GIB, 4 * GIB, None),
        (5 * GIB, 4 * GIB, None),
        (None, 4 * GIB, None),
        (GIB, None, None),
    ],
)
def test_an_attempt_after_too_little_memory_gets_half_as_much_again(
    had: int | None, most: int | None, next_one: int | None
) -> None:
    profile = StageProfile() if most is None else StageProfile(max_memory=str(most))
    assert more_memory(profile, job(memory=had)) == next_one


def test_without_a_job_there_is_no_more_memory() -> None:
    assert more_memory(StageProfile(max_memory="4Gi"), None) is None


NODE_PRESSURE = "The node was low on resource: ephemeral-storage."
EXCEEDED = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."


@pytest.mark.parametrize(
    ("stage", "pods", "code", "cause"),
    [
        (FETCH, (), C.JOB_LOST, ""),
        (FETCH, (pod(terminated="OOMKilled", exit_code=137),), C.OUT_OF_MEMORY, "OOMKilled"),
        (FETCH, (pod(exit_code=1, outcome=Outcome(stage=FETCH, code="SOURCE_DRM")),), C.SOURCE_DRM, ""),
        (FETCH, (pod(reason="DeadlineExceeded"),), C.START_DEADLINE, ""),
        (FETCH, (pod(reason="DeadlineExceeded", started_at=NOW),), C.FETCH_DEADLINE, ""),
        (SEPARATE, (pod(reason="DeadlineExceeded", started_at=NOW),), C.SEPARATE_DEADLINE, ""),
        (FETCH, (pod(reason="Evicted", message=NODE_PRESSURE),), C.EVICTED, ""),
        (FETCH, (pod(reason="Evicted", message=EXCEEDED),), C.EVICTED, "DiskExceeded"),
        (FETCH, (pod(exit_code=0),), C.ARTIFACT_MISMATCH, ""),
        (FETCH, (pod(exit_code=47),), C.SOURCE_NETWORK, ""),
        (FETCH, (pod(),), C.POD_FAILED, ""),
        (FETCH, (pod(exit_code=1),), C.POD_FAILED, ""),
        (FETCH, (pod(exit_code=41, started_at=NOW), pod(disrupted=True, exit_code=47)), C.SOURCE_UNDECODABLE, ""),
    ],
)
def test_what_the_end_of_a_pod_means(stage: WorkStage, pods: tuple[Pod, ...], code: FailureCode, cause: str) -> None:
    found = failure_of(job(stage), pods)
    assert (found.code, found.cause) == (code, cause)


def test_a_job_that_is_complete_without_a_mark_has_files_that_do_not_match() -> None:
    found = job()
    complete = Job(**{**{name: getattr(found, name) for name in found.__slots__}, "ended": "Complete"})
    failed = failure_of(complete, (pod(),))
    assert (failed.code, failed.message) == (C.ARTIFACT_MISMATCH, "The worker succeeded, but its files do not match.")


def test_an_outcome_without_a_message_has_none() -> None:
    assert failure_of(job(), (pod(exit_code=37, outcome=Outcome(stage=FETCH, code="SOURCE_DRM")),)).message == ""


def lost(limit: int) -> World:
    """A world whose fetch Job has gone without a word."""
    world = World(spec={**SPEC, "retryPolicy": {"limit": limit}})
    world.settle()
    world.vanish(world.job(FETCH))
    world.step()
    return world


def test_a_failure_without_a_message_of_its_own_has_the_tables_sentence() -> None:
    sentence = FAILURES[C.JOB_LOST].sentence
    [retrying] = [one for one in lost(1).separation.status.conditions if one.type == "Fetched"]
    assert retrying.message == f"Attempt 1 failed with JOB_LOST: {sentence}"
    [final] = [one for one in lost(0).separation.status.conditions if one.type == "Fetched"]
    assert (final.status, final.reason, final.message) == ("False", "JobLost", sentence)


def test_an_eviction_repeats_the_kubelets_message() -> None:
    found = failure_of(job(), (pod(reason="Evicted", message=EXCEEDED),))
    assert found.message == f"The worker exceeded its disk limit and was evicted. {EXCEEDED}"


def test_a_failure_is_retryable_as_the_table_says() -> None:
    assert AttemptFailure(C.SOURCE_NETWORK).retryable
    assert not AttemptFailure(C.SOURCE_DRM).retryable


def test_a_pod_on_a_node_that_does_not_respond_is_given_up_after_its_grace_period() -> None:
    world = World()
    world.settle()
    first = world.job(FETCH)
    world.run(first)
    world.settle()
    first["status"] = {"active": 1}
    gone = world.now
    world.pod(first, conditions=[{"type": "DisruptionTarget", "status": "True"}])
    world.pods[first["metadata"]["uid"]][0]["metadata"]["deletionTimestamp"] = gone.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.wait(60)
    world.settle()
    assert world.separation.status.retry_at is None
    world.wait(1)
    world.step()
    [why] = [one.message for one in world.separation.status.conditions if one.type == "Fetched"]
    assert why == "The node of attempt 1 does not respond."
    assert "deletionTimestamp" in first["metadata"], "its Job is stopped"
    assert world.separation.status.reason == "Retrying" or world.separation.status.retry_at is not None
    assert world.separation.status.attempts is not None
    assert (world.separation.status.attempts.failed, world.separation.status.attempts.disruptions) == (0, 1)
    assert world.now - gone == timedelta(seconds=61)


def failed_attempts(world: World) -> int:
    attempts = world.separation.status.attempts
    return 0 if attempts is None else attempts.failed


def test_a_pod_that_nobody_ended_is_overdue_two_minutes_after_its_deadline() -> None:
    """As on a node whose kubelet does not respond: it enforces the deadline."""
    world = World(spec={**SPEC, "deadlines": {"fetch": 300}})
    world.settle()
    world.run(world.job(FETCH))
    world.settle()
    world.job(FETCH)["status"] = {"active": 1, "ready": 0}
    started = world.now
    world.wait(420)
    world.settle()
    assert failed_attempts(world) == 0
    world.wait(1)
    world.step()
    assert (world.now - started, failed_attempts(world)) == (timedelta(seconds=421), 1)


def test_an_attempt_whose_disk_is_not_known_gets_no_more() -> None:
    """As with Jobs of a version that did not limit it."""
    world = World(spec={**SPEC, "retryPolicy": {"limit": 3}})
    world.settle()
    first = world.job(FETCH)
    for container in first["spec"]["template"]["spec"]["containers"]:
        for amounts in container["resources"].values():
            amounts.pop("ephemeral-storage", None)
    world.run(first)
    world.settle()
    world.pod(first, message=EXCEEDED)
    world.end(first, "Failed", exit_code=137, pod_reason="Evicted")
    world.settle()
    attempts = world.separation.status.attempts
    assert attempts is not None
    assert (attempts.failed, attempts.ephemeral_storage) == (1, None)
