"""The API with a real API server: one resource per song, for any number of requests and keys."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import cache_key
from stemyard_contract.mirror import ProgressRecord
from stemyard_contract.separationjob import Output, Source, Stem
from tests.api import tracks
from tests.support.api_world import World, eventually, published, services, world
from tests.support.servers import api_process


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture
def client(running: World) -> Iterator[httpx.Client]:
    with running.apis[0].client() as opened:
        yield opened


@pytest.fixture
def song() -> dict[str, Any]:
    """A request for a new song."""
    return {"search_query": f"Song {uuid.uuid4()}"}


def ask(client: httpx.Client, song: dict[str, Any], status: int) -> dict[str, Any]:
    response = client.post("/separate-audio", json=song)
    assert response.status_code == status, response.text
    assert response.headers.get("location", "/job/").startswith("/job/")
    return dict(response.json())


def state(client: httpx.Client, track: str) -> dict[str, Any]:
    response = client.get(f"/job/{track}")
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_a_request_creates_a_resource_with_a_claim(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    answer = ask(client, {**song, "metadata": {"order": 7}}, 202)
    assert answer["status"] == "processing"
    assert answer["metadata"] == {"order": 7}
    resource = running.resource(answer["track_id"])
    assert resource["metadata"]["labels"] == {"stemyard.dev/track-id": answer["track_id"]}
    assert resource["spec"]["claims"] == [{"key": "default", "metadata": '{"order":7}'}]
    assert resource["spec"]["model"] == "spleeter-2stems"
    found = state(client, answer["track_id"])
    assert found["status"] == "processing"
    assert found["started_at"] == found["created_at"] == answer["created_at"]
    assert found["metadata"] == {"order": 7}


@pytest.mark.parametrize("count", [20, 200])
async def test_concurrent_requests_create_one_resource(running: World, song: dict[str, Any], count: int) -> None:
    before = len(running.plane.api.get(running.path())["items"])
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(headers={"X-API-Key": running.apis[0].key}, timeout=60.0, limits=limits) as client:
        urls = [f"{running.apis[number % 2].url}/separate-audio" for number in range(count)]
        answers = await asyncio.gather(*(client.post(url, json=song) for url in urls))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["track_id"] for answer in answers}) == 1
    assert len(running.plane.api.get(running.path())["items"]) == before + 1
    resource = running.resource(answers[0].json()["track_id"])
    assert resource["metadata"]["generation"] == 1
    assert resource["spec"]["claims"] == [{"key": "default"}]


def test_a_completed_track_is_a_cache_hit(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, 202)["track_id"]
    running.report(track, published(track=track))
    hit = ask(client, song, 200)
    assert (hit["cached"], hit["status"], hit["processing_time"]) == (True, "completed", 30.0)
    assert set(hit["result"]) == {"vocals_url", "instrumental_url", "track_id"}
    found = state(client, track)
    assert (found["status"], found["progress"], found["result"]) == ("completed", 100, hit["result"])
    assert found["expires_at"] == hit["expires_at"]


def test_hits_are_served_from_the_mirror_without_reading_the_resource(
    running: World, client: httpx.Client, song: dict[str, Any]
) -> None:
    track = ask(client, song, 202)["track_id"]
    running.report(track, {**published(track=track), "cacheKey": _cache_key(song)})
    running.plane.api.delete(running.path(f"sep-{track}"))
    assert ask(client, song, 200)["track_id"] == track
    assert state(client, track)["status"] == "completed"


def _cache_key(song: dict[str, Any]) -> str:
    return cache_key(
        Source(search_query=song["search_query"]), "spleeter-2stems", [Stem.VOCALS, Stem.INSTRUMENTAL], Output()
    )


def test_fine_progress_comes_from_the_mirror(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, 202)["track_id"]
    conditions = [tracks.condition("Fetched", "True"), tracks.condition("Admitted", "True")]
    resource = running.report(track, {"run": 1, "conditions": conditions, "startedAt": "2026-01-02T03:04:06Z"})
    uid = resource["metadata"]["uid"]
    running.mirror_progress(
        track,
        ProgressRecord(
            uid=uid, run=1, stage=WorkStage.SEPARATE, attempt=1, sequence=1, progress=42.5, step="separate", at=1.0
        ),
    )
    found = state(client, track)
    assert (found["phase"], found["progress"], found["step"]) == ("Separating", 42.5, "separate")
    assert found["started_at"] == 1767323046.0


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_failed_or_cancelled_track_runs_again_once(
    running: World, client: httpx.Client, song: dict[str, Any], cancelled: bool
) -> None:
    track = ask(client, song, 202)["track_id"]
    if cancelled:
        running.plane.api.merge(running.path(f"sep-{track}"), {"spec": {"cancel": True}})
    running.report(track, tracks.status_failed(cancelled=cancelled))
    failed = state(client, track)
    assert (failed["status"], failed["progress"]) == ("failed", 0)
    assert failed["code"] == ("CANCELLED" if cancelled else "SOURCE_NOT_FOUND")
    assert ask(client, song, 202)["status"] == "processing"
    assert ask(client, song, 202)["status"] == "processing"
    spec = running.resource(track)["spec"]
    assert (spec["run"], spec["cancel"]) == (2, False)
    # the mirror still tells of the old run; nobody may take that for the answer
    with running.apis[1].client() as other:
        assert state(other, track)["status"] == "processing"
    running.report(track, tracks.status_failed(run=2))
    assert state(client, track)["status"] == "failed"


async def test_concurrent_reruns_start_one_run(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, 202)["track_id"]
    running.report(track, tracks.status_failed())
    async with httpx.AsyncClient(headers={"X-API-Key": running.apis[0].key}, timeout=60.0) as many:
        urls = [f"{running.apis[number % 2].url}/separate-audio" for number in range(20)]
        answers = await asyncio.gather(*(many.post(url, json=song) for url in urls))
    assert {answer.status_code for answer in answers} == {202}
    assert running.resource(track)["spec"]["run"] == 2


def test_refresh_starts_a_run_and_hides_the_old_result(
    running: World, client: httpx.Client, song: dict[str, Any]
) -> None:
    track = ask(client, song, 202)["track_id"]
    running.report(track, published(track=track))
    ask(client, {**song, "cache": "refresh"}, 202)
    assert state(client, track)["status"] == "processing"
    ask(client, song, 202)
    assert running.resource(track)["spec"]["run"] == 2
    running.report(track, published(run=2, track=track))
    assert ask(client, song, 200)["cached"] is True


def test_another_keys_claim_is_added_once(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, 202)["track_id"]
    # claims of a key this API does not know, as a service with more keys writes them
    claims = [{"key": "studio", "metadata": '{"private":true}'}]
    resource = running.plane.api.merge(running.path(f"sep-{track}"), {"spec": {"claims": claims}})
    running.mirror(resource)
    assert ask(client, {**song, "metadata": {"mine": 1}}, 202)["metadata"] == {"mine": 1}
    found = running.resource(track)["spec"]["claims"]
    assert found == [*claims, {"key": "default", "metadata": '{"mine":1}'}]
    ask(client, song, 202)
    assert running.resource(track)["spec"]["claims"] == found


def test_the_65th_key_is_served_without_its_claim(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, 202)["track_id"]
    claims = [{"key": f"key-{number}"} for number in range(64)]
    running.plane.api.merge(running.path(f"sep-{track}"), {"spec": {"claims": claims}})
    ask(client, song, 202)
    assert running.resource(track)["spec"]["claims"] == claims


def test_a_name_with_other_content_is_a_conflict(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, 202)["track_id"]
    path = running.path(f"sep-{track}")
    running.plane.api.delete(path)
    labels = {"stemyard.dev/track-id": track}
    impostor = {"metadata": {"name": f"sep-{track}", "labels": labels}, "spec": {"source": {"searchQuery": "Another"}}}
    full = {"apiVersion": "stemyard.dev/v1alpha1", "kind": "SeparationJob", **impostor}
    running.plane.api.post(running.path(), full)
    response = client.post("/separate-audio", json=song)
    assert (response.status_code, response.json()["code"]) == (409, "NAME_CONFLICT")


def test_a_track_being_deleted_is_503_until_it_is_gone(
    running: World, client: httpx.Client, song: dict[str, Any]
) -> None:
    track = ask(client, song, 202)["track_id"]
    path = running.path(f"sep-{track}")
    running.plane.api.merge(path, {"metadata": {"finalizers": ["stemyard.dev/held-by-test"]}})
    running.plane.api.delete(path)
    response = client.post("/separate-audio", json=song)
    assert (response.status_code, response.json()["code"]) == (503, "BEING_DELETED")
    assert response.headers["retry-after"] == "2"
    running.plane.api.merge(path, {"metadata": {"finalizers": []}})
    ask(client, song, 202)


def test_a_deleted_track_is_created_again(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, 202)["track_id"]
    resource = running.report(track, tracks.status_failed())
    running.plane.api.delete(running.path(f"sep-{track}"))
    ask(client, song, 202)
    assert running.resource(track)["metadata"]["uid"] != resource["metadata"]["uid"]
    # the mirror still holds the failure of the resource that is gone
    assert state(client, track)["status"] == "processing"


def test_a_resource_created_with_kubectl_has_a_track_id(running: World, client: httpx.Client) -> None:
    spec = {"source": {"searchQuery": "By hand"}}
    made = {"apiVersion": "stemyard.dev/v1alpha1", "kind": "SeparationJob", "metadata": {"name": "by-hand"}}
    running.plane.api.post(running.path(), {**made, "spec": spec})
    track = f"{running.namespace}.by-hand"
    assert state(client, track)["track_id"] == track
    assert client.get("/job/elsewhere.by-hand").status_code == 404


def test_unknown_tracks_are_404(client: httpx.Client) -> None:
    response = client.get(f"/job/{uuid.uuid4()}")
    assert (response.status_code, response.json()["code"]) == (404, "TRACK_NOT_FOUND")


def test_the_queue_is_in_order(running: World, client: httpx.Client) -> None:
    running.forget()
    with running.redis() as mirror:
        mirror.zadd(running.keys.queue, {f"track-{number:04}": 1000 + number for number in range(1003)})
    answer = client.get("/queue/info").json()
    assert (answer["name"], answer["length"], len(answer["job_ids"])) == ("default", 1003, 1000)
    assert answer["job_ids"][:2] == ["track-0000", "track-0001"]


def test_without_redis_states_are_read_from_the_resources(
    running: World, client: httpx.Client, song: dict[str, Any]
) -> None:
    done, waiting = ask(client, song, 202)["track_id"], ask(client, {"search_query": f"W {uuid.uuid4()}"}, 202)
    running.report(done, published(track=done))
    running.valkey.stop()
    try:
        assert state(client, done)["status"] == "completed"
        assert ask(client, song, 200)["cached"] is True
        assert state(client, waiting["track_id"])["status"] == "processing"
        assert ask(client, {"search_query": f"New {uuid.uuid4()}"}, 202)["track_id"]
        queue = client.get("/queue/info").json()
        assert queue["length"] == len(queue["job_ids"])
        assert waiting["track_id"] in queue["job_ids"]
        assert done not in queue["job_ids"]
        eventually(lambda: not services(running.apis[0])["redis_operational"])
        assert client.get("/health").json()["status"] == "degraded"
        assert client.get("/readyz").status_code == 200
    finally:
        running.valkey.start()
    eventually(lambda: bool(services(running.apis[0])["redis_operational"]))


def test_without_the_api_server_states_are_read_from_the_mirror(
    running: World, client: httpx.Client, song: dict[str, Any], tmp_path: Path
) -> None:
    track = ask(client, song, 202)["track_id"]
    running.report(track, {**published(track=track), "cacheKey": _cache_key(song)})
    elsewhere = {"name": "by-hand", "namespace": "elsewhere", "labels": {}}
    resource = running.resource(track)
    running.mirror({**resource, "metadata": {**resource["metadata"], **elsewhere}})
    environment = dict(running.apis[0].server.environment)
    unreachable = Path(environment["KUBECONFIG"]).read_text().replace(running.plane.server, "https://127.0.0.1:1")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(unreachable)
    del environment["PORT"]
    with api_process(tmp_path, {**environment, "KUBECONFIG": str(kubeconfig)}) as cut_off, cut_off.client() as reader:
        assert state(reader, track)["status"] == "completed"
        assert state(reader, "elsewhere.by-hand")["status"] == "completed"
        assert ask(reader, song, 200)["cached"] is True
        assert reader.get("/queue/info").status_code == 200
        response = reader.post("/separate-audio", json={"search_query": f"New {uuid.uuid4()}"})
        assert (response.status_code, response.json()["code"]) == (503, "UNAVAILABLE")
        assert int(response.headers["retry-after"]) > 0
        assert reader.get(f"/job/{uuid.uuid4()}").status_code == 503
        assert reader.get("/job/elsewhere.unknown").status_code == 404
        eventually(lambda: reader.get("/readyz").status_code == 200)
        assert not services(cut_off)["kubernetes_operational"]


def test_health_reports_each_backend(running: World) -> None:
    eventually(lambda: all(services(running.apis[0]).values()))
    answer = httpx.get(f"{running.apis[0].url}/health").json()
    assert answer["status"] == "healthy"
    assert isinstance(answer["timestamp"], float)


def test_the_api_has_only_the_rights_it_needs(running: World) -> None:
    name = f"sep-{uuid.uuid4()}"
    user = f"system:serviceaccount:{running.namespace}:stemyard-api"
    verbs = {"get": True, "list": True, "create": True, "patch": True, "delete": True, "update": False, "watch": False}
    for verb, allowed in verbs.items():
        attributes = {"verb": verb, "group": "stemyard.dev", "resource": "separationjobs", "name": name}
        review = {"spec": {"user": user, "resourceAttributes": {**attributes, "namespace": running.namespace}}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        full = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", **review}
        assert running.plane.api.post(path, full)["status"]["allowed"] is allowed
