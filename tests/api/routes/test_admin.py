"""Routes for admins: a real process with a real Valkey; the operator's own client writes the mirror."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stemyard_operator.clients.redis import RedisClient
from tests.api import tracks
from tests.api.test_app import check_problem
from tests.support.api_world import keys_file
from tests.support.servers import Api, Server, api_process, valkey


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with valkey(tmp_path_factory.mktemp("admin")).running() as running:
        yield running


@pytest.fixture
def api(nowhere: str, cache: Server, tmp_path: Path) -> Iterator[Api]:
    environment = {
        "STEMYARD_INSTALL_ID": "main",
        "STEMYARD_NAMESPACE": "stemyard",
        "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
        "API_KEYS_FILE": str(keys_file(tmp_path, ("songs",))),
    }
    with api_process(tmp_path, environment) as running:
        yield running


def client_of(api: Api, key_id: str) -> httpx.Client:
    return httpx.Client(base_url=api.url, headers={"X-API-Key": f"{key_id}-key"}, timeout=30.0)


async def write(cache: Server) -> None:
    now = time.time()
    client = RedisClient(f"redis://127.0.0.1:{cache.port}/0", "main")
    mine = tracks.known(created=now, phase="Separating", claims=["team-a"])
    theirs = tracks.known(track_id="songs.one", namespace="songs", name="one", uid="u2", created=now, phase="Queued")
    await client.put(mine)
    await client.put(theirs)
    await client.state_divided(60)
    await client.close()


def test_an_admin_sees_the_tracks_of_all_keys_and_namespaces(api: Api, cache: Server) -> None:
    asyncio.run(write(cache))
    with client_of(api, "boss") as boss:
        response = boss.get("/admin/overview")
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        found = response.json()
    assert found["complete"] is True
    assert [(row["namespace"], row["waiting"], row["running"]) for row in found["queue"]] == [
        ("songs", 1, 0),
        ("stemyard", 0, 1),
    ]
    assert [track["track_id"] for track in found["running_tracks"]] == [tracks.TRACK]
    assert [track["track_id"] for track in found["waiting_tracks"]] == ["songs.one"]
    assert "metadata" not in found["running_tracks"][0]  # the record has some of the keys `default` and `other`
    assert [(key["key_id"], key["tracks"]) for key in found["usage"]] == [("default", 1), ("team-a", 1)]


@pytest.mark.parametrize("key_id", ["team-a", "reader", "tenant"])
def test_other_keys_get_nothing(api: Api, key_id: str) -> None:
    with client_of(api, key_id) as client:
        document = check_problem(client.get("/admin/overview"), 403, "FORBIDDEN")
        assert set(document) <= {"type", "title", "status", "detail", "code", "retryable", "error", "request_id"}
        for track in (tracks.TRACK, "songs.one", "nothing.there"):
            path = f"/admin/job/{track}/priority"
            check_problem(client.post(path, json={"priority": 1}), 403, "FORBIDDEN")


async def test_without_a_key_there_is_nothing(anonymous: httpx.AsyncClient) -> None:
    check_problem(await anonymous.get("/admin/overview"), 401, "UNAUTHENTICATED")
    check_problem(await anonymous.post(f"/admin/job/{tracks.TRACK}/priority"), 401, "UNAUTHENTICATED")


async def test_without_backends_it_is_503(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/admin/overview"), 503, "UNAVAILABLE")
    response = await client.post(f"/admin/job/{tracks.TRACK}/priority", json={"priority": 1})
    check_problem(response, 503, "UNAVAILABLE")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"{}", "priority"),
        (b'{"priority": 101}', "priority"),
        (b'{"priority": -101}', "priority"),
        (b'{"priority": 1.5}', "priority"),
        (b'{"priority": "1"}', "priority"),
        (b'{"priority": true}', "priority"),
        (b'{"priority": null}', "priority"),
        (b'{"priority": 1, "priority": 2}', "body"),
        (b"[]", "body"),
        (b"", "body"),
    ],
)
async def test_a_bad_priority_is_422_with_its_field(client: httpx.AsyncClient, content: bytes, field: str) -> None:
    path, headers = f"/admin/job/{tracks.TRACK}/priority", {"Content-Type": "application/json"}
    document = check_problem(await client.post(path, content=content, headers=headers), 422, "INVALID_REQUEST")
    assert [error["field"] for error in document["errors"]] == [field]


@pytest.mark.parametrize("track", ["x", "UPPER.case", "a" * 200])
async def test_an_invalid_track_is_404(client: httpx.AsyncClient, track: str) -> None:
    response = await client.post(f"/admin/job/{track}/priority", json={"priority": 1})
    check_problem(response, 404, "TRACK_NOT_FOUND")


async def test_a_track_of_another_namespace_is_left_to_kubectl(client: httpx.AsyncClient) -> None:
    response = await client.post("/admin/job/songs.one/priority", json={"priority": 1})
    assert "kubectl" in check_problem(response, 403, "FORBIDDEN")["error"]
