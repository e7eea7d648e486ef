"""What admins see and do, with a real API server and Valkey: the priority, and the overview without a mirror."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from tests.api import tracks
from tests.support.api_world import World, published, world
from tests.support.servers import api_process


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("admin")) as found:
        yield found


def requested(running: World, key_id: str = "team-a") -> str:
    with running.client(key_id) as client:
        response = client.post("/separate-audio", json={"search_query": f"Song {uuid.uuid4()}"})
        assert response.status_code == 202, response.text
        return str(response.json()["track_id"])


def prioritised(client: httpx.Client, track: str, priority: int) -> dict[str, Any]:
    response = client.post(f"/admin/job/{track}/priority", json={"priority": priority})
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_an_admin_changes_the_priority_of_any_key_s_track(running: World) -> None:
    track = requested(running)
    with running.client("boss") as boss:
        for priority in (7, 7, -100, 100):
            assert prioritised(boss, track, priority) == {
                "track_id": track,
                "status": "processing",
                "priority": priority,
            }
            assert running.resource(track)["spec"]["priority"] == priority
        spec = running.resource(track)["spec"]
        assert [claim["key"] for claim in spec["claims"]] == ["team-a"]  # nothing else has changed
        assert (spec.get("run", 1), spec.get("cancel", False)) == (1, False)
        assert prioritised(boss, track.upper(), 3)["priority"] == 3


def test_a_track_that_has_ended_keeps_its_priority(running: World) -> None:
    track = requested(running)
    running.report(track, published(track))
    with running.client("boss") as boss:
        assert prioritised(boss, track, 9) == {"track_id": track, "status": "completed", "priority": 0}
        assert running.resource(track)["spec"]["priority"] == 0


def test_an_unknown_track_is_404(running: World) -> None:
    with running.client("boss") as boss:
        response = boss.post(f"/admin/job/{uuid.uuid4()}/priority", json={"priority": 1})
        assert (response.status_code, response.json()["code"]) == (404, "TRACK_NOT_FOUND")


def test_without_a_mirror_the_overview_counts_the_separation_jobs(running: World, tmp_path: Path) -> None:
    waiting, ended = requested(running), requested(running, "team-b")
    running.report(ended, {**tracks.status_failed(), "finishedAt": published(ended)["finishedAt"]})
    environment = dict(running.apis[0].server.environment)
    for name in ("PORT", "REDIS_URL"):
        environment.pop(name, None)
    with (
        api_process(tmp_path, environment) as alone,
        httpx.Client(base_url=alone.url, headers={"X-API-Key": "boss-key"}, timeout=30.0) as boss,
    ):
        found = boss.get("/admin/overview").json()
    assert found["complete"] is True
    assert waiting in [track["track_id"] for track in found["waiting_tracks"]]
    assert ended in [track["track_id"] for track in found["failed_tracks"]]
    assert {"code": "SOURCE_NOT_FOUND", "tracks": 1} in found["failures"]
    assert {key["key_id"] for key in found["usage"]} >= {"team-a", "team-b"}
    assert all(track["changeable"] for track in found["waiting_tracks"])
