"""Lists of tracks of a real process with a real Valkey; the operator's own client writes the mirror."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import redis

from stemyard_api.auth.api_keys import Principal
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.services.order import Order, build_order
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import Phase
from stemyard_operator.clients.redis import RedisClient
from tests.api import tracks
from tests.api.settings_for_tests import settings
from tests.support.api_world import keys_file
from tests.support.servers import Api, Server, api_process, valkey

NAMES = MirrorKeys("main")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists")


@pytest.fixture(scope="module")
def cache(folder: Path) -> Iterator[Server]:
    with valkey(folder).running() as running:
        yield running


@pytest.fixture
def mirror(cache: Server) -> Iterator[redis.Redis]:
    with redis.Redis(port=cache.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def api(nowhere: str, cache: Server, folder: Path, tmp_path: Path) -> Iterator[Api]:
    environment = {
        "STEMYARD_INSTALL_ID": "main",
        "STEMYARD_NAMESPACE": "stemyard",
        "R2_PUBLIC_DOMAIN": "media.example.com",
        "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
        "API_KEYS_FILE": str(keys_file(folder, ("songs",))),
    }
    with api_process(tmp_path, environment) as running:
        yield running


def write(cache: Server, records: Sequence[MirrorRecord]) -> None:
    async def put() -> None:
        client = RedisClient(f"redis://127.0.0.1:{cache.port}/0", "main")
        for start in range(0, len(records), 100):
            await client.write(records[start : start + 100])
        await client.close()

    asyncio.run(put())


def numbered(number: int, **changes: Any) -> MirrorRecord:
    track = str(UUID(int=number))
    return tracks.completed(track_id=track, name=f"sep-{track}", uid=f"u{number}", expires_at=None, **changes)


def listed(api: Api, key: str, **query: Any) -> list[str]:
    """Read all pages of a list."""
    found: list[str] = []
    with httpx.Client(base_url=api.url, headers={"X-API-Key": key}, timeout=60.0) as client:
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            response = client.get("/jobs", params={**query, **more})
            assert response.status_code == 200, response.text
            found += [one["track_id"] for one in response.json()["jobs"]]
            cursor = response.json()["next_cursor"]
            if cursor is None:
                return found


@pytest.mark.parametrize("divided", [False, True])
def test_a_key_lists_its_own_tracks(api: Api, cache: Server, mirror: redis.Redis, *, divided: bool) -> None:
    records = [
        numbered(number, created=1000.0 + number // 250, claims=["team-a"] if number % 3 else ["team-b"])
        for number in range(900)
    ]
    kubectl = [
        tracks.completed(
            track_id=f"songs.song-{n}",
            namespace="songs",
            name=f"song-{n}",
            uid=f"k{n}",
            created=1000.5 + n,
            expires_at=None,
        )
        for n in range(3)
    ]
    write(cache, [*records, *kubectl])
    if divided:
        mirror.set(NAMES.tracks_divided, "1", ex=100)

    def wanted(key: str) -> list[str]:
        order = sorted(records, key=lambda one: (one.created, one.track_id), reverse=True)
        return [one.track_id for one in order if key in one.claims]

    assert listed(api, "team-a-key", limit=70) == wanted("team-a")
    assert listed(api, "team-b-key", limit=200) == wanted("team-b")
    assert listed(api, "reader-key") == []
    assert listed(api, "tenant-key") == ["songs.song-2", "songs.song-1", "songs.song-0"]
    assert len(listed(api, "boss-key", all="true", limit=200)) == 903


def test_a_list_reads_no_foreign_records(api: Api, cache: Server, mirror: redis.Redis) -> None:
    write(cache, [numbered(number, created=1000.0 + number, claims=["team-b"]) for number in range(2000)])
    write(cache, [numbered(5000, created=1.0, claims=["team-a"])])
    mirror.set(NAMES.tracks_divided, "1", ex=100)
    mirror.config_resetstat()
    assert listed(api, "team-a-key") == [str(UUID(int=5000))]
    reads = mirror.info("commandstats")["cmdstat_mget"]
    assert reads["calls"] == 1


def test_filters_are_applied_and_checked(api: Api, cache: Server, mirror: redis.Redis) -> None:
    now = float(int(time.time()))  # Kubernetes has whole seconds
    write(
        cache,
        [
            numbered(1, created=now - 900, ended_at=now - 5, claims=["team-a"], metadata={"team-a": '{"order":7}'}),
            numbered(2, created=now - 800, ended_at=now - 700, claims=["team-a"], title="Another Tune"),
            numbered(3, created=now - 700, claims=["team-a"], phase=Phase.QUEUED, ended_at=None, title=None),
        ],
    )
    first, second, third = (str(UUID(int=number)) for number in (1, 2, 3))
    for query, wanted in (
        ({}, [third, second, first]),
        ({"phase": "Queued"}, [third]),
        ({"phase": ["Queued", "Completed"], "limit": 1}, [third, second, first]),
        ({"text": "tune ANOTHER"}, [second]),
        ({"metadata": json.dumps({"order": 7})}, [first]),
        ({"since": now - 10}, [first]),
        ({"since": now - 750}, [third, second, first]),
        ({"status": "completed", "text": "song"}, [second, first]),
    ):
        assert listed(api, "team-a-key", **query) == wanted, query
    with httpx.Client(base_url=api.url, headers={"X-API-Key": "team-a-key"}) as client:
        for name, value in (
            ("phase", "Sleeping"),
            ("text", ""),
            ("text", "x" * 201),
            ("metadata", "[1]"),
            ("metadata", json.dumps({"a": "x" * 1024})),
            ("since", "-1"),
            ("since", "NaN"),
            ("batch", "mine"),
        ):
            response = client.get("/jobs", params={name: value})
            assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST"), (name, value)
            assert response.json()["errors"][0]["field"].partition(".")[0] == name


def test_a_batch_is_listed_by_its_id_to_its_key(api: Api, cache: Server, mirror: redis.Redis) -> None:
    with httpx.Client(base_url=api.url, headers={"X-API-Key": "team-a-key"}, timeout=30.0) as client:
        song = {"search_query": "A song"}
        refused = client.post("/batch", json={"requests": [song]}).json()
        assert (refused["results"][0]["status"], refused["batch_id"]) == (503, None)  # there is no API server
        known = [f"Song {number}" for number in range(3)]
        orders = [order_of(query) for query in known]
        ids = [order.track_id for order in orders]
        write(
            cache,
            [
                tracks.completed(
                    track_id=one.track_id,
                    uid=f"u{n}",
                    created=1000.0 + n,
                    claims=["team-a"],
                    expires_at=None,
                    cache_key=one.cache_key,
                )
                for n, one in enumerate(orders)
            ],
        )
        requests = [{"search_query": query} for query in known[:2]] + [{"search_query": ""}]
        answer = client.post("/batch", json={"requests": requests}).json()
        assert [one["status"] for one in answer["results"]] == [200, 200, 422]
        batch = answer["batch_id"]
    assert listed(api, "team-a-key", batch=batch) == [ids[1], ids[0]]
    assert listed(api, "team-a-key", batch=batch.upper(), limit=1) == [ids[1], ids[0]]
    assert listed(api, "team-a-key", batch=batch, text="missing") == []
    assert listed(api, "team-b-key", batch=batch) == []
    assert listed(api, "team-a-key") == [ids[2], ids[1], ids[0]]


def order_of(query: str) -> Order:
    return build_order(SeparationRequest(search_query=query), Principal("team-a"), settings())
