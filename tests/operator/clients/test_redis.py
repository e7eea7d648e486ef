"""The operator's writes to a real Valkey: the newest version wins, in any order."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis

from stemyard_contract.activity import Band, scores
from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import EVENT_FIELD, EVENTS_TTL_SECONDS, EventRecord, MirrorRecord, ProgressRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import Phase
from stemyard_operator.clients import redis as mirror_module
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError
from tests.support.servers import Server

KEYS = MirrorKeys("install-1")
TRACK = "music.song"


@pytest.fixture
async def mirror(server: Server, client: redis.Redis) -> AsyncIterator[RedisClient]:
    found = RedisClient(f"redis://127.0.0.1:{server.port}/0", "install-1")
    yield found
    await found.close()


def record(version: int = 1, **changes: Any) -> MirrorRecord:
    values: dict[str, Any] = {
        "track_id": TRACK,
        "namespace": "music",
        "name": "song",
        "uid": "uid-1",
        "resource_version": version,
        "created": 1000.0,
        "generation": 1,
        "observed_generation": 1,
        "run": 1,
        "status_run": 1,
        "phase": Phase.PENDING,
        "query": "a song",
        "model": "auto",
    }
    return MirrorRecord(**{**values, **changes})


def stored(client: redis.Redis) -> MirrorRecord | None:
    text = client.get(KEYS.record(TRACK))
    return MirrorRecord.model_validate_json(str(text)) if text else None


@pytest.mark.parametrize(
    ("later", "wins"),
    [
        ({"version": 11}, True),
        ({"version": 10}, False),
        ({"version": 9}, False),
        ({"version": 100_000_000_000}, True),
        ({"version": 5, "uid": "uid-2", "created": 1000.0}, True),
        ({"version": 5, "uid": "uid-2", "created": 1000.5}, True),
        ({"version": 50, "uid": "uid-2", "created": 999.0}, False),
    ],
)
async def test_a_record_replaces_older_ones_only(
    mirror: RedisClient, client: redis.Redis, later: dict[str, Any], wins: bool
) -> None:
    first, second = record(10), record(**later)
    assert await mirror.put(first)
    assert await mirror.put(second) is wins
    assert second.supersedes(first) is wins
    assert stored(client) == (second if wins else first)


@pytest.mark.parametrize("stored_text", ["no JSON", "3", "{}", '{"trackId": 3, "claims": 3}'])
async def test_what_nobody_can_read_is_replaced(mirror: RedisClient, client: redis.Redis, stored_text: str) -> None:
    client.set(KEYS.record(TRACK), stored_text)
    client.hset(KEYS.version(TRACK), mapping={"uid": "uid-1", "version": "x", "created": "y"})
    assert await mirror.put(record(1))
    assert stored(client) == record(1)
    client.set(KEYS.record(TRACK), stored_text)
    assert await mirror.drop(TRACK)


async def test_progress_that_nobody_can_read_is_an_error_and_is_replaced(
    mirror: RedisClient, client: redis.Redis
) -> None:
    newest = progress(1, WorkStage.FETCH, 1, 1)
    for text in ("no JSON", "3", "{}", '{"uid": "uid-1"}'):
        client.set(KEYS.progress(TRACK), text)
        with pytest.raises(MirrorError, match="cannot be read"):
            await mirror.progress(TRACK)
        assert await mirror.put_progress(TRACK, newest)
        assert await mirror.progress(TRACK) == newest


async def test_waiting_tracks_are_in_the_queue(mirror: RedisClient, client: redis.Redis) -> None:
    for version, (phase, waits) in enumerate([("Pending", True), ("Queued", True), ("Separating", False)], 1):
        await mirror.put(record(version, phase=phase))
        assert client.zscore(KEYS.queue, TRACK) == (1000.0 if waits else None)
        assert client.zscore(KEYS.tracks, TRACK) == 1000.0
        assert client.ttl(KEYS.record(TRACK)) == -1


async def test_every_track_is_listed_by_its_state_and_time(mirror: RedisClient, client: redis.Redis) -> None:
    states = [
        (record(1, phase="Pending"), Band.PENDING, 1000.0),
        (record(2, phase="Separating"), Band.SEPARATING, 1000.0),
        (record(3, phase="Completed", ended_at=1100.5), Band.COMPLETED, 1100.5),
        (record(4, phase="Completed", ended_at=1100.5, run=2), Band.PENDING, 1000.0),
        (record(5, phase="Failed", ended_at=1200.0, run=2, status_run=2), Band.FAILED, 1200.0),
    ]
    for one, band, at in states:
        await mirror.put(one)
        lowest, end = scores(band, at, at + 0.01)
        assert client.zrange(KEYS.activity, lowest, f"({end!r}", byscore=True) == [TRACK]
        assert client.zcard(KEYS.activity) == 1
    await mirror.put(record(4, phase="Pending"))  # an older one
    assert client.zcount(KEYS.activity, *scores(Band.FAILED)) == 1
    client.delete(KEYS.activity)
    assert await mirror.put(record(5, phase="Failed", ended_at=1200.0, run=2, status_run=2)) is False
    assert client.zcard(KEYS.activity) == 1  # of an operator that did not list it


async def test_the_queue_is_in_order_of_priority_then_age(mirror: RedisClient, client: redis.Redis) -> None:
    for number, priority in enumerate([0, -1, 1000, 0, 1000], 1):
        changes = {"track_id": f"music.song-{number}", "created": 1.76e9 + number, "priority": priority}
        await mirror.put(record(1, **changes))
    assert client.zrange(KEYS.queue, 0, -1) == [f"music.song-{number}" for number in (3, 5, 1, 4, 2)]


async def test_a_finished_record_ends_with_its_resource_and_a_rerun_does_not(
    mirror: RedisClient, client: redis.Redis
) -> None:
    await mirror.put(record(1, phase=Phase.COMPLETED, expires_at=4_000_000_000.0))
    assert client.expiretime(KEYS.record(TRACK)) == client.expiretime(KEYS.version(TRACK)) == 4_000_003_600
    await mirror.put(record(2, phase=Phase.COMPLETED, run=2, expires_at=4_000_000_000.0))
    assert client.ttl(KEYS.record(TRACK)) == client.ttl(KEYS.version(TRACK)) == -1


async def test_drop_keeps_the_record_of_another_resource(mirror: RedisClient, client: redis.Redis) -> None:
    await mirror.put(record())
    assert not await mirror.drop(TRACK, "uid-2")
    assert stored(client) is not None
    assert await mirror.drop(TRACK, "uid-1")
    assert client.keys("*") == []
    await mirror.put(record())
    assert await mirror.tracks() == {TRACK}
    assert await mirror.drop(TRACK)
    assert await mirror.tracks() == set()


def progress(run: int, stage: WorkStage, attempt: int, sequence: int, uid: str = "uid-1") -> ProgressRecord:
    values = {"uid": uid, "run": run, "stage": stage, "attempt": attempt, "sequence": sequence}
    return ProgressRecord(**values, progress=1.0, step="x", at=0.0)


async def test_progress_is_ordered_as_the_contract_says(mirror: RedisClient, client: redis.Redis) -> None:
    fetch, separate = WorkStage
    known = progress(2, fetch, 2, 2)
    others = [
        progress(run, stage, attempt, sequence)
        for run in (1, 2, 3)
        for stage in (fetch, separate)
        for attempt in (1, 2, 3)
        for sequence in (1, 2, 3)
    ]
    for other in others:
        client.flushall()
        await mirror.put_progress(TRACK, known)
        assert await mirror.put_progress(TRACK, other) is (other.order > known.order), other
        assert await mirror.progress(TRACK) == max(known, other, key=lambda one: one.order)
    assert await mirror.put_progress(TRACK, progress(1, fetch, 1, 0, uid="uid-2"))
    assert 0 < client.ttl(KEYS.progress(TRACK)) <= 3600


async def test_an_unreachable_redis_is_an_error_within_seconds(tmp_path: Path) -> None:
    mirror = RedisClient("redis://127.0.0.1:1/0", "install-1")
    for call in (mirror.put(record()), mirror.tracks(), mirror.progress(TRACK)):
        with pytest.raises(MirrorError):
            await call
    await mirror.close()


async def test_without_redis_nothing_is_written() -> None:
    mirror = RedisClient(None, "install-1")
    assert not mirror.enabled
    assert not await mirror.put(record())
    assert await mirror.progress(TRACK) is None


def events_of(client: redis.Redis) -> list[EventRecord]:
    entries: Any = client.xrange(KEYS.events(TRACK))
    return [EventRecord.model_validate_json(fields[EVENT_FIELD]) for _, fields in entries]


async def test_a_new_phase_or_run_is_one_event(mirror: RedisClient, client: redis.Redis) -> None:
    await mirror.put(record(1))
    await mirror.put(record(2, claims=["another-key"]))
    await mirror.put(record(3, phase=Phase.FETCHING, stage="fetch"))
    await mirror.put(record(2, phase=Phase.PENDING))
    await mirror.put(record(4, phase=Phase.FAILED, stage="fetch"))
    await mirror.put(record(5, phase=Phase.FAILED, stage="fetch", run=2))
    assert [(event.kind, event.run, event.phase) for event in events_of(client)] == [
        ("phase", 1, Phase.PENDING),
        ("phase", 1, Phase.FETCHING),
        ("phase", 1, Phase.FAILED),
        ("phase", 2, Phase.PENDING),
    ]
    assert 0 < int(str(client.ttl(KEYS.events(TRACK)))) <= EVENTS_TTL_SECONDS


async def test_progress_is_an_event_and_wakes_listeners(mirror: RedisClient, client: redis.Redis) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as listener:  # type: ignore[no-untyped-call]
        listener.subscribe(KEYS.changes)
        listener.get_message(timeout=2)
        await mirror.put_progress(TRACK, progress(1, WorkStage.SEPARATE, 1, 2))
        await mirror.put_progress(TRACK, progress(1, WorkStage.SEPARATE, 1, 1))
        woken = listener.get_message(timeout=2)
        assert woken is not None
        assert woken["data"] == TRACK
        assert listener.get_message(timeout=0.1) is None
    (event,) = events_of(client)
    assert (event.kind, event.phase, event.step) == ("progress", Phase.SEPARATING, "x")


async def test_events_are_dropped_with_their_track(mirror: RedisClient, client: redis.Redis) -> None:
    await mirror.put(record(1))
    await mirror.drop(TRACK)
    assert events_of(client) == []


async def test_a_silent_redis_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "_SECONDS", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    mirror = RedisClient(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", "install-1")
    try:
        for call in (mirror.drop(TRACK), mirror.progress(TRACK), mirror.put_pace({}, [])):
            async with asyncio.timeout(10):
                with pytest.raises(MirrorError, match="TimeoutError"):
                    await call
    finally:
        await mirror.close()
        server.close()


def listed(client: redis.Redis, *, key: str = "", namespace: str = "") -> list[str]:
    name = KEYS.tracks_of_key(key) if key else KEYS.tracks_of_namespace(namespace)
    return [str(member) for member in client.zrange(name, 0, -1)]


async def test_a_track_is_in_the_lists_of_the_keys_that_claim_it(mirror: RedisClient, client: redis.Redis) -> None:
    track = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"
    await mirror.put(record(1, track_id=track, claims=["a", "b"]))
    assert listed(client, key="a") == listed(client, key="b") == [track]
    assert client.zscore(KEYS.tracks_of_key("a"), track) == 1000.0
    assert listed(client, namespace="music") == []
    await mirror.put(record(2, track_id=track, claims=["b", "c"]))
    assert (listed(client, key="a"), listed(client, key="b"), listed(client, key="c")) == ([], [track], [track])
    await mirror.put(record(1, track_id=track, claims=["a"]))  # an older one
    assert listed(client, key="a") == []
    await mirror.drop(track, "uid-1")
    assert listed(client, key="b") == listed(client, key="c") == []


async def test_a_track_made_with_kubectl_is_in_the_list_of_its_namespace(
    mirror: RedisClient, client: redis.Redis
) -> None:
    await mirror.put(record(1, claims=["a"]))
    assert (listed(client, namespace="music"), listed(client, key="a")) == ([TRACK], [])
    await mirror.drop(TRACK, "uid-1")
    assert listed(client, namespace="music") == []


async def test_a_record_of_an_older_operator_is_listed_when_it_is_written_again(
    mirror: RedisClient, client: redis.Redis
) -> None:
    await mirror.put(record(7))
    client.delete(KEYS.tracks_of_namespace("music"))
    assert await mirror.put(record(7)) is False
    assert listed(client, namespace="music") == [TRACK]
