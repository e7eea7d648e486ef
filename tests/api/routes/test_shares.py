"""Share links and archives of a real process with a real Valkey and S3 store; tests act as the operator."""

import io
import re
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from stemyard_api.services.archive import PART_BYTES
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import Phase, Stem
from tests.api import tracks
from tests.api.tracks import KEYS, TRACK
from tests.support.api_world import eventually, keys_file
from tests.support.servers import Api, ObjectStore, Server, api_process, object_store, valkey

NAMES = MirrorKeys("main")
CONTENT = {Stem.VOCALS: bytes(range(256)) * 8192, Stem.INSTRUMENTAL: b"instrumental"}
LARGE = 24 * 1024 * 1024
"""Bytes that neither side's socket buffers hold."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shares")


@pytest.fixture(scope="module")
def cache(folder: Path) -> Iterator[Server]:
    with valkey(folder).running() as running:
        yield running


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[ObjectStore]:
    with object_store(folder) as running:
        client = running.client()
        for stem, key in KEYS.items():
            client.put_object(Bucket=running.bucket, Key=key, Body=CONTENT[stem])
        client.close()
        yield running


@pytest.fixture
def mirror(cache: Server) -> Iterator[redis.Redis]:
    with redis.Redis(port=cache.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def environment(nowhere: str, cache: Server, store: ObjectStore, folder: Path) -> dict[str, str]:
    return {
        "STEMYARD_INSTALL_ID": "main",
        "STEMYARD_NAMESPACE": "stemyard",
        "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
        "API_KEYS_FILE": str(keys_file(folder)),
        **store.environment,
    }


@pytest.fixture
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[Api]:
    with api_process(tmp_path, environment) as running:
        yield running


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    with api.client() as opened:
        yield opened


@pytest.fixture
def friend(api: Api) -> Iterator[httpx.Client]:
    """Somebody without a key."""
    with httpx.Client(base_url=api.url, timeout=30.0) as opened:
        yield opened


def mirrored(mirror: redis.Redis, record: MirrorRecord) -> MirrorRecord:
    mirror.set(NAMES.record(record.track_id), record.dump())
    return record


def completed(**changes: Any) -> MirrorRecord:
    return tracks.completed(**{"expires_at": time.time() + 30 * 86400, **changes})


def share(client: httpx.Client, body: dict[str, Any] | None = None) -> dict[str, Any]:
    response = client.post(f"/job/{TRACK}/share", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_a_friend_reads_the_result_and_nothing_about_the_key(
    client: httpx.Client, friend: httpx.Client, mirror: redis.Redis, store: ObjectStore, api: Api
) -> None:
    webhooks = {"default": "https://hooks.example.com/secret-path"}
    mirrored(mirror, completed(webhooks=webhooks, query="the private query", owner="default", claims=["default"]))
    link = share(client)
    assert link["url"] == f"{api.url}/s/{link['token']}"
    assert link["expires_at"] == pytest.approx(time.time() + 7 * 86400, abs=60)
    response = friend.get(f"/share/{link['token']}")
    assert response.status_code == 200
    assert response.headers["x-robots-tag"] == "noindex, nofollow"
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert (answer["title"], answer["artist"], answer["track_id"]) == ("Song Title", "Artist", TRACK)
    assert answer["share_expires_at"] == link["expires_at"]
    assert time.time() < answer["expires_at"] <= time.time() + 3600
    for word in ("default", "hooks", "private", "metadata", "secret"):
        assert word not in re.sub(r'https?://[^"]*', "", response.text)
    for stem, content in CONTENT.items():
        assert httpx.get(answer["result"][f"{stem}_url"]).content == content


def test_the_page_of_a_share_is_the_page_with_its_policy(friend: httpx.Client) -> None:
    page, shared = friend.get("/", headers={"Accept": "text/html"}), friend.get("/s/anything-at-all_1")
    assert shared.status_code == 200
    assert shared.text == page.text
    assert shared.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert shared.headers["x-robots-tag"] == "noindex, nofollow"
    assert friend.get("/s/a/b").status_code == 401


def test_a_link_lives_as_long_as_asked_and_no_longer_than_its_track(client: httpx.Client, mirror: redis.Redis) -> None:
    mirrored(mirror, completed())
    assert share(client, {"expires_in": 3600})["expires_at"] == pytest.approx(time.time() + 3600, abs=60)
    assert share(client, {})["expires_at"] == pytest.approx(time.time() + 7 * 86400, abs=60)
    ends = time.time() + 500
    mirrored(mirror, completed(resource_version=8, expires_at=ends))
    assert share(client)["expires_at"] == int(ends)


@pytest.mark.parametrize("seconds", [59, 0, -1, 30 * 86400 + 1, 1e30, "60", True, 60.5])
def test_a_lifetime_out_of_bounds_is_refused(client: httpx.Client, mirror: redis.Redis, seconds: Any) -> None:
    mirrored(mirror, completed())
    response = client.post(f"/job/{TRACK}/share", json={"expires_in": seconds})
    assert problem(response) == (422, "INVALID_REQUEST")
    assert [item["field"] for item in response.json()["errors"]] == ["expires_in"]


def test_a_link_ends_with_its_time_its_track_and_a_revocation(
    environment: dict[str, str], tmp_path: Path, mirror: redis.Redis
) -> None:
    with api_process(tmp_path, environment) as api, api.client() as client:
        mirrored(mirror, completed(expires_at=time.time() + 3))
        short = share(client)["token"]
        mirrored(mirror, completed())
        token = share(client)["token"]
        assert client.get(f"/share/{token}").status_code == 200
        mirrored(mirror, completed(shares_revoked="1790000000000"))
        assert problem(client.get(f"/share/{token}")) == (410, "SHARE_ENDED")
        mirrored(mirror, completed(uid="u2"))
        assert problem(client.get(f"/share/{token}")) == (410, "SHARE_ENDED")
        mirrored(mirror, completed(phase=Phase.SEPARATING))
        assert problem(client.get(f"/share/{token}")) == (409, "TRACK_NOT_COMPLETED")
        eventually(lambda: problem(client.get(f"/share/{short}")) == (410, "SHARE_ENDED"))


@pytest.mark.parametrize("ending", ["", "/stems.zip"])
def test_an_invalid_token_is_not_found_and_never_an_error(friend: httpx.Client, ending: str) -> None:
    assert problem(friend.get(f"/share/{'A' * 80}{ending}")) == (404, "NOT_FOUND")
    for token in ("x", "A" * 300, "%00" * 50, "é" * 60):
        assert problem(friend.get(f"/share/{token}{ending}")) == (422, "INVALID_REQUEST")


def test_what_cannot_be_shared_is_refused(client: httpx.Client, friend: httpx.Client, mirror: redis.Redis) -> None:
    mirrored(mirror, tracks.known(phase=Phase.SEPARATING))
    assert problem(client.post(f"/job/{TRACK}/share")) == (409, "TRACK_NOT_COMPLETED")
    assert problem(client.get(f"/job/{TRACK}/stems.zip")) == (409, "TRACK_NOT_COMPLETED")
    mirrored(mirror, completed(resource_version=8))
    reader = {"X-API-Key": "reader-key"}
    assert problem(client.post(f"/job/{TRACK}/share", headers=reader)) == (403, "FORBIDDEN")
    assert problem(friend.post(f"/job/{TRACK}/share")) == (401, "UNAUTHENTICATED")
    assert problem(friend.get(f"/job/{TRACK}/stems.zip")) == (401, "UNAUTHENTICATED")


def test_another_key_does_not_share_what_it_may_not_see(
    environment: dict[str, str], tmp_path: Path, mirror: redis.Redis
) -> None:
    mirrored(mirror, completed(claims=["team-a"], owner="team-a"))
    with api_process(tmp_path, {**environment, "RESULT_SHARING": "per-key"}) as api:
        for key, status in (("team-a-key", 200), ("team-b-key", 404)):
            response = httpx.post(f"{api.url}/job/{TRACK}/share", headers={"X-API-Key": key})
            assert response.status_code == status, key
            archive = httpx.get(f"{api.url}/job/{TRACK}/stems.zip", headers={"X-API-Key": key})
            assert archive.status_code == status, key


def test_sharing_can_be_disabled_and_its_secret_rotated(
    environment: dict[str, str], tmp_path: Path, mirror: redis.Redis
) -> None:
    mirrored(mirror, completed())
    old, new = {"SHARE_SECRET": "the first secret"}, {"SHARE_SECRET": "the second secret"}
    with api_process(tmp_path, {**environment, **old}) as api, api.client() as client:
        token = share(client)["token"]
    with api_process(tmp_path, {**environment, **new, "SHARE_SECRET_PREVIOUS": "the first secret"}) as api:
        assert httpx.get(f"{api.url}/share/{token}").status_code == 200
    for changes in (new, {}):
        with api_process(tmp_path, {**environment, **changes}) as api:
            assert problem(httpx.get(f"{api.url}/share/{token}")) == (404, "NOT_FOUND")
    with api_process(tmp_path, {**environment, **old, "SHARE_MAX_SECONDS": "0"}) as api, api.client() as client:
        assert problem(client.get(f"/share/{token}")) == (404, "NOT_FOUND")
        assert problem(client.post(f"/job/{TRACK}/share")) == (501, "NOT_CONFIGURED")


def test_shares_are_limited_by_address_and_keep_tokens_out_of_the_log(
    environment: dict[str, str], tmp_path: Path, mirror: redis.Redis
) -> None:
    mirrored(mirror, completed())
    with api_process(tmp_path, {**environment, "RATE_LIMIT_ANONYMOUS_PER_MINUTE": "5"}) as api:
        with api.client() as client:
            token = share(client)["token"]
        httpx.get(f"{api.url}/s/{token}")
        statuses = [httpx.get(f"{api.url}/share/{token}").status_code for _ in range(6)]
        assert statuses == [200] * 5 + [429]
        refused = httpx.get(f"{api.url}/share/{token}")
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(f"{api.url}/s/{token}").status_code == 200
        for mistyped in (
            "//share/",
            "/share//",
            "//s/",
            "/S/",
            "/api/share/",
            "/share/x/",
            "/shares/",
            "/share%5C",
            "/share:",
        ):
            httpx.get(f"{api.url}{mistyped}{token}")
        log = api.server.log.read_text()
        assert token not in log
        assert '"/share/***"' in log
        assert '"/s/***"' in log


@pytest.mark.parametrize("shared", [False, True])
def test_an_archive_holds_all_stems(
    client: httpx.Client, friend: httpx.Client, mirror: redis.Redis, *, shared: bool
) -> None:
    mirrored(mirror, completed(title='Söng/Title: "live"'))
    path = f"/share/{share(client)['token']}/stems.zip" if shared else f"/job/{TRACK}/stems.zip"
    response = (friend if shared else client).get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    assert 'filename="Artist - S_ng Title live.zip"' in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        held = {item.filename: archive.read(item) for item in archive.infolist()}
        assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.infolist()[0].date_time[0] == 2009
    song = "Artist - Söng Title live"
    assert held == {
        f"{song} (Vocals).mp3": CONTENT[Stem.VOCALS],
        f"{song} (Instrumental).mp3": CONTENT[Stem.INSTRUMENTAL],
    }


def test_head_of_an_archive_reads_nothing_and_holds_no_place(
    environment: dict[str, str], tmp_path: Path, mirror: redis.Redis
) -> None:
    mirrored(mirror, completed())
    limits = {"QUOTA_STREAMS": "1", "MAX_DOWNLOADS": "1"}
    with api_process(tmp_path, {**environment, **limits}) as api, api.client() as client:
        for _ in range(3):
            response = client.head(f"/job/{TRACK}/stems.zip")
            assert (response.status_code, response.content) == (200, b"")
            assert client.head(f"/job/{TRACK}/events").status_code == 200
        assert client.get(f"/job/{TRACK}/stems.zip").status_code == 200


def test_a_missing_file_is_an_error_before_the_archive_begins(client: httpx.Client, mirror: redis.Redis) -> None:
    mirrored(mirror, completed(stem_keys={Stem.VOCALS: "main/stems/none/vocals.mp3"}))
    assert problem(client.get(f"/job/{TRACK}/stems.zip")) == (404, "TRACK_NOT_FOUND")


def test_an_archive_that_breaks_off_is_not_complete(client: httpx.Client, mirror: redis.Redis) -> None:
    mirrored(mirror, completed(stem_keys={**KEYS, Stem.INSTRUMENTAL: "main/stems/none/instrumental.mp3"}))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/job/{TRACK}/stems.zip")
    mirrored(mirror, completed(resource_version=8))
    assert client.get(f"/job/{TRACK}/stems.zip").status_code == 200


def slow_download(api: Api, key: str) -> socket.socket:
    """Begin to download an archive and read almost nothing of it."""
    connection = socket.create_connection(("127.0.0.1", api.server.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(f"GET /job/{TRACK}/stems.zip HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    return connection


def test_downloads_are_bounded_and_one_that_leaves_makes_room(
    environment: dict[str, str], tmp_path: Path, mirror: redis.Redis, store: ObjectStore
) -> None:
    objects = store.client()
    objects.put_object(Bucket=store.bucket, Key="main/stems/large.wav", Body=bytes(LARGE))
    objects.close()
    mirrored(mirror, completed(stem_keys={Stem.VOCALS: "main/stems/large.wav"}))
    limits = {"MAX_DOWNLOADS": "3"}
    with api_process(tmp_path, {**environment, **limits}) as api, api.client() as client:
        path = f"/job/{TRACK}/stems.zip"
        slow = [slow_download(api, api.key), slow_download(api, api.key)]
        assert problem(client.get(path)) == (429, "QUOTA_EXCEEDED")
        team = {"X-API-Key": "team-a-key"}
        slow.append(slow_download(api, "team-a-key"))
        refused = client.get(path, headers=team)
        assert problem(refused) == (503, "UNAVAILABLE")
        assert refused.headers["retry-after"] == "5"
        for connection in slow:
            connection.close()
        eventually(lambda: client.head(path).status_code == 200, 10)
        response = client.get(path)
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            assert [item.file_size for item in archive.infolist()] == [LARGE]
        assert len(response.content) < LARGE + PART_BYTES
        assert "Traceback" not in api.server.log.read_text()
