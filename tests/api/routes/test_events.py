"""Streams of events of a real process with a real Valkey; tests write events as the operator does."""

import json
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from stemyard_contract.mirror import EVENT_FIELD, EventRecord, MirrorRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import Phase
from tests.api import tracks
from tests.api.settings_for_tests import settings
from tests.api.tracks import TRACK
from tests.support.api_world import eventually, keys_file
from tests.support.servers import Api, Server, api_process, valkey

KEYS = MirrorKeys("main")
ENVIRONMENT = {
    "STEMYARD_INSTALL_ID": "main",
    "STEMYARD_NAMESPACE": "stemyard",
    "R2_PUBLIC_DOMAIN": "media.example.com",
    "EVENTS_HEARTBEAT_SECONDS": "0.3",
}
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
    environment = {**ENVIRONMENT, "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0"}
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
    """Received messages; comments are messages with only `comment`."""

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


def test_a_stream_sends_snapshot_events_and_end(api: Api, mirror: redis.Redis) -> None:
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


def test_only_a_client_that_has_received_the_end_is_told_not_to_reconnect(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.completed())
    with follow(api) as stream:
        snapshot, end = [message for message in stream if "event" in message]
    headers = {"X-API-Key": api.key, "Last-Event-ID": end["id"]}
    told = httpx.get(f"{api.url}/job/{TRACK}/events", headers=headers)
    assert (told.status_code, told.content) == (204, b"")
    with follow(api, Last_Event_ID=snapshot["id"]) as missed:
        assert [message["event"] for message in missed] == ["snapshot", "end"]
    mirrored(mirror, tracks.known(run=2, resource_version=9))
    with follow(api, Last_Event_ID=end["id"]) as retried:
        assert json.loads(retried.next("snapshot")["data"])["status"] == "processing"


def test_a_stream_beats_within_the_read_timeout_of_any_usual_client() -> None:
    shortest = httpx.Client().timeout.read
    assert shortest is not None
    assert settings().events_heartbeat_seconds < shortest == 5.0


def test_a_revoked_key_gets_nothing_more(nowhere: str, cache: Server, mirror: redis.Redis, tmp_path: Path) -> None:
    keys = keys_file(tmp_path)
    environment = {**ENVIRONMENT, "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0", "API_KEYS_FILE": str(keys)}
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    with api_process(tmp_path, environment) as api, follow(api, X_API_Key="team-a-key") as stream:
        stream.next("snapshot")
        waiting = f"{api.url}/job/{TRACK}/wait?timeout=60"
        with ThreadPoolExecutor(1) as threads:
            waits = threads.submit(httpx.get, waiting, headers={"X-API-Key": "team-a-key"}, timeout=60.0)
            keys.write_text(keys.read_text().replace("id: team-a,", "id: team-z,"))
            assert [message for message in stream if "event" in message] == []
            assert waits.result().status_code == 401
        mirrored(mirror, tracks.completed())
        again = httpx.get(f"{api.url}/job/{TRACK}/events", headers={"X-API-Key": "team-a-key"})
        assert again.status_code == 200  # it is a key of another id now


def test_a_key_has_a_maximum_of_streams(nowhere: str, cache: Server, mirror: redis.Redis, tmp_path: Path) -> None:
    address = f"redis://127.0.0.1:{cache.port}/0"
    keys = {"API_KEYS_FILE": str(keys_file(tmp_path)), "QUOTA_STREAMS": "2"}
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    with api_process(tmp_path, {**ENVIRONMENT, **keys, "REDIS_URL": address}) as api:
        path = f"{api.url}/job/{TRACK}/events"
        with follow(api) as first:
            first.next("snapshot")
            with follow(api) as second:
                second.next("snapshot")
                refused = httpx.get(path, headers={"X-API-Key": api.key})
                assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")
                assert "2 event streams" in refused.json()["error"]
                with follow(api, X_API_Key="team-a-key") as other:
                    other.next("snapshot")
            deadline = time.monotonic() + 10  # the heartbeat notices that the second one has left
            while time.monotonic() < deadline:
                with httpx.stream("GET", path, headers={"X-API-Key": api.key}) as again:
                    if again.status_code == 200:
                        return
                time.sleep(0.1)
            pytest.fail("the place of a closed stream did not become free")


def test_a_finished_track_ends_at_once(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.failed())
    with follow(api) as stream:
        assert [message["event"] for message in stream] == ["snapshot", "end"]


def test_missed_events_follow_the_snapshot(api: Api, mirror: redis.Redis) -> None:
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


def test_changes_of_the_record_without_events_are_sent(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.FETCHING))
    with follow(api) as stream:
        stream.next("snapshot")
        mirrored(mirror, tracks.known(phase=Phase.QUEUED, resource_version=8))
        assert json.loads(stream.next("snapshot")["data"])["phase"] == "Queued"
        mirrored(mirror, tracks.completed(resource_version=9))
        assert json.loads(stream.next("snapshot", "end")["data"])["status"] == "completed"


def test_a_quiet_stream_sends_heartbeats(api: Api, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known())
    with follow(api) as stream:
        stream.next("snapshot")
        beats = (message for message in stream if message.get("comment") == "beat")
        assert all(next(beats) for _ in range(3))


def test_an_outage_of_redis_leads_to_heartbeats_then_a_snapshot(api: Api, cache: Server, mirror: redis.Redis) -> None:
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


@pytest.mark.parametrize("begun", [True, False])
def test_a_draining_process_tells_clients_to_reconnect(
    nowhere: str, cache: Server, mirror: redis.Redis, tmp_path: Path, begun: bool
) -> None:
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    environment = ENVIRONMENT | {
        "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
        "EVENTS_HEARTBEAT_SECONDS": "300",
    }
    with api_process(tmp_path, environment) as api, follow(api) as stream:
        if begun:
            stream.next("snapshot")
        with ThreadPoolExecutor(1) as threads:
            ending = threads.submit(api.server.stop, signal.SIGTERM)
            last = list(stream)[-1]
            assert ending.result() == -signal.SIGTERM
        log = api.server.log.read_text()
    assert last["comment"] == "draining, reconnect"
    assert 0 < int(last["retry"]) <= 5000
    assert "Cancel" not in log  # of requests that did not end in 20 s
    assert '"level": "error"' not in log


def test_refusals_are_problems(api: Api, mirror: redis.Redis) -> None:
    url = f"{api.url}/job/{TRACK}/events"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"X-API-Key": api.key}).status_code == 503  # the cluster may know it, and is away
    assert httpx.get(f"{api.url}/job/x/events", headers={"X-API-Key": api.key}).json()["code"] == "TRACK_NOT_FOUND"


@pytest.mark.parametrize("requests", [1, 2])
@pytest.mark.parametrize("wait", [0.0, 0.002, 0.01, 0.5])
def test_a_client_that_leaves_is_noticed_before_a_heartbeat(
    nowhere: str, cache: Server, mirror: redis.Redis, tmp_path: Path, wait: float, requests: int
) -> None:
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    environment = {
        "STEMYARD_INSTALL_ID": "main",
        "STEMYARD_NAMESPACE": "stemyard",
        "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
        "EVENTS_HEARTBEAT_SECONDS": "300",
    }
    with api_process(tmp_path, environment) as api:
        for reset in (False, True) * 5:
            leaver = socket.create_connection(("127.0.0.1", api.server.port))
            if reset:
                leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request = f"GET /job/{TRACK}/events HTTP/1.1\r\nHost: a\r\nX-API-Key: {api.key}\r\n\r\n"
            leaver.sendall(request.encode() * requests)
            time.sleep(wait)
            leaver.close()
        eventually(lambda: "stemyard_api_event_streams 0.0" in httpx.get(f"{api.health_url}/metrics").text, seconds=10)
        log = api.server.log.read_text()
        assert "Traceback" not in log
        assert '"level": "error"' not in log
