"""What a tenant writes into its own namespace reaches no others: no tracks, keys, webhooks, Jobs, objects or places."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import DESK_LINKS_PATH, WorkStage
from stemyard_contract.identity import job_name, resource_name, spec_cache_key, track_id
from stemyard_contract.separationjob import LABEL_OWNER, LABEL_TRACK, SeparationJobSpec
from tests.api_server.test_operator_workers import PROFILES, WorkerPod, fetch, start_worker, workers
from tests.support.operator_world import World, bind, eventually, second_namespace, world

pytestmark = pytest.mark.api_server

SPEC: dict[str, Any] = {"source": {"searchQuery": "Night Train"}, "model": "spleeter-2stems"}
TRACK = track_id(spec_cache_key(SeparationJobSpec.model_validate(SPEC), "spleeter-2stems"))
NAME = resource_name(TRACK)
CRM = "https://crm.example.com/hook"
FETCH, SEPARATE = WorkStage
GHOST = "12345678-0000-4000-8000-000000000000"
"""uid of a SeparationJob that does not exist."""


@pytest.fixture
def home(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


@pytest.fixture
def tenant(home: World) -> World:
    """A namespace that is watched, and whose users may do there what they like."""
    found = second_namespace(home)
    bind(home.plane, found.namespace, home.namespace)
    home.environment |= {"WATCH_NAMESPACES": f"{home.namespace},{found.namespace}", "API_NAMESPACE": home.namespace}
    return found


def create(place: World, *, owner: str | None = None, **spec: Any) -> None:
    labels = {LABEL_TRACK: TRACK} | ({LABEL_OWNER: owner} if owner else {})
    body = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": NAME, "labels": labels},
        "spec": {**SPEC, **spec},
    }
    place.plane.api.post(place.path("separationjobs"), body)


def forge(tenant: World, job: dict[str, Any], suspend: bool = False, **metadata: Any) -> dict[str, Any]:
    """Create a Job of another namespace once more in the tenant's."""
    copied = {key: job["metadata"][key] for key in ("name", "labels", "ownerReferences") if key in job["metadata"]}
    template = json.loads(json.dumps(job["spec"]["template"]))
    labels = template["metadata"]["labels"]
    template["metadata"]["labels"] = {
        key: labels[key] for key in labels if "controller-uid" not in key and "job-name" not in key
    }
    spec = {"backoffLimit": 0, "suspend": suspend, "template": template}
    return tenant.plane.api.post(tenant.path("jobs"), {"metadata": {**copied, **metadata}, "spec": spec})


def test_a_tenant_takes_over_no_track_and_speaks_for_no_key(home: World, tenant: World) -> None:
    endpoints = home.folder / "endpoints.yaml"
    endpoints.write_text(yaml.safe_dump({"endpoints": [{"name": "crm", "url": CRM, "keys": ["team-a"]}]}))
    with home.operating(WEBHOOK_ENDPOINTS_FILE=str(endpoints)):
        create(home)
        home.separate(NAME)
        redis = home.redis()
        record = redis.get(home.keys.record(TRACK))
        create(tenant, owner="team-a", source={"url": "https://evil.example/a.mp3"}, claims=[{"key": "team-a"}])
        tenant.separate(NAME)
        own = home.keys.record(f"{tenant.namespace}.{NAME}")
        eventually(lambda: json.loads(redis.get(own) or "{}").get("phase") == "Completed")
    mirrored = json.loads(redis.get(own) or "{}")
    assert (mirrored.get("claims", []), mirrored.get("owner")) == ([], None)
    assert redis.get(home.keys.record(TRACK)) == record
    status = tenant.plane.api.get(tenant.path("separationjobs", NAME))["status"]
    assert status["trackId"] == f"{tenant.namespace}.{NAME}"
    assert status.get("webhooks", []) == []
    assert all(key.split("/")[2] != TRACK for key in home.objects("stems") if tenant.namespace in key)


def test_a_job_that_states_an_owner_of_another_namespace_gets_no_link_and_stops_nothing(
    home: World, tenant: World
) -> None:
    with home.operating(MAX_ACTIVE="10") as operator:
        song = home.create()
        job = home.wait_job(FETCH)
        home.succeed(job, home.run(job))
        job = home.wait_job(SEPARATE)
        pod = home.run(job)
        forged = [forge(tenant, job)]
        forged.append(forge(tenant, job, name=job_name("song", song.uid, SEPARATE, 1, 7)))
        files = [{"file": "audio.flac", "method": "GET"}, {"file": "vocals.mp3", "method": "PUT", "bytes": 10}]
        for one in forged:
            headers = {"Authorization": f"Bearer {tenant.token(tenant.pod(one))}"}
            response = httpx.post(operator.desk + DESK_LINKS_PATH, json={"files": files}, headers=headers, timeout=10)
            assert (response.status_code, response.json()["code"]) == (403, "LINK_REFUSED")
        tenant.finish(forged[1], tenant.pod(forged[1]), 1)
        time.sleep(2)
        home.succeed(job, pod)
        eventually(lambda: home.phase() == "Completed")
    attempts = home.separation().status.attempts
    assert attempts is not None
    assert (attempts.separate, attempts.failed) == (1, 0)
    assert len(home.jobs()) == 2


def test_a_worker_of_another_namespace_that_states_the_shape_is_leased_no_song(
    home: World, tenant: World, tmp_path: Path
) -> None:
    (tmp_path / "profiles.json").write_text(json.dumps(PROFILES))
    with home.operating(PROFILES_FILE=str(tmp_path / "profiles.json"), DESK_URL="http://desk") as operator:
        fetch(home, "song")
        eventually(lambda: workers(home))
        stranger = WorkerPod(tenant, operator.desk, forge(tenant, workers(home)[0]))
        for _ in range(2):
            assert stranger.ask().status_code == 204
        assert start_worker(home, operator).lease().name == "song"
    attempts = home.separation().status.attempts
    assert attempts is not None
    assert (attempts.separate, attempts.disruptions) == (1, 0)


@pytest.mark.parametrize("below", ["x", "{token}/x"])
def test_a_status_that_names_objects_of_another_track_removes_and_shows_none(
    home: World, tenant: World, below: str
) -> None:
    with home.operating():
        home.create("victim")
        home.separate("victim")
        stored = home.objects("stems")
        tenant.create("forger", suspend=True)
        eventually(lambda: tenant.phase("forger") == "Suspended")
        token = stored[0].split("/")[3]
        key = f"test/stems/{home.namespace}.victim/" + below.format(token=token)
        stem = {"key": key, "bytes": 1, "sha256": "0", "duration": 1}
        result: dict[str, Any] = {"stems": {"vocals": stem}, "manifestKey": key, "model": "m", "modelDigest": "d"}
        result |= {"realTimeFactor": 1, "device": "cpu"}
        path = tenant.path("separationjobs", "forger")
        changed = tenant.plane.api.merge(f"{path}/status", {"status": {"result": result}})
        redis, record = home.redis(), home.keys.record(f"{tenant.namespace}.forger")
        version = int(changed["metadata"]["resourceVersion"])
        eventually(lambda: json.loads(redis.get(record) or "{}").get("resourceVersion", 0) >= version)
        assert json.loads(redis.get(record) or "{}").get("stemKeys", {}) == {}
        tenant.plane.api.delete(path)
        eventually(lambda: redis.get(record) is None)
        time.sleep(1)
        assert home.objects("stems") == stored


def test_jobs_that_nobody_owns_take_no_places(home: World, tenant: World) -> None:
    with home.operating(MAX_ACTIVE="1", MAX_ACTIVE_FETCH="1"):
        tenant.create("own")
        job = tenant.wait_job(FETCH, name="own")
        tenant.plane.api.delete(tenant.path("separationjobs", "own"))
        owner = {**job["metadata"]["ownerReferences"][0], "name": "ghost", "uid": GHOST}
        for stage in WorkStage:
            forge(tenant, job, suspend=True, name=job_name("ghost", GHOST, stage, 1, 1), ownerReferences=[owner])
        tenant.plane.api.delete(tenant.path("jobs", job["metadata"]["name"]) + "?propagationPolicy=Background")
        time.sleep(1)
        home.create()
        home.separate()
