"""Two SeparationJobs of one recording take one separation, whatever happens to the first."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_operator.clients.leader_election import LEASE_SECONDS
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage
RECORDING = "the song"
LONGER_THAN_A_LEASE = LEASE_SECONDS + 1


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def fetch(running: World, name: str) -> None:
    job = running.wait_job(FETCH, name=name)
    running.succeed(job, running.run(job), recording=RECORDING)


def complete(running: World, name: str) -> None:
    running.create(name)
    fetch(running, name)
    job = running.wait_job(SEPARATE, name=name)
    running.succeed(job, running.run(job), recording=RECORDING)
    eventually(lambda: running.phase(name) == "Completed")


def test_a_duplicate_is_copied(running: World) -> None:
    with running.operating():
        complete(running, "first")
        running.create("second", source={"url": "https://example.com/the-same-song.mp3"})
        fetch(running, "second")
        eventually(lambda: running.phase("second") == "Completed")
        first, second = running.separation("first").status, running.separation("second").status
        assert first.result is not None
        assert second.result is not None
        assert second.result.copied_from == "first"
        assert len([name for name in running.jobs() if "-s1-" in name]) == 1
        track = f"{running.namespace}.second"
        assert sorted(running.objects(f"stems/{track}/")) == sorted(
            [second.result.manifest_key, *(stem.key for stem in second.result.stems.values())]
        )
        running.plane.api.delete(running.path("separationjobs", "first"))
        eventually(lambda: running.objects(f"stems/{running.namespace}.first/") == [])
        assert len(running.objects(f"stems/{track}/")) == 3


def test_a_duplicate_that_cannot_be_read_holds_up_no_other(running: World) -> None:
    """The CRD's format of times lets in more than there are."""
    with running.operating(MAX_ACTIVE="2"):
        complete(running, "first")
        path = running.path("separationjobs", "first") + "/status"
        running.plane.api.merge(path, {"status": {"startedAt": "0000-01-01T00:00:00Z"}})
        complete(running, "second")


def led_seconds(running: World) -> float:
    [lease] = running.plane.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{running.namespace}/leases")["items"]
    return (datetime.now(UTC) - datetime.fromisoformat(lease["spec"]["acquireTime"])).total_seconds()


def test_a_long_running_leader_copies_duplicates_too(running: World) -> None:
    """Events missed before this leader's election must not affect later decisions."""
    with running.operating():
        complete(running, "first")
        eventually(lambda: led_seconds(running) > LONGER_THAN_A_LEASE)
        for name in ("second", "third"):
            running.create(name)
            fetch(running, name)
        eventually(lambda: {running.phase("second"), running.phase("third")} == {"Completed"})
        assert len([name for name in running.jobs() if "-s1-" in name]) == 1


def test_a_waiting_duplicate_continues_when_the_first_is_deleted(running: World) -> None:
    with running.operating(MAX_ACTIVE="5"):
        running.create("first")
        fetch(running, "first")
        running.run(running.wait_job(SEPARATE, name="first"))
        eventually(lambda: running.phase("first") == "Separating")
        running.create("second")
        fetch(running, "second")
        eventually(lambda: running.separation("second").status.reason == "Duplicate")
        assert len([name for name in running.jobs() if "-s1-" in name]) == 1
        running.plane.api.delete(running.path("separationjobs", "first"))
        job = running.wait_job(SEPARATE, name="second")
        running.succeed(job, running.run(job), recording=RECORDING)
        eventually(lambda: running.phase("second") == "Completed")


def test_a_waiting_duplicate_is_copied_after_an_operator_restart(running: World) -> None:
    with running.operating(MAX_ACTIVE="5", POD_NAME="operator-0") as operator:
        running.create("first")
        fetch(running, "first")
        job = running.wait_job(SEPARATE, name="first")
        pod = running.run(job)
        eventually(lambda: running.phase("first") == "Separating")
        running.create("second")
        fetch(running, "second")
        eventually(lambda: running.separation("second").status.reason == "Duplicate")
        operator.kill()
        running.succeed(job, pod, recording=RECORDING)
    with running.operating(MAX_ACTIVE="5", POD_NAME="operator-0"):
        eventually(lambda: running.phase("second") == "Completed")
        assert len([name for name in running.jobs() if "-s1-" in name]) == 1
