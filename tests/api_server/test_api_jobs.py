"""Lists, waiting, candidates, batches and usage with a real API server and Valkey."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.mirror import MirrorRecord
from tests.api import tracks
from tests.support.api_world import World, published, world


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("jobs")) as found:
        yield found


def hold(running: World, records: list[MirrorRecord]) -> None:
    with running.redis() as mirror:
        for record in records:
            mirror.set(running.keys.record(record.track_id), record.dump())
            mirror.zadd(running.keys.tracks, {record.track_id: record.created})


def pages(client: httpx.Client, query: str) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        response = client.get(f"/jobs?{query}{cursor}")
        assert response.status_code == 200, response.text
        answer = response.json()
        found.append([job["track_id"] for job in answer["jobs"]])
        if answer["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer['next_cursor']}"


def test_pages_of_a_list_have_no_gaps_or_duplicates(running: World, client: httpx.Client) -> None:
    # 450 of one second are more than one reading of the mirror gives
    records = [
        tracks.record(
            track_id=f"track-{number:04}",
            created=float(1000 + max(0, number - 450)),
            claims=["team-a"] if number % 2 else ["team-b"],
            phase="Failed" if number % 3 == 0 else "Pending",
        )
        for number in range(600)
    ]
    hold(running, records)
    expected = sorted((r.created, r.track_id) for r in records if r.claims == ["team-a"])
    found = pages(client, "limit=70")
    assert [track for page in found for track in page] == [track for _, track in reversed(expected)]
    assert all(len(page) == 70 for page in found[:-1])
    failed = [track for page in pages(client, "limit=200&status=failed") for track in page]
    assert failed == [f"track-{number:04}" for number in range(599, -1, -1) if number % 6 == 3]
    some = [track for page in pages(client, "created_after=1100&created_before=1110") for track in page]
    assert some == [f"track-{number:04}" for number in range(559, 549, -2)]


def test_a_list_shows_states_without_links(running: World, client: httpx.Client) -> None:
    hold(running, [tracks.completed(claims=["team-a"])])
    [job] = client.get("/jobs").json()["jobs"]
    assert (job["status"], job["query"], job["title"]) == ("completed", "Song Title Artist", "Song Title")
    assert "result" not in job


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "status=done", "cursor=x", "cursor=1.0_a%2Fb", "created_after=nan"]
)
def test_bad_filters_are_422(client: httpx.Client, query: str) -> None:
    response = client.get(f"/jobs?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST")
    assert response.json()["errors"][0]["field"].startswith(query.partition("=")[0])


def test_without_redis_the_list_comes_from_the_resources(running: World, client: httpx.Client) -> None:
    made = [ask(client) for _ in range(3)]
    running.valkey.stop()
    try:
        found = [track for page in pages(client, "limit=2") for track in page]
        assert set(made) <= set(found)
        assert len(found) == len(set(found))
    finally:
        running.valkey.start()


def ask(client: httpx.Client) -> str:
    response = client.post("/separate-audio", json={"search_query": f"Song {uuid.uuid4()}"})
    assert response.status_code == 202, response.text
    return str(response.json()["track_id"])


def test_wait_returns_at_the_end_or_after_its_timeout(running: World, client: httpx.Client) -> None:
    track = ask(client)
    assert client.get(f"/job/{track}/wait?timeout=0.2").json()["status"] == "processing"
    report = threading.Timer(0.5, lambda: running.report(track, published(track)))
    report.start()
    answer = client.get(f"/job/{track}/wait?timeout=25").json()
    report.join()
    assert answer["status"] == "completed"
    assert answer == client.get(f"/job/{track}").json()
    assert client.get(f"/job/{track}/wait?timeout=61").status_code == 422
    assert client.get(f"/job/{uuid.uuid4()}/wait").status_code == 404


def test_candidates_are_those_that_fetch_recorded(running: World, client: httpx.Client) -> None:
    track = ask(client)
    assert client.get(f"/job/{track}/candidates").json()["candidates"] == []
    found = [
        {"mediaId": "youtube:a", "title": "A", "channel": "C", "duration": 3.5, "score": 0.9, "chosen": True},
        {"mediaId": "youtube:b", "title": "B", "score": 0.1},
    ]
    running.report(track, {"run": 1, "conditions": [], "source": {"candidates": found}})
    answer = client.get(f"/job/{track}/candidates").json()
    assert [(item["media_id"], item["chosen"]) for item in answer["candidates"]] == [
        ("youtube:a", True),
        ("youtube:b", False),
    ]
    assert answer["candidates"][1]["duration"] is None


def test_a_batch_answers_each_request_as_if_sent_alone(running: World, client: httpx.Client) -> None:
    song = {"search_query": f"Song {uuid.uuid4()}"}
    track = ask(client)
    running.report(track, published(track))
    done = {"search_query": running.resource(track)["spec"]["source"]["searchQuery"]}
    requests: list[Any] = [song, {"search_query": ""}, done, {**song, "model": "nothing"}, song, {}]
    response = client.post("/batch", json={"requests": requests})
    assert response.status_code == 200
    results = response.json()["results"]
    assert [item["status"] for item in results] == [202, 422, 200, 422, 202, 422]
    assert results[0]["body"]["track_id"] == results[4]["body"]["track_id"]
    assert results[2]["body"]["cached"] is True
    assert results[3]["body"]["code"] == "MODEL_NOT_ENABLED"
    many: list[dict[str, Any]] = [{"requests": []}, {"requests": [song] * 101}, {"requests": ["x"]}, {}]
    for wrong in many:
        assert client.post("/batch", json=wrong).status_code == 422


def test_usage_counts_by_key(running: World, client: httpx.Client) -> None:
    done = tracks.completed(track_id="a", created=2000.0, claims=["team-a", "team-b"], started_at=10.0, ended_at=40.5)
    hold(running, [done, tracks.record(track_id="b", created=2001.0, claims=["team-a"])])
    hold(running, [tracks.failed(track_id="c", created=99.0, claims=["team-b"])])
    with running.client("boss") as boss:
        answer = boss.get("/usage?created_after=1000&created_before=3000").json()
    assert answer["created_after"] == 1000.0
    assert [(key["key_id"], key["tracks"], key["processing"], key["completed"]) for key in answer["keys"]] == [
        ("team-a", 2, 1, 1),
        ("team-b", 1, 0, 1),
    ]
    assert (answer["keys"][0]["audio_seconds"], answer["keys"][0]["processing_seconds"]) == (217.4, 30.5)
