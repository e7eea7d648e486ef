"""Quotas with a real API server and Valkey: minutes are spent when they are spent, and places become free."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from tests.api import tracks
from tests.support.api_world import World, published, world

TEN_MINUTES = {"title": "Song", "duration": 600.0}


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits = {"QUOTA_CONCURRENT": "2", "QUOTA_MINUTES_PER_DAY": "5", "QUOTA_UPLOAD_MB_PER_DAY": "100"}
    with world(control_plane, tmp_path_factory.mktemp("quotas"), **limits) as found:
        yield found


def ask(client: httpx.Client) -> httpx.Response:
    return client.post("/separate-audio", json={"search_query": f"Song {uuid.uuid4()}"})


def minutes(running: World) -> float:
    with running.redis() as cache:
        return sum(float(cache.get(day) or 0) for day in cache.keys(running.keys.minutes("team-a", "*")))


def test_uploads_have_a_quota_of_a_day(running: World, client: httpx.Client) -> None:
    def link(size: int) -> httpx.Response:
        return client.post("/uploads", json={"filename": "a.mp3", "size": size})

    assert [link(40 * 2**20).status_code for _ in range(2)] == [200, 200]
    refused = link(40 * 2**20)
    assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert link(20 * 2**20).status_code == 200


def separating(progress: int) -> dict[str, Any]:
    conditions = [tracks.condition("Fetched", "True"), tracks.condition("Admitted", "True")]
    return {"run": 1, "conditions": conditions, "source": TEN_MINUTES, "progress": progress}


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("path", ["/job/{}", "/keys/team-a/data"])
def test_a_download_and_a_deletion_spend_the_minutes(
    running: World, client: httpx.Client, mirrored: bool, path: str
) -> None:
    track = ask(client).json()["track_id"]
    running.report(track, {**published(track), "source": TEN_MINUTES}, mirrored=mirrored)
    assert client.get(f"/job/{track}").json()["status"] == "completed"
    assert client.delete(path.format(track)).status_code == 200
    assert minutes(running) == 10.0
    refused = ask(client)
    assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")


@pytest.mark.parametrize(("method", "path"), [("POST", "/job/{}/cancel"), ("DELETE", "/job/{}")])
def test_what_was_separated_before_a_cancellation_is_spent(
    running: World, client: httpx.Client, method: str, path: str
) -> None:
    track = ask(client).json()["track_id"]
    running.report(track, separating(progress=40))
    assert client.request(method, path.format(track)).status_code in {200, 202}
    assert minutes(running) == 4.0
    assert ask(client).status_code == 202


def test_a_track_that_others_deleted_gives_its_place_back(running: World, client: httpx.Client) -> None:
    gone, there = (ask(client).json()["track_id"] for _ in range(2))
    running.plane.api.delete(running.path(f"sep-{gone}"))
    assert ask(client).status_code == 429
    with running.redis() as cache:
        for track in (gone, there):  # both are older now than the mirror lags behind
            cache.zincrby(running.keys.under_way("team-a"), -120, track)
    assert ask(client).status_code == 202
    assert ask(client).status_code == 429
    with running.redis() as cache:
        assert cache.zscore(running.keys.under_way("team-a"), gone) is None
        assert cache.zscore(running.keys.under_way("team-a"), there) is not None
