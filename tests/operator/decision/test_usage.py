"""What the pods of a run held is in its status, each attempt once."""

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Phase
from stemyard_operator.config.profiles import Gpu, Profile, Resources, StageProfile
from tests.operator.observability.test_metrics import stopped_while_separating, through_fetch, through_separate
from tests.operator.world import SPEC, World, settings

FETCH, SEPARATE = WorkStage


@pytest.fixture
def world() -> World:
    config = settings()
    fetch = StageProfile(resources=Resources(requests={"cpu": "250m"}))
    separate = StageProfile(resources=Resources(limits={"cpu": "2", "memory": "1Gi"}), gpu=Gpu(count=2))
    config.__dict__["profiles"] = {"default": Profile(fetch=fetch, separate=separate)}
    return World(config=config)


def usage(world: World) -> tuple[float, float]:
    found = world.separation.status.usage
    return (found.cpu_seconds, found.gpu_seconds) if found else (0, 0)


def failing(world: World, attempt: int = 1) -> None:
    world.run(world.job(SEPARATE, attempt))
    world.settle()
    world.wait(10)
    world.end(world.job(SEPARATE, attempt), "Failed", exit_code=1)
    world.settle()


def test_both_stages_count_what_they_requested(world: World) -> None:
    through_fetch(world, 12)
    through_separate(world, 30)
    assert world.phase() is Phase.COMPLETED
    assert usage(world) == (12 * 0.25 + 30 * 2, 60)


def test_failed_attempts_count_once_though_the_run_is_cancelled_while_another_is_due(world: World) -> None:
    through_fetch(world, 12)
    failing(world)
    assert usage(world) == (3 + 20, 20)
    world.spec = {**SPEC, "cancel": True}
    world.settle()
    assert world.phase() is Phase.CANCELLED
    assert usage(world) == (3 + 20, 20)


def test_an_attempt_is_not_counted_again_for_a_later_one_that_was_not_observed(world: World) -> None:
    through_fetch(world, 12)
    failing(world)
    world.wait(100)
    world.settle()
    world.wait(6)
    world.settle()
    world.vanish(world.job(SEPARATE, 2))
    world.settle()
    assert world.separation.status.reason == "JobLost"
    assert usage(world) == (3 + 20, 20)


def test_stopped_attempts_count_too(world: World) -> None:
    through_fetch(world, 12)
    stopped_while_separating(world, 10, suspend=True)
    assert world.phase() is Phase.SUSPENDED
    assert usage(world) == (3 + 20, 20)


def test_a_new_run_begins_with_nothing(world: World) -> None:
    through_fetch(world, 12)
    through_separate(world, 30)
    world.spec = {**SPEC, "run": 2}
    world.settle()
    world.wait(6)
    world.settle()
    assert usage(world) == (0, 0)


def test_the_loudness_of_each_stem_is_measured(world: World) -> None:
    through_fetch(world)
    through_separate(world)
    result = world.separation.status.result
    assert result is not None
    assert {(stem.lufs, stem.true_peak) for stem in result.stems.values()} == {(-14.2, -1.1)}


@pytest.mark.parametrize(("requested", "cores"), [("250m", 0.25), ("2", 2), ("1.5", 1.5), ("", 0), ("many", 0)])
def test_cores(requested: str, cores: float) -> None:
    assert StageProfile(resources=Resources(requests={"cpu": requested} if requested else {})).cpu == cores
