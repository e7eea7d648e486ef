"""The desk with a real API server and a real store: which pods get which links."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import DESK_LINKS_PATH, DESK_PROGRESS_PATH, WorkStage
from stemyard_contract.mirror import ProgressRecord
from tests.support.operator_world import SEPARATOR, Operator, World, eventually, world

FETCH, SEPARATE = WorkStage
UPLOAD = {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}
SONG = b"fLaC" * 25


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture(scope="module")
def operator(running: World) -> Iterator[Operator]:
    with running.operating(
        MAX_ACTIVE="100", MAX_ACTIVE_FETCH="100", MAX_DURATION_SECONDS="60", OBJECT_SOURCE_PREFIXES="incoming,neighbour"
    ) as found:
        yield found


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"d{time.monotonic_ns():x}"


def call(operator: Operator, path: str, token: str, body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(operator.desk + path, json=body, headers=headers, timeout=10)


def links(operator: Operator, token: str, *files: dict[str, Any]) -> httpx.Response:
    return call(operator, DESK_LINKS_PATH, token, {"files": list(files)})


def put(file: str, size: int = len(SONG), kind: str = "audio/flac") -> dict[str, Any]:
    return {"file": file, "method": "PUT", "bytes": size, "contentType": kind}


def get(file: str) -> dict[str, Any]:
    return {"file": file, "method": "GET"}


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"].startswith("application/problem+json")
    return response.status_code, response.json()["code"]


def fetching(running: World, name: str, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    running.create(name, **spec)
    job = running.wait_job(FETCH, name=name)
    return job, running.run(job)


def separating(running: World, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    job, pod = fetching(running, name)
    running.succeed(job, pod)
    job = running.wait_job(SEPARATE, name=name)
    return job, running.run(job)


def head_of(running: World, key: str) -> dict[str, Any]:
    client = running.store.client()
    try:
        return dict(client.head_object(Bucket="stemyard", Key=key))
    finally:
        client.close()


def test_fetch_gets_put_links_for_its_own_files_only(running: World, operator: Operator, name: str) -> None:
    _, pod = fetching(running, name)
    token = running.token(pod)
    answer = links(operator, token, put("audio.flac"), put("source.json", 10, "application/json"))
    assert answer.status_code == 200, answer.text
    audio, mark = answer.json()["links"]
    assert audio["key"].startswith(f"test/work/{running.namespace}.{name}/")
    assert mark["key"] == audio["key"].replace("audio.flac", "source.json")
    assert httpx.put(audio["url"], content=SONG, headers=audio["headers"]).status_code == 200
    assert audio["key"] in running.objects("work/")
    for file in (put("vocals.mp3"), get("audio.flac"), put("manifest.json"), get("input"), put("../x.flac")):
        status, code = problem(links(operator, token, file))
        assert (status, code) in {(403, "LINK_REFUSED"), (422, "INVALID_REQUEST")}, file


@pytest.mark.parametrize(
    ("content", "kind"), [(SONG + b"x", "audio/flac"), (SONG[:-1], "audio/flac"), (SONG, "text/html")]
)
def test_a_put_link_is_valid_for_one_length_and_type(
    running: World, operator: Operator, name: str, content: bytes, kind: str
) -> None:
    _, pod = fetching(running, name)
    link = links(operator, running.token(pod), put("audio.flac")).json()["links"][0]
    refused = httpx.put(link["url"], content=content, headers={"Content-Type": kind})
    assert refused.status_code == 403, refused.text
    assert link["key"] not in running.objects("work/")


@pytest.mark.parametrize("asked", ["text/html", "image/svg+xml", None])
def test_the_desk_sets_the_type_of_every_file(running: World, operator: Operator, name: str, asked: str | None) -> None:
    _, pod = fetching(running, name)
    files = [{**put(file), "contentType": asked} for file in ("audio.flac", "source.json")]
    answer = links(operator, running.token(pod), *files).json()["links"]
    assert [link["headers"]["Content-Type"] for link in answer] == ["audio/flac", "application/json"]
    headers = {**answer[0]["headers"], "Content-Type": asked or "text/html"}
    assert httpx.put(answer[0]["url"], content=SONG, headers=headers).status_code == 403


def test_a_separate_pod_stores_no_page(running: World, operator: Operator, name: str) -> None:
    _, pod = separating(running, name)
    asked = [put(file, kind="text/html") for file in ("vocals.mp3", "vocals.peaks.json", "manifest.json")]
    answer = links(operator, running.token(pod), *asked).json()["links"]
    assert [link["headers"]["Content-Type"] for link in answer] == [
        "audio/mpeg",
        "application/json",
        "application/json",
    ]


def test_fetch_reads_the_upload(running: World, operator: Operator, name: str) -> None:
    client = running.store.client()
    client.put_object(Bucket="stemyard", Key=f"test/uploads/default/{UPLOAD['id']}/source", Body=SONG)
    client.close()
    _, pod = fetching(running, name, source={"upload": UPLOAD})
    link = links(operator, running.token(pod), get("input")).json()["links"][0]
    assert httpx.get(link["url"]).content == SONG


def test_fetch_reads_an_object_without_deleting_it(running: World, operator: Operator, name: str) -> None:
    client = running.store.client()
    client.put_object(Bucket="stemyard", Key="incoming/söng 1.mp3", Body=SONG)
    job, pod = fetching(running, name, source={"object": {"key": "incoming/söng 1.mp3"}})
    link = links(operator, running.token(pod), get("input")).json()["links"][0]
    assert httpx.get(link["url"]).content == SONG
    running.succeed(job, pod)
    job = running.wait_job(SEPARATE, name=name)
    running.succeed(job, running.run(job))
    eventually(lambda: running.phase(name) == "Completed")
    running.plane.api.delete(running.path("separationjobs", name))
    eventually(lambda: not [key for key in running.objects("stems/") if name in key])
    assert client.get_object(Bucket="stemyard", Key="incoming/söng 1.mp3")["Body"].read() == SONG
    client.close()


def test_an_object_of_another_installation_gets_no_link(running: World, operator: Operator, name: str) -> None:
    client = running.store.client()
    client.put_object(Bucket="stemyard", Key="neighbour/owner.json", Body=b"{}")
    client.put_object(Bucket="stemyard", Key="neighbour/uploads/default/id/source", Body=SONG)
    client.close()
    _, pod = fetching(running, name, source={"object": {"key": "neighbour/uploads/default/id/source"}})
    assert problem(links(operator, running.token(pod), get("input"))) == (403, "LINK_REFUSED")


def test_separate_reads_the_source_and_puts_stems(running: World, operator: Operator, name: str) -> None:
    _, pod = separating(running, name)
    token = running.token(pod)
    asked = [get("audio.flac"), get("source.json"), put("vocals.mp3"), put("instrumental.mp3"), put("manifest.json")]
    answer = links(operator, token, *asked)
    assert answer.status_code == 200, answer.text
    given = answer.json()["links"]
    assert [link["file"] for link in given] == [file["file"] for file in asked]
    assert httpx.get(given[0]["url"]).content == b"fLaC" * 100
    assert all(f"test/stems/{running.namespace}.{name}/" in link["url"] for link in given[2:])
    written = httpx.put(given[2]["url"], content=SONG, headers=given[2]["headers"])
    assert written.status_code == 200, written.text
    stored = head_of(running, given[2]["key"])
    assert stored["ContentType"] == "audio/mpeg", "the desk sets the type"
    assert "(Vocals).mp3" in stored["ContentDisposition"]
    assert "Content-Disposition" not in given[4]["headers"]
    for file in (put("audio.flac"), put("vocals.wav"), put("source.json"), get("input"), get("manifest.json")):
        assert problem(links(operator, token, file)) == (403, "LINK_REFUSED")


def test_a_file_above_the_size_limit_gets_no_link(running: World, operator: Operator, name: str) -> None:
    _, pod = fetching(running, name)
    assert problem(links(operator, running.token(pod), put("audio.flac", 60_000_000))) == (413, "REQUEST_TOO_LARGE")


def test_two_pods_never_share_a_key(running: World, operator: Operator, name: str) -> None:
    job, pod = fetching(running, name)
    other = running.pod(job)
    keys = {links(operator, running.token(p), put("audio.flac")).json()["links"][0]["key"] for p in (pod, other)}
    assert len(keys) == 2


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "x" * 8_000])
def test_a_missing_or_invalid_token_is_401(operator: Operator, token: str) -> None:
    assert problem(links(operator, token, put("audio.flac"))) == (401, "UNAUTHENTICATED")
    assert problem(call(operator, DESK_PROGRESS_PATH, token, {})) == (401, "UNAUTHENTICATED")


def test_a_token_of_another_audience_or_account_is_refused(running: World, operator: Operator, name: str) -> None:
    _, pod = fetching(running, name)
    token = running.token(pod, audience="https://kubernetes.default.svc")
    assert problem(links(operator, token, put("audio.flac"))) == (401, "UNAUTHENTICATED")
    unbound = running.plane.token_for(running.namespace, SEPARATOR, ["stemyard-desk"])
    assert problem(links(operator, unbound, put("audio.flac"))) == (403, "LINK_REFUSED")


def test_a_pod_of_another_namespace_is_refused(running: World, operator: Operator, name: str) -> None:
    elsewhere = World(running.plane, f"{running.namespace}-x", running.valkey, running.store, running.folder)
    running.plane.api.post("/api/v1/namespaces", {"metadata": {"name": elsewhere.namespace}})
    running.plane.api.post(elsewhere.path("serviceaccounts"), {"metadata": {"name": SEPARATOR}})
    job, _ = fetching(running, name)
    pod = elsewhere.pod(job)
    assert problem(links(operator, elsewhere.token(pod), put("audio.flac"))) == (403, "LINK_REFUSED")


def test_labels_alone_grant_no_access(running: World, operator: Operator, name: str) -> None:
    """A pod and a Job with all the operator's labels, but without its ownerReference."""
    job, pod = fetching(running, name)
    bare = {"generateName": "fake-", "labels": pod["metadata"]["labels"]}
    made = running.plane.api.post(running.path("pods"), {"metadata": bare, "spec": job["spec"]["template"]["spec"]})
    assert problem(links(operator, running.token(made), put("audio.flac"))) == (403, "LINK_REFUSED")
    spec = {"template": {"spec": job["spec"]["template"]["spec"]}}
    metadata = {"name": f"{name}-fake", "labels": job["metadata"]["labels"]}
    metadata["ownerReferences"] = job["metadata"]["ownerReferences"]
    fake = running.plane.api.post(running.path("jobs"), {"metadata": metadata, "spec": spec})
    fake["spec"]["template"]["metadata"]["labels"] = {}
    assert problem(links(operator, running.token(running.pod(fake)), put("audio.flac"))) == (403, "LINK_REFUSED")


def test_a_pod_with_a_wrong_owner_uid_is_refused(running: World, operator: Operator, name: str) -> None:
    job, _ = fetching(running, name)
    stranger = running.pod({**job, "metadata": {**job["metadata"], "uid": "00000000-0000-4000-8000-000000000000"}})
    assert problem(links(operator, running.token(stranger), put("audio.flac"))) == (403, "LINK_REFUSED")


@pytest.mark.parametrize("change", [{"cancel": True}, {"run": 2}])
def test_a_cancelled_or_superseded_run_gets_no_link(
    running: World, operator: Operator, name: str, change: dict[str, Any]
) -> None:
    _, pod = fetching(running, name)
    token = running.token(pod)
    assert links(operator, token, put("audio.flac")).status_code == 200
    running.plane.api.merge(running.path("separationjobs", name), {"spec": change})
    eventually(lambda: links(operator, token, put("audio.flac")).status_code == 403)
    assert problem(links(operator, token, put("audio.flac"))) == (403, "LINK_REFUSED")


def test_a_finished_job_gets_no_link(running: World, operator: Operator, name: str) -> None:
    job, pod = separating(running, name)
    token = running.token(pod)
    assert links(operator, token, put("vocals.mp3")).status_code == 200
    running.succeed(job, pod)
    eventually(lambda: running.phase(name) == "Completed")
    eventually(lambda: links(operator, token, put("vocals.mp3")).status_code == 403)


def test_a_recreated_resource_refuses_the_old_pod(running: World, operator: Operator, name: str) -> None:
    _, pod = fetching(running, name)
    token = running.token(pod)
    running.plane.api.delete(running.path("separationjobs", name))
    running.create(name)
    eventually(lambda: links(operator, token, put("audio.flac")).status_code == 403)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": []},
        {"files": [{"file": "audio.flac", "method": "PUT"}]},
        {"files": [{"file": "audio.flac", "method": "DELETE"}]},
        {"files": [put("audio.flac")] * 17},
        "text",
    ],
)
def test_invalid_requests_get_a_named_error(running: World, operator: Operator, name: str, body: Any) -> None:
    _, pod = fetching(running, name)
    assert problem(call(operator, DESK_LINKS_PATH, running.token(pod), body)) == (422, "INVALID_REQUEST")


def test_a_large_body_and_a_wrong_method_are_refused(running: World, operator: Operator, name: str) -> None:
    _, pod = fetching(running, name)
    large = call(operator, DESK_LINKS_PATH, running.token(pod), {"files": ["x" * 100_000]})
    assert problem(large) == (413, "REQUEST_TOO_LARGE")
    assert problem(httpx.get(operator.desk + DESK_LINKS_PATH)) == (405, "METHOD_NOT_ALLOWED")
    assert problem(httpx.get(operator.desk + "/")) == (404, "NOT_FOUND")


def test_progress_reaches_redis_and_never_goes_back(running: World, operator: Operator, name: str) -> None:
    _, pod = separating(running, name)
    token = running.token(pod)

    def report(sequence: int, fraction: float, stage: str = "separate", **timed: float) -> int:
        body = {"stage": stage, "sequence": sequence, "fraction": fraction, "step": "separate", **timed}
        while (status := call(operator, DESK_PROGRESS_PATH, token, body).status_code) == 429:
            time.sleep(0.2)
        return status

    def stored() -> ProgressRecord:
        with running.redis() as client:
            text = client.get(running.keys.progress(f"{running.namespace}.{name}"))
        return ProgressRecord.model_validate_json(str(text))

    assert [report(1, 0.1), report(3, 0.5), report(2, 0.3)] == [204, 204, 204]
    assert (stored().sequence, stored().progress) == (3, 54.5)
    assert stored().step_seconds is None, "an older separator does not time its steps"
    assert report(4, 0.6, stepFraction=0.1, stepSeconds=2.5) == 204
    assert (stored().step_progress, stored().step_seconds) == (18.9, 2.5)
    assert report(5, 0.6, stage="fetch") == 422
    assert report(5, 7.0) == 422
    assert stored().attempt == 1
