"""The overview of all tracks, read from a real Valkey as the operator writes it."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from stemyard_api.clients.kubernetes import KubernetesClient
from stemyard_api.clients.redis import RedisClient as ApiRedisClient
from stemyard_api.errors import UnavailableError
from stemyard_api.services import overview as module
from stemyard_api.services.overview import OverviewReader
from stemyard_api.services.overview_counts import hours_before
from stemyard_contract.activity import LISTED
from stemyard_contract.mirror import MirrorRecord, RequestRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import FailureStatus
from stemyard_operator.clients.redis import RedisClient
from tests.api import tracks
from tests.support.servers import Server, valkey

KEYS = MirrorKeys("install-1")
NAMESPACE = "stemyard"


class NoCluster:
    """An API server that does not respond."""

    async def items(self) -> AsyncIterator[dict[str, Any]]:
        raise UnavailableError
        yield {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with valkey(tmp_path_factory.mktemp("valkey")).running() as found:
        yield found


@pytest.fixture
def mirror(server: Server) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        client.flushall()
        client.set(KEYS.tracks_divided, LISTED)
        yield client


@pytest.fixture
async def store(server: Server) -> AsyncIterator[ApiRedisClient]:
    found = ApiRedisClient(f"redis://127.0.0.1:{server.port}/0", KEYS)
    yield found
    await found.close()


@pytest.fixture
def reader(store: ApiRedisClient, monkeypatch: pytest.MonkeyPatch) -> OverviewReader:
    monkeypatch.setattr(module, "CACHE_SECONDS", 0.0)
    return OverviewReader(store, cast(KubernetesClient, NoCluster()), NAMESPACE)


async def write(server: Server, records: Sequence[MirrorRecord]) -> None:
    client = RedisClient(f"redis://127.0.0.1:{server.port}/0", "install-1")
    for start in range(0, len(records), 100):
        await client.write(records[start : start + 100])
    await client.close()


def one(number: int, phase: str, **changes: Any) -> MirrorRecord:
    values = {"track_id": f"t{number}", "name": f"t{number}", "uid": f"u{number}", "expires_at": None, "phase": phase}
    return tracks.known(**{**values, **changes})


def of_code(code: str) -> FailureStatus:
    return FailureStatus(code=code, stage="fetch", message="No.", retryable=False)


async def test_tracks_are_counted_by_namespace_profile_hour_code_and_key(
    server: Server, mirror: redis.Redis, reader: OverviewReader
) -> None:
    now = time.time()
    first, *_, last = hours_before(now)
    ended = {"started_at": now - 100.5, "ended_at": now - 70.0}
    elsewhere = {"namespace": "songs", "profile": "gpu", "claims": []}
    await write(
        server,
        [
            one(1, "Pending", created=now - 5, claims=["team-a"]),
            one(2, "Queued", created=now - 9, priority=3, claims=["team-a"]),
            one(3, "Fetching", created=now - 30, claims=["team-b"]),
            one(4, "Separating", created=now - 40, claims=["team-a", "team-b"]),
            one(5, "Queued", created=now - 50, track_id="songs.five", **elsewhere),
            one(6, "Suspended", created=now - 60, track_id="songs.six", **elsewhere),
            one(7, "Completed", created=now - 200, claims=["team-a"], **ended),
            one(8, "Completed", created=now - 90_000, claims=["team-a"], started_at=first - 40, ended_at=first + 1),
            one(9, "Completed", created=now - 90_000, claims=["team-b"], ended_at=first - 1),  # before
            one(10, "Failed", failure=of_code("SOURCE_DRM"), claims=["team-b"], **ended),
            one(11, "Failed", failure=of_code("SOURCE_DRM"), claims=[], **ended),
            one(12, "Cancelled", claims=["team-b"], **ended),
            one(13, "Failed", failure=of_code("INTERNAL"), run=2, claims=["team-b"], created=now - 70, **ended),
        ],
    )
    found = await reader.current()
    assert (found["complete"], found["since"], found["at"] >= now) == (True, first, True)
    totals = {name: found[name] for name in ("waiting", "running", "suspended", "completed", "failed")}
    assert totals == {"waiting": 4, "running": 2, "suspended": 1, "completed": 2, "failed": 3}
    assert found["queue"] == [
        {"namespace": "songs", "profile": "gpu", "waiting": 1, "running": 0, "suspended": 1},
        {"namespace": "stemyard", "profile": "default", "waiting": 3, "running": 2, "suspended": 0},
    ]
    assert [hour["start"] for hour in found["hours"]] == hours_before(now)
    assert found["hours"][0] == {"start": first, "completed": 1, "failed": 0}
    assert sum(hour["failed"] for hour in found["hours"]) == 3
    assert found["failures"] == [{"code": "SOURCE_DRM", "tracks": 2}, {"code": "CANCELLED", "tracks": 1}]
    assert [(key["key_id"], key["tracks"]) for key in found["usage"]] == [("team-a", 5), ("team-b", 5)]
    team_a, team_b = found["usage"]
    assert (team_a["processing"], team_a["completed"], team_a["failed"]) == (3, 2, 0)
    assert (team_a["audio_seconds"], team_a["processing_seconds"]) == (434.8, 71.5)
    assert (team_b["processing"], team_b["completed"], team_b["failed"]) == (3, 0, 2)
    assert last <= now


async def test_tracks_are_listed_in_the_order_in_which_they_matter(
    server: Server, mirror: redis.Redis, reader: OverviewReader
) -> None:
    now = time.time()
    await write(
        server,
        [
            one(1, "Pending", created=now - 5),
            one(2, "Queued", created=now - 3, priority=3, cancel=True),
            one(3, "Fetching", created=now - 30, started_at=now - 20, namespace="songs", track_id="songs.three"),
            one(4, "Separating", created=now - 40, started_at=now - 10),
            one(5, "Separating", created=now - 50, started_at=now - 35),
            one(6, "Failed", failure=of_code("SOURCE_DRM"), ended_at=now - 9),
            one(7, "Cancelled", ended_at=now - 3),
        ],
    )
    mirror.set(KEYS.progress("t4"), tracks.progress(uid="u4").dump())
    found = await reader.current()
    assert [track["track_id"] for track in found["waiting_tracks"]] == ["t2", "t1"]
    assert [(track["priority"], track["cancelling"]) for track in found["waiting_tracks"]] == [(3, True), (0, False)]
    assert [track["track_id"] for track in found["running_tracks"]] == ["t5", "t4", "songs.three"]
    assert [track["changeable"] for track in found["running_tracks"]] == [True, True, False]
    running = found["running_tracks"][1]
    assert (running["phase"], running["step"], running["progress"]) == ("Separating", "separate", 42.5)
    assert (running["namespace"], running["profile"], running["key_ids"]) == ("stemyard", "default", ["default"])
    assert [(track["track_id"], track["code"]) for track in found["failed_tracks"]] == [
        ("t7", "CANCELLED"),
        ("t6", "SOURCE_DRM"),
    ]
    assert not any("metadata" in track for track in found["running_tracks"])


async def test_a_record_is_read_again_only_when_its_state_has_changed(
    server: Server, mirror: redis.Redis, reader: OverviewReader
) -> None:
    now = time.time()
    done = [one(number, "Completed", created=now - 900, ended_at=now - 500) for number in range(2500)]
    await write(server, done)
    assert (await reader.current())["complete"] is False  # 2,000 are read at once
    found = await reader.current()
    assert (found["complete"], found["completed"], found["usage"][0]["tracks"]) == (True, 2500, 2500)
    mirror.config_resetstat()
    await reader.current()
    assert "cmdstat_mget" not in mirror.info("commandstats")
    await write(
        server, [one(0, "Completed", created=now - 900, ended_at=now - 1, resource_version=9, run=2, status_run=2)]
    )
    mirror.config_resetstat()
    assert (await reader.current())["completed"] == 2500
    assert mirror.info("commandstats")["cmdstat_mget"]["calls"] == 1
    await write(
        server, [one(0, "Failed", created=now - 900, ended_at=now - 1, resource_version=10, run=2, status_run=2)]
    )
    found = await reader.current()
    assert (found["completed"], found["failed"], found["failures"]) == (2499, 1, [{"code": "INTERNAL", "tracks": 1}])


async def test_requests_within_seconds_share_one_reading(
    server: Server, mirror: redis.Redis, reader: OverviewReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_SECONDS", 60.0)
    mirror.config_resetstat()
    for _ in range(5):
        await reader.current()
    assert mirror.info("commandstats")["cmdstat_zrange"]["calls"] == 1


async def test_more_tracks_than_are_added_up_are_still_counted(
    server: Server, mirror: redis.Redis, reader: OverviewReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MEMBERS_LIMIT", 10)
    now = time.time()
    await write(server, [one(number, "Queued", created=now - number) for number in range(30)])
    found = await reader.current()
    assert (found["complete"], found["waiting"], found["queue"][0]["waiting"]) == (False, 30, 10)


async def test_a_track_whose_record_is_gone_or_deleted_is_not_shown(
    server: Server, mirror: redis.Redis, reader: OverviewReader
) -> None:
    now = time.time()
    await write(server, [one(number, "Separating", created=now - 9) for number in range(3)])
    mirror.delete(KEYS.record("t0"))
    mirror.set(KEYS.record("t1"), "nonsense")
    found = await reader.current()
    assert [track["track_id"] for track in found["running_tracks"]] == ["t2"]
    mirror.set(KEYS.request("t2"), RequestRecord(uid="deleted", run=0).dump())
    assert (await reader.current())["running_tracks"] == []


async def test_a_repeated_run_is_shown_as_waiting_at_once(
    server: Server, mirror: redis.Redis, reader: OverviewReader
) -> None:
    await write(server, [one(1, "Failed", failure=of_code("SOURCE_DRM"), ended_at=time.time() - 9)])
    assert len((await reader.current())["failed_tracks"]) == 1
    mirror.set(KEYS.request("t1"), RequestRecord(uid="u1", run=2, version=7).dump())
    assert (await reader.current())["failed_tracks"] == []


async def test_without_the_operators_word_the_counts_are_incomplete(
    server: Server, mirror: redis.Redis, reader: OverviewReader
) -> None:
    for stated in (None, "1"):
        mirror.delete(KEYS.tracks_divided)
        if stated is not None:
            mirror.set(KEYS.tracks_divided, stated)  # of an older operator
        assert (await reader.current())["complete"] is False


def resources(count: int, phase: str) -> list[dict[str, Any]]:
    """SeparationJobs that have just ended, or not begun."""
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = tracks.status_failed() | {"finishedAt": ended} if phase == "Failed" else {}
    return [
        {
            "metadata": {
                "name": f"song-{number}" if phase == "Pending" else f"failed-{number}",
                "namespace": NAMESPACE,
                "uid": f"u{number}",
                "resourceVersion": "7",
                "creationTimestamp": ended,
            },
            "spec": {"source": {"searchQuery": "Queen"}, "claims": [{"key": "team-a"}], "priority": number % 2},
            "status": status,
        }
        for number in range(count)
    ]


class Cluster:
    """An API server that has these resources."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self._found = found
        self.read = 0

    async def items(self) -> AsyncIterator[dict[str, Any]]:
        for each in self._found:
            self.read += 1
            yield each


async def test_without_the_mirror_a_bounded_number_of_resources_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**resources(1, "Pending")[0], "spec": {"source": {"searchQuery": 7}}}
    trial = {**resources(1, "Pending")[0], "spec": {"webhookTest": {"url": "https://example.com/"}}}
    cluster = Cluster([broken, trial, *resources(3, "Pending"), *resources(2, "Failed")])
    reader = OverviewReader(None, cast(KubernetesClient, cluster), NAMESPACE)
    found = await reader.current()
    assert (found["complete"], found["waiting"], found["failed"]) == (True, 3, 2)
    assert [track["track_id"] for track in found["waiting_tracks"]] == [f"stemyard.song-{n}" for n in (1, 0, 2)]
    assert found["failures"] == [{"code": "SOURCE_NOT_FOUND", "tracks": 2}]
    assert found["usage"][0]["tracks"] == 5
    await reader.current()
    assert cluster.read == 7  # kept for a while
    monkeypatch.setattr(module, "_RECORDED_LIMIT", 4)
    found = await OverviewReader(None, cast(KubernetesClient, cluster), NAMESPACE).current()
    assert cluster.read == 7 + 5
    assert (found["complete"], found["waiting"]) == (False, 2)


async def test_without_mirror_and_cluster_there_is_no_overview(tmp_path: Path) -> None:
    store = ApiRedisClient("redis://127.0.0.1:1/0", KEYS)
    with pytest.raises(UnavailableError):
        await OverviewReader(store, cast(KubernetesClient, NoCluster()), NAMESPACE).current()
    await store.close()
