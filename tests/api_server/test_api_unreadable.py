"""The API beside SeparationJobs that an older CRD let in and that the types cannot read."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from localcluster.control_plane import ControlPlane
from tests.api import tracks
from tests.api_server.conftest import CRD_FILE, install_crd
from tests.api_server.test_crd import manifest
from tests.api_server.test_operator_definition import lenient
from tests.support.api_world import World, world

BAD_URL = "https://example.com/a\u3000b"
CLAIMS = [{"key": "team-a", "metadata": "{}"}, {"key": "team-b"}]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A separate cluster, because the CRD is cluster-wide; no mirror, so that the resources are read."""
    folder = tmp_path_factory.mktemp("unreadable")
    with ControlPlane(folder / "plane") as plane:
        install_crd(plane, lenient(yaml.safe_load(CRD_FILE.read_text())))
        with world(plane, folder, REDIS_URL="") as found:
            yield found


@pytest.fixture
def track(running: World) -> str:
    """A track that cannot be read, requested by two keys."""
    found = str(uuid.uuid4())
    created = manifest({"source": {"url": BAD_URL}, "claims": CLAIMS}, f"sep-{found}")
    created["metadata"]["labels"] = {"stemyard.dev/track-id": found}
    running.plane.api.post(running.path(), created)
    return found


def refused(running: World, track: str) -> None:
    """Write the status that the operator writes."""
    failure = {"code": "INVALID_REQUEST", "stage": "request", "message": "source.url: no URL", "retryable": False}
    conditions = [
        tracks.condition("Accepted", "False", "Invalid"),
        tracks.condition("Failed", "True", "InvalidRequest"),
    ]
    running.report(track, {"run": 1, "conditions": conditions, "failure": failure}, mirrored=False)


def get(client: httpx.Client, path: str) -> dict[str, Any]:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_it_is_a_failed_track_before_and_after_the_operator_refuses_it(running: World, track: str) -> None:
    with running.client("team-a") as client:
        before = get(client, f"/job/{track}")
        assert (before["status"], before["code"], before["query"]) == ("failed", "INVALID_REQUEST", BAD_URL)
        refused(running, track)
        after = get(client, f"/job/{track}")
        assert (after["status"], after["code"], after["error"]) == ("failed", "INVALID_REQUEST", "source.url: no URL")
        assert get(client, f"/job/{track}/wait")["status"] == "failed"
        assert get(client, f"/job/{track}/candidates")["candidates"] == []
        assert get(client, f"/job/{track}/webhooks")["deliveries"] == []


def test_what_was_accepted_when_it_could_be_read_keeps_its_result(running: World, track: str) -> None:
    status = tracks.status_completed(track=track)
    accepted = tracks.condition("Accepted", "True", "Valid")
    running.report(track, {**status, "conditions": [accepted, *status["conditions"]]}, mirrored=False)
    with running.client("team-a") as client:
        found = get(client, f"/job/{track}")
        assert (found["status"], set(found["result"])) == ("completed", {"vocals_url", "instrumental_url", "track_id"})


def test_lists_skip_it_and_log_it(running: World, track: str) -> None:
    with running.client("boss") as client:
        [known] = [client.post("/separate-audio", json={"search_query": f"Song {track}"}).json()["track_id"]]
        listed = [job["track_id"] for job in get(client, "/jobs?all=true")["jobs"]]
        assert (known in listed, track in listed) == (True, False)
        assert known in get(client, "/queue/info")["job_ids"]
        assert track not in get(client, "/queue/info")["job_ids"]
        assert "dead_letters" in get(client, "/webhooks/dead-letters")
    log = "".join(api.server.log.read_text() for api in running.apis)
    assert f'"separation_job": "sep-{track}", "fields": ["source.url"]' in log
    assert "Traceback" not in log


def test_its_priority_cannot_be_changed(running: World, track: str) -> None:
    conditions = [tracks.condition("Accepted", "True", "Valid"), tracks.condition("Fetched", "Unknown", "Running")]
    running.report(track, {"run": 1, "conditions": conditions}, mirrored=False)
    with running.client("boss") as client:
        response = client.post(f"/admin/job/{track}/priority", json={"priority": 1})
        assert (response.status_code, response.json()["code"]) == (409, "NAME_CONFLICT")
        found = get(client, "/admin/overview")
        assert track not in [one["track_id"] for one in [*found["waiting_tracks"], *found["running_tracks"]]]


def test_each_key_can_give_it_up_and_none_can_run_it_again(running: World, track: str) -> None:
    with running.client("team-a") as client, running.client("team-b") as other:
        again = client.post(f"/job/{track}/retry")
        assert (again.status_code, again.json()["code"]) == (409, "NAME_CONFLICT")
        assert client.post(f"/job/{track}/cancel").json()["claim_removed"] is False
        assert client.delete(f"/job/{track}").json() == {
            "track_id": track,
            "deleted": False,
            "claim_removed": True,
            "webhooks_abandoned": 0,
        }
        assert other.delete("/keys/team-b/data").json()["tracks_deleted"] >= 1
        assert client.get(f"/job/{track}").status_code == 404
