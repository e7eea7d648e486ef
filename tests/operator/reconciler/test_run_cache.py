"""What a process remembers of a run, and what it begins with after another one."""

from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.model.job import Job, job_of
from stemyard_operator.model.pod import Pod
from stemyard_operator.reconciler.run_cache import RunCache
from tests.operator.decision.test_decide import separating
from tests.operator.world import World

FETCH, SEPARATE = WorkStage


@pytest.fixture
def job() -> Job:
    world = separating(World())
    found = job_of(world.job(SEPARATE))
    assert found is not None
    return found


def status(job: Job, /, **more: Any) -> SeparationJobStatus:
    return SeparationJobStatus.model_validate({"run": 1, "job": job.name, **more})


def pods(*names: str) -> tuple[Pod, ...]:
    return tuple(Pod(name=name, uid=f"uid-of-{name}") for name in names)


def test_a_second_pod_of_a_job_counts_as_a_disruption(job: Job) -> None:
    run_state = RunCache().of("u", 1, status(job))
    for seen, disruptions in ((pods("a"), 0), (pods("a"), 0), ((), 0), (pods("b"), 1), (pods("b"), 1)):
        run_state.record_pods(job, seen)
        assert run_state.disruptions == disruptions


@pytest.mark.parametrize(("seen", "disruptions"), [(pods("a"), 2), ((), 2), (pods("b"), 3), (pods("a", "b"), 3)])
def test_the_pod_that_the_status_names_counts_as_seen(job: Job, seen: tuple[Pod, ...], disruptions: int) -> None:
    run_state = RunCache().of("u", 1, status(job, pod="a", attempts={"disruptions": 2}))
    run_state.record_pods(job, seen)
    assert run_state.disruptions == disruptions


def test_disruptions_without_a_second_pod_are_added_to_those_with_one(job: Job) -> None:
    cache = RunCache()
    cache.of("u", 1, status(job)).record_pods(job, pods("a", "b"))
    for counted, known in ((1, 1), (2, 2), (1, 2)):
        assert cache.of("u", 1, status(job, attempts={"disruptions": counted})).disruptions == known
    run_state = cache.of("u", 1, status(job, attempts={"disruptions": 2}))
    run_state.record_pods(job, pods("c"))
    assert run_state.disruptions == 3


@pytest.mark.parametrize("fields", [{"pod": "a", "run": 2}, {"pod": "a", "job": "another"}])
def test_neither_a_pod_of_another_run_nor_one_of_another_job_counts(job: Job, fields: dict[str, Any]) -> None:
    run_state = RunCache().of("u", 1, status(job, **fields))
    run_state.record_pods(job, pods("b"))
    assert run_state.disruptions == 0


def test_the_status_names_the_pod_in_a_write_that_was_due_anyway() -> None:
    world = World()
    separating(world)
    made = len(world.writes)
    name = world.pods[world.job(SEPARATE)["metadata"]["uid"]][0]["metadata"]["name"]
    assert world.separation.status.pod == name
    world.settle()
    assert len(world.writes) == made
