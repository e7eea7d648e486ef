"""Objects of the bucket as sources, end to end: checked in a real S3 server before a run starts."""

from collections.abc import Iterator

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from tests.support.api_world import World, published, world

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with world(control_plane, folder, OBJECT_SOURCE_PREFIXES="incoming,neighbour/", MAX_FILE_SIZE_MB="1") as found:
        yield found


@pytest.fixture
def client(running: World) -> Iterator[httpx.Client]:
    with running.apis[0].client() as opened:
        yield opened


def store(running: World, key: str, content: bytes = b"song") -> None:
    client = running.store.client()
    client.put_object(Bucket=running.store.bucket, Key=key, Body=content)
    client.close()


def remove(running: World, key: str) -> None:
    client = running.store.client()
    client.delete_object(Bucket=running.store.bucket, Key=key)
    client.close()


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_an_object_becomes_a_separation(running: World, client: httpx.Client) -> None:
    store(running, "incoming/2024/söng 1.mp3")
    response = client.post("/separate-audio", json={"object": "incoming/2024/söng 1.mp3"})
    assert response.status_code == 202, response.text
    resource = running.resource(response.json()["track_id"])
    assert resource["spec"]["source"] == {"object": {"key": "incoming/2024/söng 1.mp3"}}
    running.mirror(resource)
    [listed] = [one for one in client.get("/jobs").json()["jobs"] if one["track_id"] == response.json()["track_id"]]
    assert listed["query"] == "object incoming/2024/söng 1.mp3"


def test_a_missing_object_is_refused(client: httpx.Client) -> None:
    assert refusal(client.post("/separate-audio", json={"object": "incoming/none.mp3"})) == (404, "OBJECT_NOT_FOUND")
    assert refusal(client.post("/separate-audio", json={"object": "elsewhere/a.mp3"})) == (403, "SOURCE_DISABLED")


@pytest.mark.parametrize(("size", "status"), [(MEBIBYTE, 202), (MEBIBYTE + 1, 413)])
def test_an_object_may_have_as_many_bytes_as_an_upload(
    running: World, client: httpx.Client, size: int, status: int
) -> None:
    key = f"incoming/{size}.wav"
    store(running, key, bytes(size))
    response = client.post("/separate-audio", json={"object": key})
    assert response.status_code == status, response.text
    assert response.json().get("code") in {None, "SOURCE_TOO_LARGE"}


def test_objects_of_another_installation_are_refused(running: World, client: httpx.Client) -> None:
    store(running, "neighbour/owner.json")
    store(running, "neighbour/uploads/default/id/source")
    response = client.post("/separate-audio", json={"object": "neighbour/uploads/default/id/source"})
    assert refusal(response) == (403, "SOURCE_DISABLED")


def test_a_result_outlives_its_object(running: World, client: httpx.Client) -> None:
    key = "incoming/short-lived.mp3"
    store(running, key)
    track = client.post("/separate-audio", json={"object": key}).json()["track_id"]
    running.report(track, published(track=track), mirrored=False)
    remove(running, key)
    assert client.post("/separate-audio", json={"object": key}).status_code == 200
    again = client.post("/separate-audio", json={"object": key, "cache": "refresh"})
    assert refusal(again) == (404, "OBJECT_NOT_FOUND")


def test_a_retry_needs_the_object(running: World, client: httpx.Client) -> None:
    key = "incoming/failed.mp3"
    store(running, key)
    track = client.post("/separate-audio", json={"object": key}).json()["track_id"]
    client.post(f"/job/{track}/cancel")
    remove(running, key)
    assert refusal(client.post(f"/job/{track}/retry")) == (404, "OBJECT_NOT_FOUND")


def test_objects_survive_delete_and_erase(running: World, client: httpx.Client) -> None:
    key = "incoming/kept.mp3"
    store(running, key)
    track = client.post("/separate-audio", json={"object": key}).json()["track_id"]
    assert client.delete(f"/job/{track}").json()["deleted"]
    assert client.delete("/keys/default/data").status_code == 200
    store_client = running.store.client()
    assert store_client.head_object(Bucket=running.store.bucket, Key=key)["ContentLength"] == 4
    store_client.close()
