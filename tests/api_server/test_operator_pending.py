"""Jobs without a pod on a node: they give their slot to others, and a fetch that is held suspended ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def reason(running: World, name: str) -> str | None:
    return running.separation(name).status.reason


def test_a_separation_that_finds_no_node_lets_another_go_first(running: World) -> None:
    with running.operating(MAX_ACTIVE="1", UNSCHEDULED_TIMEOUT_SECONDS="5", REQUEUE_BASE_SECONDS="60"):
        for name in ("first", "second"):
            running.create(name)
            job = running.wait_job(FETCH, name=name)
            running.succeed(job, running.run(job))
            if name == "first":
                stuck = running.wait_job(SEPARATE, name=name)["metadata"]["name"]
        eventually(lambda: reason(running, "first") == "Requeued")
        assert running.phase("first") == "Queued"
        eventually(lambda: "deletionTimestamp" in running.jobs()[stuck]["metadata"])
        running.plane.api.merge(running.path("jobs", stuck), {"metadata": {"finalizers": None}})
        job = running.wait_job(SEPARATE, name="second")
        running.succeed(job, running.run(job))
        eventually(lambda: running.phase("second") == "Completed")
        attempts = running.separation("first").status.attempts
        assert attempts is not None
        assert (attempts.separate, attempts.failed, attempts.requeued) == (1, 0, 1)


def test_one_that_somebodys_finalizer_keeps_gives_its_place_away(running: World) -> None:
    with running.operating(MAX_ACTIVE_FETCH="1"):
        running.create("kept")
        path = running.path("separationjobs", "kept")
        running.plane.api.merge(path, {"metadata": {"finalizers": ["example.com/kept"]}})
        job = running.wait_job(FETCH, name="kept")["metadata"]["name"]
        running.create("next")
        running.plane.api.delete(path)
        eventually(lambda: "deletionTimestamp" in running.jobs()[job]["metadata"])
        running.plane.api.merge(running.path("jobs", job), {"metadata": {"finalizers": None}})
        running.wait_job(FETCH, name="next")
        running.plane.api.merge(path, {"metadata": {"finalizers": None}})


def test_a_fetch_that_somebody_else_holds_suspended_ends_at_its_deadline(running: World) -> None:
    with running.operating():
        running.create(deadlines={"start": 10}, retryPolicy={"limit": 0})
        job = running.wait_job(FETCH)["metadata"]["name"]
        running.plane.api.merge(running.path("jobs", job), {"spec": {"suspend": True}})
        eventually(lambda: running.phase() == "Failed", 60)
        failure = running.separation().status.failure
        assert failure is not None
        assert failure.code == "START_DEADLINE"
        assert "suspended" in failure.message
