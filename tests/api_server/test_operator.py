"""The operator as a real process: from a SeparationJob to published stems, whatever happens to it on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import MirrorRecord
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def record(running: World, name: str = "song") -> MirrorRecord | None:
    with running.redis() as client:
        text = client.get(running.keys.record(f"{running.namespace}.{name}"))
    return MirrorRecord.model_validate_json(str(text)) if text else None


def events(running: World) -> list[str]:
    return sorted(event["reason"] for event in running.plane.api.get(running.path("events"))["items"])


def test_a_song_is_separated(running: World) -> None:
    with running.operating():
        running.create()
        job = running.wait_job(FETCH)
        eventually(lambda: running.phase() == "Fetching")
        pod = running.run(job)
        running.succeed(job, pod)
        job = running.wait_job(SEPARATE)
        pod = running.run(job)
        eventually(lambda: running.phase() == "Separating")
        key = running.succeed(job, pod)
        eventually(lambda: running.phase() == "Completed")
        found = running.separation()
        assert found.status.result is not None
        assert found.status.result.manifest_key == key
        assert found.status.started_at is not None
        assert {condition.status for condition in found.status.conditions} == {"True"}
        assert sorted(running.objects("stems/")) == sorted([key, *(s.key for s in found.status.result.stems.values())])
        assert running.objects("work/") == []
        assert running.objects("owner.json") == ["test/owner.json"]
        eventually(lambda: (record(running) or found.status).phase == "Completed")
        mirrored = record(running)
        assert mirrored is not None
        assert mirrored.stem_keys == {stem: file.key for stem, file in found.status.result.stems.items()}
        assert events(running) == ["Completed", "Fetching", "Separating"]
        assert int(found.resource_version) > 0
