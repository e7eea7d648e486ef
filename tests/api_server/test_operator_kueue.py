"""Separate Jobs under a double of Kueue: held, admitted, evicted and admitted again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import LABEL_QUEUE
from tests.support.kueue import Kueue
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        (tmp_path / "profiles.yaml").write_text("profiles: {default: {queueName: music}}")
        found.environment |= {"KUEUE_ENABLED": "true", "PROFILES_FILE": str(tmp_path / "profiles.yaml")}
        yield found


def admitted(running: World) -> tuple[str, str]:
    conditions = {one.type: one for one in running.separation().status.conditions}
    found = conditions.get("Admitted")
    return (found.reason, found.message) if found else ("", "")


def test_kueues_message_is_the_reason_of_waiting(running: World) -> None:
    kueue = Kueue(running.plane, running.namespace)
    kueue.install()
    eventually(kueue.is_served)
    with running.operating():
        running.create()
        job = running.wait_job(FETCH)
        assert LABEL_QUEUE not in job["metadata"]["labels"]
        running.succeed(job, running.run(job))
        job = running.wait_job(SEPARATE)
        assert job["metadata"]["labels"][LABEL_QUEUE] == "music"
        kueue.hold(job, message="no quota for nvidia.com/gpu")
        eventually(lambda: admitted(running) == ("WaitingForQuota", "Pending: no quota for nvidia.com/gpu"))
        assert running.phase() == "Queued"
        kueue.admit(job)
        eventually(lambda: admitted(running)[0] == "Admitted")
        assert running.phase() == "Queued"
        running.run(job)
        eventually(lambda: admitted(running)[0] == "Scheduled")
        kueue.evict(job, "by a workload of higher priority")
        eventually(lambda: admitted(running) == ("Evicted", "Preempted: by a workload of higher priority"))
        assert running.phase() == "Queued"
        kueue.admit(job)
        running.succeed(job, running.run(job))
        eventually(lambda: running.phase() == "Completed")
        attempts = running.separation().status.attempts
        assert attempts is not None
        assert (attempts.separate, attempts.failed) == (1, 0)
