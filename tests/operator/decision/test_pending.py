"""Jobs that the API server refuses, or that get no scheduled pod: what is said of them, and for how long they wait."""

from pathlib import Path

import pytest

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Phase
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.events import events_of
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from tests.operator.decision.test_decide import conditions, failure
from tests.operator.world import NAMESPACE, SPEC, World, settings, stamp

FETCH, SEPARATE = WorkStage
TEN_MINUTES = settings(unscheduled_timeout_seconds=600)
QUOTA = '403 Forbidden: jobs.batch "x" is forbidden: exceeded quota: tenant, requested: count/jobs.batch=1'


def refused(stage: WorkStage, **deadlines: int) -> World:
    """A world in which the API server refuses the Job of a stage."""
    world = World(spec={**SPEC, "deadlines": deadlines})
    if stage is SEPARATE:
        world.settle()
        world.run(world.job(FETCH))
        world.settle()
        world.refusal = QUOTA
        world.succeed(world.job(FETCH))
    world.refusal = QUOTA
    world.settle()
    return world


@pytest.mark.parametrize(
    ("stage", "kind", "phase"), [(FETCH, "Fetched", Phase.PENDING), (SEPARATE, "Admitted", Phase.QUEUED)]
)
def test_a_refused_job_is_reported_and_tried_again_later(stage: WorkStage, kind: str, phase: Phase) -> None:
    world = refused(stage)
    status = world.separation.status
    found = next(one for one in status.conditions if one.type == kind)
    assert (found.status, found.reason, found.message) == ("False", "JobRefused", QUOTA)
    assert (world.phase(), status.reason) == (phase, "JobRefused")
    assert status.retry_at is not None
    assert world.requeue_after == pytest.approx((status.retry_at - world.now).total_seconds())
    world.now, world.refusal = status.retry_at, ""
    world.settle()
    assert world.live(stage)
    world.run(world.job(stage))
    world.settle()
    status = world.separation.status
    assert (status.retry_at, status.pending_since, status.reason) == (None, None, None)
    assert status.attempts is not None
    assert status.attempts.failed == 0


@pytest.mark.parametrize(
    ("stage", "deadlines", "code"),
    [(FETCH, {"start": 400}, FailureCode.START_DEADLINE), (SEPARATE, {"queue": 400}, FailureCode.QUEUE_DEADLINE)],
)
def test_refusals_count_against_the_deadline(stage: WorkStage, deadlines: dict[str, int], code: FailureCode) -> None:
    world = refused(stage, **deadlines)
    waited = 0.0
    while world.separation.status.finished_at is None:
        assert world.requeue_after
        waited += world.requeue_after
        world.wait(world.requeue_after)
        world.settle()
    assert failure(world) == code
    assert world.separation.status.failure is not None
    assert QUOTA in world.separation.status.failure.message
    assert 390 <= waited <= 401
    assert world.separation.status.pending_since is None


def test_one_warning_says_that_a_job_is_refused() -> None:
    world = World()
    posted = []
    world.refusal = QUOTA
    for _ in range(3):
        before = world.separation
        world.settle()
        posted += events_of(before, world.separation.status, world.now)
        world.wait(world.requeue_after or 0)
    assert [(event["reason"], event["type"], event["message"]) for event in posted] == [
        ("JobRefused", "Warning", QUOTA)
    ]


def test_a_suspended_run_that_was_refused_waits_anew_when_it_is_resumed() -> None:
    world = refused(FETCH, start=400)
    world.spec = {**world.spec, "suspend": True}
    world.wait(399)
    world.settle()
    assert world.phase() is Phase.SUSPENDED
    world.wait(1000)
    world.spec = {**world.spec, "suspend": False}
    world.settle()
    assert failure(world) is None
    assert conditions(world)["Fetched"] == ("False", "JobRefused")


def test_a_retry_that_is_refused_says_so_and_counts_no_failure() -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", exit_code=1)
    world.settle()
    world.refusal = QUOTA
    world.wait(100)
    world.settle()
    assert conditions(world)["Fetched"] == ("False", "JobRefused")
    assert world.separation.status.attempts is not None
    assert (world.separation.status.attempts.fetch, world.separation.status.attempts.failed) == (1, 1)


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no GPU"}


def unscheduled(stage: WorkStage, config: Settings | None = None, **deadlines: int) -> World:
    """A world in which the pod of a stage's Job finds no node."""
    world = World(spec={**SPEC, "deadlines": deadlines}, config=config or TEN_MINUTES)
    world.settle()
    if stage is SEPARATE:
        world.succeed(world.job(FETCH))
        world.settle()
    world.pod(world.job(stage), conditions=[NO_NODE])
    return world


def after(world: World, seconds: float) -> World:
    world.wait(seconds)
    world.settle()
    return world


@pytest.mark.parametrize(
    ("stage", "kind", "phase"), [(FETCH, "Fetched", Phase.PENDING), (SEPARATE, "Admitted", Phase.QUEUED)]
)
def test_a_job_without_a_scheduled_pod_gives_its_slot_to_others(stage: WorkStage, kind: str, phase: Phase) -> None:
    world = after(unscheduled(stage, start=86400), 599)
    assert conditions(world)[kind] == ("False", "Unschedulable")
    assert "deletionTimestamp" not in world.job(stage)["metadata"]
    after(world, 1)
    found = next(one for one in world.separation.status.conditions if one.type == kind)
    assert (found.status, found.reason) == ("False", "Requeued")
    name = world.job(stage)["metadata"]["name"]
    assert found.message == f"No pod of the Job {name} was scheduled within 600 seconds. 0/3 nodes: no GPU"
    assert world.phase() is phase
    assert "deletionTimestamp" in world.job(stage)["metadata"]
    status = world.separation.status
    assert status.retry_at is not None
    assert 30 <= (status.retry_at - world.now).total_seconds() <= 60
    assert status.attempts is not None
    assert (status.attempts.failed, status.attempts.requeued) == (0, 1)
    world.vanish(world.job(stage))
    after(world, 29)
    assert not world.live(stage)
    after(world, 31)
    world.run(world.job(stage, 2))
    world.succeed(world.job(stage, 2))
    world.settle()
    if stage is FETCH:
        world.succeed(world.job(SEPARATE))
        world.settle()
    assert world.phase() is Phase.COMPLETED


def test_a_requeued_job_is_looked_at_again_when_it_is_due() -> None:
    world = after(unscheduled(FETCH, start=86400), 599)
    world.wait(1)
    decision = world.step()
    assert decision.status is not None
    assert decision.status.retry_at is not None
    assert decision.requeue_after == (decision.status.retry_at - world.now).total_seconds()


def test_the_pause_before_a_requeued_job_grows() -> None:
    world = unscheduled(SEPARATE)
    pauses = []
    for attempt in range(1, 5):
        world.pod(world.job(SEPARATE, attempt), conditions=[NO_NODE])
        after(world, 601)
        due = world.separation.status.retry_at
        assert due is not None
        pauses.append((due - world.now).total_seconds())
        world.vanish(world.job(SEPARATE, attempt))
        after(world, pauses[-1] + 1)
    assert all(base / 2 <= pause <= base for pause, base in zip(pauses, (60, 120, 240, 480), strict=True)), pauses


def test_a_fetch_that_never_finds_a_node_fails_at_its_deadline_however_often_it_is_requeued() -> None:
    world = World(spec={**SPEC, "deadlines": {"start": 900}, "retryPolicy": {"limit": 0}}, config=TEN_MINUTES)
    world.settle()
    for attempt in (1, 2):
        world.pod(world.job(FETCH, attempt), conditions=[NO_NODE])
        after(world, 600 if attempt == 1 else 240)
        if attempt == 1:
            world.vanish(world.job(FETCH))
            after(world, 61)
    assert failure(world) == FailureCode.START_DEADLINE


def test_waiting_for_a_slot_does_not_count_against_the_start_of_a_fetch() -> None:
    world = World(spec={**SPEC, "deadlines": {"start": 900}, "retryPolicy": {"limit": 0}}, config=TEN_MINUTES)
    world.settle()
    world.pod(world.job(FETCH), conditions=[NO_NODE])
    after(world, 600)
    assert world.separation.status.reason == "Requeued"
    world.vanish(world.job(FETCH))
    world.room.clear()
    for _ in range(4):
        after(world, 400)
    assert failure(world) is None
    world.room.add(FETCH)
    world.settle()
    world.pod(world.job(FETCH, 2), conditions=[NO_NODE])
    after(world, 500)
    assert failure(world) is None
    world.room.clear()


def test_a_refusal_does_not_count_against_the_start_of_a_fetch_that_then_waited_for_a_slot() -> None:
    world = refused(FETCH, start=900)
    world.refusal = ""
    world.room.clear()
    for _ in range(4):
        after(world, 400)
    world.room.add(FETCH)
    world.settle()
    world.pod(world.job(FETCH), conditions=[NO_NODE])
    after(world, 500)
    assert failure(world) is None
    assert conditions(world)["Fetched"] == ("False", "Unschedulable")


def test_a_refusal_that_is_over_is_no_wait_of_the_run_that_is_resumed() -> None:
    world = refused(FETCH, start=400)
    due = world.separation.status.retry_at
    assert due is not None
    world.spec = {**world.spec, "suspend": True}
    world.settle()
    world.now, world.refusal = due, ""
    world.spec = {**world.spec, "suspend": False}
    world.settle()
    assert world.live(FETCH)
    assert world.separation.status.pending_since is None


def test_time_in_suspension_does_not_count_against_the_start_after_a_refusal() -> None:
    world = refused(FETCH, start=60)
    world.spec = {**world.spec, "suspend": True}
    world.wait(1)
    world.settle()
    world.wait(50)
    world.spec = {**world.spec, "suspend": False}
    world.settle()
    after(world, 30)
    assert failure(world) is None


def test_a_separation_that_never_finds_a_node_fails_at_its_deadline() -> None:
    world = unscheduled(SEPARATE, queue=700)
    after(world, 600)
    world.vanish(world.job(SEPARATE))
    after(world, 70)
    after(world, 31)
    assert failure(world) == FailureCode.QUEUE_DEADLINE


def test_a_pod_that_finds_no_node_fails_its_run_at_the_deadline_of_the_queue_and_stops_its_job() -> None:
    world = unscheduled(SEPARATE, settings(unscheduled_timeout_seconds=0), queue=700)
    after(world, 699)
    assert failure(world) is None
    decision = after(world, 1).separation.status
    assert failure(world) == FailureCode.QUEUE_DEADLINE
    assert decision.failure is not None
    assert decision.failure.message == ("The track waited in the queue for longer than allowed. 0/3 nodes: no GPU")
    assert "deletionTimestamp" in world.job(SEPARATE)["metadata"]
    assert len(world.created) == 2, "no other attempt follows"


def test_a_pod_that_replaces_a_disrupted_one_has_the_whole_time() -> None:
    world = unscheduled(SEPARATE)
    world.run(world.job(SEPARATE))
    after(world, 3000)
    job = world.job(SEPARATE)
    job["status"] = {"active": 1, "ready": 0}
    world.pods[job["metadata"]["uid"]] = []
    after(world, 10)
    assert conditions(world)["Admitted"] == ("False", "Waiting")
    world.pod(job, conditions=[NO_NODE])
    after(world, 599)
    assert conditions(world)["Admitted"] == ("False", "Unschedulable")
    after(world, 1)
    assert conditions(world)["Admitted"] == ("False", "Requeued")


@pytest.mark.parametrize("stage", WorkStage)
def test_a_job_that_gets_no_pod_gives_its_slot_to_others(stage: WorkStage) -> None:
    """As where a quota of the namespace refuses every pod."""
    world = unscheduled(stage, start=86400)
    world.pods.clear()
    kind = "Fetched" if stage is FETCH else "Admitted"
    after(world, 10)
    after(world, 589)
    assert conditions(world)[kind] == ("False", "Waiting")
    after(world, 11)
    assert conditions(world)[kind] == ("False", "Requeued")


def test_a_job_whose_pod_is_gone_has_the_whole_time_for_the_next_one() -> None:
    world = unscheduled(SEPARATE)
    job = world.job(SEPARATE)
    world.run(job)
    after(world, 10)
    after(world, 3000)
    assert conditions(world)["Admitted"] == ("True", "Scheduled")
    job["status"] = {"active": 1, "ready": 0}
    world.pods[job["metadata"]["uid"]] = []
    after(world, 10)
    assert conditions(world)["Admitted"] == ("False", "Waiting")
    after(world, 599)
    assert conditions(world)["Admitted"] == ("False", "Waiting")
    after(world, 1)
    assert conditions(world)["Admitted"] == ("False", "Requeued")


def test_a_pod_without_a_time_of_creation_has_waited_as_long_as_its_job() -> None:
    world = unscheduled(SEPARATE)
    del world.pod(world.job(SEPARATE))["metadata"]["creationTimestamp"]
    after(world, 600)
    assert conditions(world)["Admitted"] == ("False", "Requeued")


def test_the_failure_of_a_pod_that_says_nothing_is_one_sentence() -> None:
    world = unscheduled(SEPARATE, queue=700)
    world.pod(world.job(SEPARATE), conditions=[])
    after(world, 700)
    assert world.separation.status.failure is not None
    assert world.separation.status.failure.message == "The track waited in the queue for longer than allowed."


def queued_fetch(directory: Path, **deadlines: int) -> World:
    """A world whose fetch Job waits, suspended, in a queue of Kueue."""
    (directory / "profiles.yaml").write_text("profiles: {default: {fetch: {queueName: net}}}")
    config = settings(profiles_file=directory / "profiles.yaml", kueue_enabled=True, unscheduled_timeout_seconds=600)
    world = World(spec={**SPEC, "deadlines": deadlines, "retryPolicy": {"limit": 0}}, config=config)
    world.settle()
    assert world.job(FETCH)["spec"]["suspend"]
    return world


def test_a_fetch_in_a_queue_of_kueue_fails_at_the_deadline_of_the_queue_and_its_job_is_stopped(tmp_path: Path) -> None:
    world = queued_fetch(tmp_path, start=300, queue=700)
    after(world, 699)
    assert failure(world) is None
    after(world, 1)
    assert failure(world) == FailureCode.QUEUE_DEADLINE
    assert "deletionTimestamp" in world.job(FETCH)["metadata"]


def test_a_fetch_that_kueue_admitted_fails_at_the_deadline_of_its_start(tmp_path: Path) -> None:
    world = queued_fetch(tmp_path, start=300, queue=7000)
    del world.job(FETCH)["spec"]["suspend"]
    world.pod(world.job(FETCH), conditions=[NO_NODE])
    after(world, 299)
    assert failure(world) is None
    after(world, 1)
    assert failure(world) == FailureCode.START_DEADLINE


def test_without_a_timeout_a_job_keeps_its_slot() -> None:
    world = after(unscheduled(SEPARATE, settings(unscheduled_timeout_seconds=0)), 80000)
    assert conditions(world)["Admitted"] == ("False", "Unschedulable")


@pytest.mark.parametrize("stage", WorkStage)
def test_a_job_that_is_held_suspended_gives_its_slot_to_others(stage: WorkStage) -> None:
    """As Kueue holds every Job of a namespace with manageJobsWithoutQueueName."""
    world = unscheduled(stage, start=86400)
    world.job(stage)["spec"]["suspend"] = True
    after(world, 61)
    kind = "Fetched" if stage is FETCH else "Admitted"
    assert conditions(world)[kind] == ("False", "SuspendedExternally")
    after(world, 540)
    assert conditions(world)[kind] == ("False", "Requeued")
    assert "deletionTimestamp" in world.job(stage)["metadata"]


def test_a_fetch_that_is_held_suspended_fails_at_its_deadline() -> None:
    world = World(spec={**SPEC, "deadlines": {"start": 300}, "retryPolicy": {"limit": 0}})
    world.settle()
    world.job(FETCH)["spec"]["suspend"] = True
    after(world, 299)
    assert failure(world) is None
    after(world, 1)
    assert failure(world) == FailureCode.START_DEADLINE
    assert "deletionTimestamp" in world.job(FETCH)["metadata"]


def test_the_retry_of_a_job_on_a_dead_node_does_not_wait_for_the_node() -> None:
    world = World()
    cache = ClusterCache(NAMESPACE)
    limiter = ConcurrencyLimiter(cache, settings(max_active=1), lambda: world.now)
    world.settle()
    world.succeed(world.job(FETCH))
    world.settle()
    job = world.job(SEPARATE)
    world.run(job)
    cache.apply_job(job)
    world.room = {FETCH}
    pod = world.pod(job, conditions=[{"type": "DisruptionTarget", "status": "True"}])
    pod["metadata"]["deletionTimestamp"] = stamp(world.now)
    job["status"] = {"active": 1, "ready": 0}
    after(world, 61)
    assert "deletionTimestamp" in job["metadata"]
    job["metadata"]["resourceVersion"] = "999"
    cache.apply_job(job)
    after(world, 41)
    assert SEPARATE in limiter.room(world.separation)
    world.room = {SEPARATE}
    world.settle()
    assert world.created[-1].endswith("-s1-2")
