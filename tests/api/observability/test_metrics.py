"""Metrics of a real process with a real Valkey; no client chooses a label."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from stemyard_contract.identity import track_id as track_of
from stemyard_contract.mirror_keys import MirrorKeys
from tests.api import tracks
from tests.api.ratelimit.test_limiter import identity, submit
from tests.api.routes.test_events import follow
from tests.api.tracks import TRACK
from tests.support.api_world import eventually
from tests.support.servers import Api, Server, api_process, valkey

KEYS = MirrorKeys("main")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Server]:
    with valkey(tmp_path).running() as running:
        yield running


@pytest.fixture
def api(nowhere: str, cache: Server, tmp_path: Path) -> Iterator[Api]:
    environment = {
        "STEMYARD_INSTALL_ID": "main",
        "STEMYARD_NAMESPACE": "stemyard",
        "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
        "R2_PUBLIC_DOMAIN": "media.example.com",
        "RATE_LIMIT_SUBMITS_PER_MINUTE": "3",
        "RATE_LIMIT_ANONYMOUS_PER_MINUTE": "1",
    }
    with api_process(tmp_path, environment, "hunter2") as running:
        yield running


def text(api: Api) -> str:
    """Return the metrics after the text's cache has expired."""
    answer = httpx.get(f"{api.health_url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


def value(api: Api, name: str, **labels: str) -> float | None:
    samples = [sample for family in text_string_to_metric_families(text(api)) for sample in family.samples]
    found = [sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()]
    return sum(found) if found else None


def test_requests_are_counted(api: Api, cache: Server) -> None:
    key = identity("done")
    known = tracks.completed(track_id=TRACK, cache_key=key)
    with redis.Redis(port=cache.port) as mirror, api.client() as client:
        mirror.set(KEYS.record(TRACK), known.dump())
        for _ in range(2):
            assert client.get(f"/job/{TRACK}").status_code == 200
        assert client.get("/job/unknown-track").status_code == 404
        assert client.get("/secret-path-of-a-client").status_code == 404
        assert client.request("PROPFIND", "/jobs").status_code == 405
        assert [submit(api).status_code for _ in range(4)] == [503, 503, 503, 429]
        assert [httpx.get(f"{api.url}/jobs").status_code for _ in range(2)] == [401, 429]
    counted = {
        ("GET", "/job/{track_id}", "2xx"): 2,
        ("GET", "/job/{track_id}", "4xx"): 1,
        ("GET", "none", "4xx"): 3,
        ("other", "/jobs", "4xx"): 1,
        ("POST", "/separate-audio", "5xx"): 3,
        ("POST", "none", "4xx"): 1,
    }
    eventually(lambda: value(api, "stemyard_api_rate_limited_total", policy="anonymous") == 1)
    for (method, route, status), number in counted.items():
        labels = {"method": method, "route": route, "status": status}
        assert value(api, "stemyard_api_request_seconds_count", **labels) == number, labels
    assert value(api, "stemyard_api_rate_limited_total", policy="submit") == 1
    assert value(api, "stemyard_api_track_reads_total", source="mirror") == 2
    assert value(api, "process_resident_memory_bytes")
    shown = text(api)
    assert not any(word in shown for word in ("hunter2", TRACK, "secret-path", "unknown-track", "PROPFIND"))


def test_hits_are_counted_on_fast_path_and_route(api: Api, cache: Server) -> None:
    key = identity("done")
    with redis.Redis(port=cache.port) as mirror, api.client() as client:
        track = tracks.completed(cache_key=key, track_id=track_of(key), expires_at=None)
        mirror.set(KEYS.record(track.track_id), track.dump())
        song = {"search_query": "done"}
        assert client.post("/separate-audio", json=song).status_code == 200
        assert client.post("/separate-audio", json=song, headers={"Idempotency-Key": "k"}).status_code == 200
    eventually(lambda: value(api, "stemyard_api_submits_total", cache="hit") == 2)
    assert value(api, "stemyard_api_submits_total", cache="miss") == 0


def test_backends_and_streams_are_gauges(api: Api, cache: Server) -> None:
    with redis.Redis(port=cache.port) as mirror:
        mirror.set(KEYS.record(TRACK), tracks.known().dump())
    assert value(api, "stemyard_api_event_streams") == 0
    with follow(api) as stream:
        stream.next("snapshot")
        eventually(lambda: value(api, "stemyard_api_event_streams") == 1)
    eventually(lambda: value(api, "stemyard_api_dependency_up", dependency="redis") == 1)
    assert value(api, "stemyard_api_rate_limit_backend", backend="redis") == 1
    assert value(api, "stemyard_api_dependency_up", dependency="kubernetes") == 0
    assert value(api, "stemyard_api_dependency_up", dependency="storage") is None
    cache.stop()
    eventually(lambda: value(api, "stemyard_api_rate_limit_backend", backend="local") == 1)
    assert value(api, "stemyard_api_dependency_up", dependency="redis") == 0
