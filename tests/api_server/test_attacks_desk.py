"""Attacks on the desk from inside a fetch pod and a separate pod, with their tokens and environments."""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import (
    DESK_FINISHED_PATH,
    DESK_LINKS_PATH,
    DESK_PROGRESS_PATH,
    MarkReference,
    Outcome,
    WorkStage,
)
from stemyard_contract.leasing import DESK_LEASE_PATH
from stemyard_operator.http_server import CONNECTIONS_PER_ADDRESS
from tests.operator.decision.test_forged_words import ANY_JSON
from tests.support.operator_world import SEPARATOR, Operator, World, eventually, world

FETCH, SEPARATE = WorkStage
PATHS = (DESK_LINKS_PATH, DESK_PROGRESS_PATH, DESK_FINISHED_PATH, DESK_LEASE_PATH)
AUDIO = {"files": [{"file": "audio.flac", "method": "PUT", "bytes": 100}]}
REFUSALS = {400, 401, 403, 408, 409, 413, 422, 429, 503}


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("attacks")) as found:
        yield found


@pytest.fixture(scope="module")
def operator(running: World) -> Iterator[Operator]:
    with running.operating(MAX_ACTIVE="100", MAX_ACTIVE_FETCH="100") as found:
        yield found


@pytest.fixture
def name() -> str:
    return f"a{time.monotonic_ns():x}"


def fetching(running: World, name: str, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    running.create(name, retryPolicy={"limit": 0}, **spec)
    job = running.wait_job(FETCH, name=name)
    return job, running.run(job)


def separating(running: World, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    job, pod = fetching(running, name)
    running.succeed(job, pod)
    job = running.wait_job(SEPARATE, name=name)
    return job, running.run(job)


def call(operator: Operator, token: str, path: str, body: bytes) -> httpx.Response:
    """Send what a pod may send; wait where it sends too much."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for _ in range(40):
        answer = httpx.post(operator.desk + path, content=body, headers=headers, timeout=10)
        if answer.status_code != 429:
            return answer
        time.sleep(0.5)
    return answer


def links(operator: Operator, token: str, body: Any = AUDIO) -> httpx.Response:
    return call(operator, token, DESK_LINKS_PATH, json.dumps(body).encode())


def own_prefix(running: World, name: str, stage: WorkStage) -> str:
    return f"test/{stage.room}/{running.namespace}.{name}/"


@pytest.mark.parametrize("stage", WorkStage)
def test_naming_another_track_changes_nothing(running: World, operator: Operator, name: str, stage: WorkStage) -> None:
    """The fields that workers name their song by, and everything else that may name one."""
    victim = running.create(f"{name}-v")
    _, pod = fetching(running, name) if stage is FETCH else separating(running, name)
    file = {**AUDIO["files"][0], "file": "audio.flac" if stage is FETCH else "vocals.mp3"}
    named = {"name": victim.name, "uid": victim.uid}
    body = {
        "files": [{**file, "key": f"test/work/{victim.track_id}/x"}],
        "separation": named,
        "trackId": victim.track_id,
    }
    answer = links(operator, running.token(pod), body)
    assert answer.status_code == 200, answer.text
    assert all(link["key"].startswith(own_prefix(running, name, stage)) for link in answer.json()["links"])


@pytest.mark.parametrize(
    "file",
    ["../x", "..", "%2e%2e/x", "a/b", "/etc/passwd", "audio.flac/../x", "audio.flac?x", "audio.flac#", "AUDIO.FLAC",
     "audio.flac\n", "audio.flac\x00", " audio.flac", "audio.flac ", ".", "", "audio..flac", "owner.json"],
)  # fmt: skip
def test_a_file_has_one_spelling(running: World, operator: Operator, file: str) -> None:
    running_pod = _shared_pod(running)
    answer = links(operator, running_pod, {"files": [{"file": file, "method": "PUT", "bytes": 1}]})
    assert answer.status_code in {403, 422}, answer.text


_POD: dict[str, str] = {}


def _shared_pod(running: World) -> str:
    """The token of one fetch pod for all tests that only send requests."""
    if running.namespace not in _POD:
        _, pod = fetching(running, "shared")
        _POD[running.namespace] = running.token(pod)
    return _POD[running.namespace]


@pytest.mark.parametrize("path", PATHS)
def test_the_desk_refuses_any_json_it_does_not_know(running: World, operator: Operator, path: str) -> None:
    # fewer requests of each pod than the desk takes at once of the scarcest kind
    pods = [fetching(running, f"a{time.monotonic_ns():x}")[1] for _ in range(3)]
    tokens = itertools.cycle([running.token(pod) for pod in pods])

    @given(body=ANY_JSON.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=60))
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    def attack(body: bytes) -> None:
        answer = call(operator, next(tokens), path, body)
        assert answer.status_code in REFUSALS, (answer.status_code, body)
        assert answer.headers["content-type"].startswith("application/problem+json")

    attack()
    assert operator.is_ready()


def test_a_mark_that_is_not_the_pods_own_is_not_looked_at(running: World, operator: Operator, name: str) -> None:
    _, pod = fetching(running, name)
    other, other_pod = fetching(running, f"{name}-v")
    foreign = running.publish(other, other_pod)
    own = own_prefix(running, name, FETCH)
    for key in (foreign.key, own + "source.json", own + "../x/source.json", "test/owner.json", "", "a\x00b"):
        body = {"stage": "fetch", "mark": {"key": key, "sha256": foreign.sha256}}
        answer = call(operator, running.token(pod), DESK_FINISHED_PATH, json.dumps(body).encode())
        assert answer.status_code == 403, key
    assert running.phase(name) == "Fetching"


def test_a_token_is_worth_nothing_after_the_end_of_its_pod(running: World, operator: Operator, name: str) -> None:
    """The pod is kept for an hour, and its token is valid as long: in other hands it gets no link."""
    running.create(name, retryPolicy={"limit": 3})
    job = running.wait_job(FETCH, name=name)
    pod = running.run(job)
    token = running.token(pod)
    running.fail(job, pod, "SOURCE_NETWORK")
    running.run(running.wait_job(FETCH, 2, name=name))
    assert links(operator, token).status_code == 403


def test_a_fetch_pod_gets_no_link_once_its_source_is_accepted(running: World, operator: Operator, name: str) -> None:
    """It might write other audio over what was verified."""
    job, pod = fetching(running, name)
    token = running.token(pod)
    assert links(operator, token).status_code == 200
    mark = running.publish(job, pod)
    body = {"stage": "fetch", "mark": {"key": mark.key, "sha256": mark.sha256}}
    assert call(operator, token, DESK_FINISHED_PATH, json.dumps(body).encode()).status_code == 204
    running.wait_job(SEPARATE, name=name)
    eventually(lambda: links(operator, token).status_code == 403)


@pytest.mark.parametrize(
    "forged",
    [
        '{"realTimeFactor": NaN}',
        '{"realTimeFactor": 1e999}',
        '{"gainDb": -Infinity}',
        '{"samples": 1' + "0" * 400 + "}",
        '{"run": 2}',
        '{"uid": "00000000-0000-4000-8000-000000000000"}',
        '{"stems": {}}',
        "[]",
        "",
    ],
    ids=range(9),
)
def test_a_forged_mark_ends_its_own_separation_only(running: World, operator: Operator, name: str, forged: str) -> None:
    job, pod = separating(running, name)
    mark = running.publish(job, pod)
    content = b"" if not forged else forged.encode()
    if forged.startswith("{"):
        client = running.store.client()
        whole = json.loads(client.get_object(Bucket="stemyard", Key=mark.key)["Body"].read())
        client.close()
        [field, value] = forged[1:-1].split(": ", 1)
        whole[json.loads(field)] = "@"
        content = json.dumps(whole).replace('"@"', value).encode()
    client = running.store.client()
    client.put_object(Bucket="stemyard", Key=mark.key, Body=content)
    client.close()
    running.finish(job, pod, 0, Outcome(stage=SEPARATE, mark=mark).dump())
    eventually(lambda: running.phase(name) == "Failed")
    assert running.separation(name).status.failure is not None
    assert operator.is_ready()


@pytest.mark.parametrize(
    "tail",
    ["x" * 300 + "/manifest.json", "y/" * 600 + "manifest.json", "a\x00b/manifest.json", "../../x/manifest.json",
     "//manifest.json", "", "%2e%2e/manifest.json", "manifest.json/manifest.json"],
    ids=range(8),
)  # fmt: skip
def test_a_mark_key_that_the_store_chokes_on_harms_nobody_else(
    running: World, operator: Operator, name: str, tail: str
) -> None:
    """The key of an Outcome is read from the store: errors must neither repeat for ever nor count as an outage."""
    job, pod = separating(running, name)
    key = own_prefix(running, name, SEPARATE) + tail
    mark = {"stage": "separate", "mark": {"key": key, "sha256": "0" * 64}}
    running.finish(job, pod, 0, json.dumps(mark))
    eventually(lambda: running.phase(name) == "Failed")
    assert operator.metrics()[("stemyard_dependency_up", ("store",))] == 1


@pytest.mark.parametrize(
    "message",
    ["{}", "\u202e", '{"stage": "fetch", "code": "COMPLETED"}', "[" * 4000, "9" * 4096],
    ids=range(5),
)
def test_an_outcome_may_be_anything(running: World, operator: Operator, name: str, message: str) -> None:
    job, pod = separating(running, name)
    running.finish(job, pod, 1, message)
    eventually(lambda: running.phase(name) == "Failed")
    assert operator.is_ready()


def connections(operator: Operator, count: int, sent: bytes) -> list[socket.socket]:
    address = (str(urlsplit(operator.desk).hostname), urlsplit(operator.desk).port or 0)
    made = []
    for _ in range(count):
        one = socket.create_connection(address, timeout=10)
        with contextlib.suppress(OSError):
            one.sendall(sent)
        made.append(one)
    return made


def test_requests_that_never_end_take_no_place_for_long(running: World, operator: Operator, name: str) -> None:
    _, pod = fetching(running, name)
    token = running.token(pod)
    head = (f"POST {DESK_LINKS_PATH} HTTP/1.1", "Host: desk", f"Authorization: Bearer {token}", "Content-Length: 100")
    open_ones = connections(operator, 40, ("\r\n".join(head) + "\r\n\r\n{").encode())
    try:
        answers = [one.recv(100) for one in open_ones]
        statuses = {int(answer.split()[1]) for answer in answers}
        assert 408 in statuses
        assert statuses <= {408, 429, 503}, "503 while the token is reviewed for the first of them"
    finally:
        for one in open_ones:
            one.close()
    eventually(lambda: links(operator, token).status_code == 200)


def test_connections_of_one_address_are_bounded(running: World, operator: Operator) -> None:
    open_ones = connections(operator, CONNECTIONS_PER_ADDRESS + 40, b"POST /v1/links HTTP/1.1\r\n")
    try:
        for one in open_ones:
            one.settimeout(0.05)

        def is_closed(one: socket.socket) -> bool:
            try:
                return one.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        assert sum(is_closed(one) for one in open_ones[-40:]) == 40
        assert not any(is_closed(one) for one in open_ones[:10])
    finally:
        for one in open_ones:
            one.close()
    token = _shared_pod(running)
    eventually(lambda: _serves(operator, token))


def _serves(operator: Operator, token: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return links(operator, token).status_code == 200
    return False


@pytest.mark.parametrize("stage", WorkStage)
def test_the_api_server_grants_a_pod_nothing(running: World, operator: Operator, name: str, stage: WorkStage) -> None:
    """No token of the API server is in the pod, and one of its ServiceAccount could do nothing."""
    job, pod = fetching(running, name) if stage is FETCH else separating(running, name)
    spec = job["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    sources = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", [])]
    audiences = [source["serviceAccountToken"]["audience"] for source in sources if "serviceAccountToken" in source]
    assert audiences == ["stemyard-desk"]
    own = httpx.Client(base_url=running.plane.server, verify=False, timeout=10)
    with own:
        version = own.get("/api/v1/namespaces", headers={"Authorization": f"Bearer {running.token(pod)}"})
        assert version.status_code == 401, "the desk's token is none of the API server's"
    user = f"system:serviceaccount:{running.namespace}:{SEPARATOR}"
    for group, resource in RESOURCES:
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"):
            for namespace in (running.namespace, "kube-system", ""):
                where = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
                review = {"spec": {"user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": where}}
                answer = running.plane.api.post(REVIEWS, {"kind": "SubjectAccessReview", **API, **review})
                assert answer["status"]["allowed"] is False, where


API = {"apiVersion": "authorization.k8s.io/v1"}
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RESOURCES = [
    *(("", resource) for resource in ("pods", "pods/exec", "secrets", "configmaps", "serviceaccounts/token", "nodes")),
    ("batch", "jobs"),
    *(("stemyard.dev", resource) for resource in ("separationjobs", "separationjobs/status", "keywebhooks")),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("coordination.k8s.io", "leases"),
]


def test_a_mark_reference_of_another_pod_is_not_accepted(running: World, operator: Operator, name: str) -> None:
    """An Outcome may name the mark of a neighbour; its token does not follow from this separation."""
    neighbour, neighbour_pod = separating(running, f"{name}-v")
    mark: MarkReference = running.publish(neighbour, neighbour_pod)
    job, pod = separating(running, name)
    running.finish(job, pod, 0, Outcome(stage=SEPARATE, mark=mark).dump())
    eventually(lambda: running.phase(name) == "Failed")
    assert running.separation(name).status.result is None
