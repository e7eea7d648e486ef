"""Idempotency-Key and Cache-Status with a real API server and Valkey."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_api.services.stored_sources import mint_upload_id
from tests.api import tracks
from tests.support.api_world import INSTALL, World, published, world


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("idempotency")) as found:
        yield found


@pytest.fixture
def client(running: World) -> Iterator[httpx.Client]:
    with running.client("team-a") as opened:
        yield opened


@pytest.fixture
def song() -> dict[str, Any]:
    return {"search_query": f"Song {uuid.uuid4()}"}


def ask(client: httpx.Client, song: dict[str, Any], key: str | None = None) -> httpx.Response:
    return client.post("/separate-audio", json=song, headers={} if key is None else {"Idempotency-Key": key})


def test_a_repeated_request_returns_the_state(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    refresh, key = {**song, "cache": "refresh"}, str(uuid.uuid4())
    running.report(track := ask(client, song).json()["track_id"], published(track))
    first = ask(client, refresh, key)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (202, False)
    with running.client("team-a", 1) as other:
        again = ask(other, refresh, key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json() == first.json()
    running.report(track, published(track, run=2))
    done = ask(client, refresh, key)
    assert (done.status_code, done.json()["cached"], done.headers["idempotency-replayed"]) == (200, True, "true")
    assert running.resource(track)["spec"]["run"] == 2


def test_repeating_a_failed_request_starts_no_run(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    track = ask(client, song, "k-failed").json()["track_id"]
    running.report(track, tracks.status_failed())
    again = ask(client, song, "k-failed")
    assert (again.status_code, again.json()["status"], again.json()["code"]) == (202, "failed", "SOURCE_NOT_FOUND")
    assert running.resource(track)["spec"]["run"] == 1
    assert ask(client, song).json()["status"] == "processing"
    assert running.resource(track)["spec"]["run"] == 2


def test_another_request_under_the_same_key_is_422(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    key = str(uuid.uuid4())
    ask(client, song, key)
    wrong = ask(client, {**song, "bitrate": 128}, key)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert ask(client, {**song, "bitrate": 320}, key).headers["idempotency-replayed"] == "true"
    with running.client("team-b") as other:
        assert ask(other, {"search_query": f"Other {key}"}, key).status_code == 202


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        ({"search_query": "a", "url": "https://example.com/a"}, "INVALID_REQUEST"),
        ({"search_query": "a", "model": "none"}, "MODEL_NOT_ENABLED"),
        ({"search_query": "a", "priority": 1}, "FORBIDDEN"),
        ({"upload_id": mint_upload_id(INSTALL, "team-a")}, "UPLOAD_MISSING"),
    ],
)
def test_a_refused_request_leaves_its_key_free(
    running: World, client: httpx.Client, song: dict[str, Any], refused: dict[str, Any], code: str
) -> None:
    key = str(uuid.uuid4())
    first = ask(client, refused, key)
    assert (first.status_code // 100, first.json()["code"]) == (4, code)
    accepted = ask(client, song, key)
    assert (accepted.status_code, "idempotency-replayed" in accepted.headers) == (202, False)
    assert ask(client, song, key).headers["idempotency-replayed"] == "true"
    assert ask(client, refused, key).status_code in {first.status_code, 422}
    # one that is refused later does not take the key from the track
    assert ask(client, song, key).json()["track_id"] == accepted.json()["track_id"]


@pytest.mark.parametrize("key", ["x" * 256, "a\tb", "ä"])
def test_an_invalid_idempotency_key_is_422(client: httpx.Client, song: dict[str, Any], key: str) -> None:
    response = client.post("/separate-audio", json=song, headers={b"Idempotency-Key": key.encode()})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_concurrent_requests_with_one_idempotency_key_start_one_run(running: World) -> None:
    headers = {"X-API-Key": "team-a-key", "Idempotency-Key": str(uuid.uuid4())}
    songs = [{"search_query": f"Race {uuid.uuid4()}"} for _ in range(2)]
    async with httpx.AsyncClient(headers=headers, timeout=30.0) as many:
        urls = [f"{api.url}/separate-audio" for api in running.apis]
        asked = (many.post(urls[n % 2], json=songs[n // 10]) for n in range(20))
        answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [202] * 10 + [422] * 10
    assert len({answer.json()["track_id"] for answer in answers if answer.status_code == 202}) == 1


def test_a_deleted_track_is_created_again_under_its_key(
    running: World, client: httpx.Client, song: dict[str, Any]
) -> None:
    track = ask(client, song, "k-deleted").json()["track_id"]
    assert client.delete(f"/job/{track}").status_code == 200
    again = ask(client, song, "k-deleted")
    assert "idempotency-replayed" not in again.headers
    assert running.resource(track)["spec"]["claims"] == [{"key": "team-a"}]


def test_without_redis_the_same_track_is_returned(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    running.valkey.stop()
    try:
        first, second = ask(client, song, "k-down"), ask(client, song, "k-down")
        assert first.json()["track_id"] == second.json()["track_id"]
        assert (first.status_code, second.status_code) == (202, 202)
    finally:
        running.valkey.start()


def test_cache_status_reports_the_cache_result(running: World, client: httpx.Client, song: dict[str, Any]) -> None:
    def status(body: dict[str, Any]) -> str:
        return str(ask(client, body).headers["cache-status"])

    assert status(song) == "stemyard; fwd=miss"
    assert status(song) == "stemyard; fwd=miss; collapsed"
    track = ask(client, song).json()["track_id"]
    running.report(track, published(track))
    hit = status(song)
    assert hit.startswith("stemyard; hit; ttl=")
    assert 30 * 24 * 3600 - 60 < int(hit.partition("ttl=")[2]) <= 30 * 24 * 3600
    assert status({**song, "cache": "refresh"}) == "stemyard; fwd=request"
    assert status({**song, "cache": "refresh"}) == "stemyard; fwd=miss; collapsed"
