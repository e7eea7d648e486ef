"""Streams of events before a real process and a real Valkey; tests write them as the operator does."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from stemyard_contract.mirror import EVENT_FIELD, EventRecord, MirrorKeys, MirrorRecord
from stemyard_contract.separationjob import Phase
from tests.api import tracks
from tests.api.tracks import TRACK
from tests.support.servers import Api, Server, api_process, valkey

KEYS = MirrorKeys("main")
PUBLISH = """
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', '200', '*', ARGV[1], ARGV[2])
redis.call('PUBLISH', KEYS[2], ARGV[3])
return id
"""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Server]:
    with valkey(tmp_path).running() as running:
        yield running


@pytest.fixture
def mirror(cache: Server) -> Iterator[redis.Redis]:
    with redis.Redis(port=cache.port) as client:
        yield client


@pytest.fixture
def api(nowhere: str, cache: Server, tmp_path: Path) -> Iterator[Api]:
    environment = {
        "STEMYARD_INSTALL_ID": "main",
        "STEMYARD_NAMESPACE": "stemyard",
        "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
        "R2_PUBLIC_DOMAIN": "media.example.com",
        "EVENTS_HEARTBEAT_SECONDS": "0.3",
    }
    with api_process(tmp_path, environment) as running:
        yield running


def mirrored(mirror: redis.Redis, record: MirrorRecord) -> None:
    mirror.set(KEYS.record(record.track_id), record.dump())


def happened(mirror: redis.Redis, **changes: Any) -> str:
    values = {"kind": "progress", "uid": "u1", "run": 1, "phase": Phase.SEPARATING, "progress": 1.0, "at": time.time()}
    event = EventRecord(**{**values, **changes}).dump()
    return str(mirror.eval(PUBLISH, 2, KEYS.events(TRACK), KEYS.changes, EVENT_FIELD, event, TRACK), "ascii")


Message = dict[str, str]


class Stream:
    """Messages as they come; comments are messages with only `comment`."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[Message]:
        message: Message = {}
        deadline = time.monotonic() + 20
        for line in self._lines:
            assert time.monotonic() < deadline, "nothing but heartbeats"
            if not line and message:
                yield message
                message = {}
            elif line:
                name, _, value = line.partition(":")
                message[name or "comment"] = value.strip()

    def next(self, *events: str) -> Message:
        return next(message for message in self if message.get("event") in events)


@contextmanager
def follow(api: Api, **headers: str) -> Iterator[Stream]:
    known = {"X-API-Key": api.key, **{name.replace("_", "-"): value for name, value in headers.items()}}
    with httpx.stream("GET", f"{api.url}/job/{TRACK}/events", headers=known, timeout=20.0) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


def test_a_stream_is_a_snapshot_then_events_then_the_end(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.FETCHING))
    with follow(api) as stream:
        first = stream.next("snapshot")
        assert json.loads(first["data"])["phase"] == "Fetching"
        assert int(first["retry"]) > 0
        ids = [happened(mirror, progress=float(number)) for number in range(5)]
        got = [stream.next("progress") for _ in ids]
        assert [message["id"] for message in got] == ids
        assert [json.loads(message["data"])["progress"] for message in got] == [0, 1, 2, 3, 4]
        mirrored(mirror, tracks.completed())
        happened(mirror, kind="phase", phase=Phase.COMPLETED, progress=100)
        *_, phase, end = [message for message in stream if "event" in message]
        assert (phase["event"], end["event"]) == ("phase", "end")
    answer = httpx.get(f"{api.url}/job/{TRACK}", headers={"X-API-Key": api.key}).json()
    assert json.loads(end["data"]) == answer
    assert answer["status"] == "completed"


def test_a_finished_track_ends_at_once(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.failed())
    with follow(api) as stream:
        assert [message["event"] for message in stream] == ["snapshot", "end"]


def test_what_was_missed_follows_the_snapshot(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    ids = [happened(mirror, progress=float(number)) for number in range(4)]
    with follow(api, Last_Event_ID=ids[1]) as stream:
        assert stream.next("snapshot")["id"] == ids[3]
        assert [stream.next("progress")["id"] for _ in range(2)] == ids[2:]
        later = happened(mirror, progress=9.0)
        assert stream.next("progress")["id"] == later


@pytest.mark.parametrize("unknown", ["1-1", "x", "0-0", "99999999999999-0", "(1", "-"])
def test_an_unknown_last_event_gets_only_the_snapshot(api: Api, mirror: redis.Redis, unknown: str) -> None:
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    happened(mirror, progress=1.0)
    with follow(api, Last_Event_ID=unknown) as stream:
        stream.next("snapshot")
        later = happened(mirror, progress=2.0)
        assert stream.next("snapshot", "progress")["id"] == later


def test_without_events_changes_of_the_record_are_told(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.FETCHING))
    with follow(api) as stream:
        stream.next("snapshot")
        mirrored(mirror, tracks.known(phase=Phase.QUEUED, resource_version=8))
        assert json.loads(stream.next("snapshot")["data"])["phase"] == "Queued"
        mirrored(mirror, tracks.completed(resource_version=9))
        assert json.loads(stream.next("snapshot", "end")["data"])["status"] == "completed"


def test_a_quiet_stream_beats(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known())
    with follow(api) as stream:
        stream.next("snapshot")
        beats = (message for message in stream if message.get("comment") == "beat")
        assert all(next(beats) for _ in range(3))


def test_while_redis_is_away_it_beats_then_a_snapshot(api: Api, cache: Server, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.FETCHING))
    with follow(api) as stream:
        stream.next("snapshot")
        cache.stop()
        time.sleep(3)  # longer than between two looks
        cache.start()
        mirror.connection_pool.disconnect()
        mirrored(mirror, tracks.known(phase=Phase.SEPARATING, resource_version=8))
        assert json.loads(stream.next("snapshot")["data"])["phase"] == "Separating"
        later = happened(mirror, progress=50.0)
        assert stream.next("progress")["id"] == later


def test_many_streams_share_one_subscription(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    with ExitStack() as stack:
        streams = [stack.enter_context(follow(api)) for _ in range(30)]
        for stream in streams:
            stream.next("snapshot")
        assert mirror.pubsub_numsub(KEYS.changes) == [(KEYS.changes.encode(), 1)]
        later = happened(mirror, progress=50.0)
        assert {stream.next("progress")["id"] for stream in streams} == {later}


def test_when_the_process_ends_clients_are_told_to_come_again(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    with follow(api) as stream:
        stream.next("snapshot")
        started = time.monotonic()
        ending = threading.Thread(target=api.server.stop, args=(signal.SIGTERM,))
        ending.start()
        last = list(stream)[-1]
        ending.join()
    assert 0 < int(last["retry"]) <= 5000
    assert time.monotonic() - started < 15  # far from the 20 s that requests under way are given


def test_refusals_are_problems(api: Api, mirror: redis.Redis) -> None:
    url = f"{api.url}/job/{TRACK}/events"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"X-API-Key": api.key}).status_code == 503  # the cluster may know it, and is away
    assert httpx.get(f"{api.url}/job/x/events", headers={"X-API-Key": api.key}).json()["code"] == "TRACK_NOT_FOUND"
