"""`stemyard_client` against the whole live service, with connections that break off."""

import asyncio
import hashlib
import re
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    Retries,
    SeparationFailedError,
    StemyardError,
    TransferError,
    WaitTimeoutError,
)
from tests.support.service_world import MISSING, Service, service

ROOT = Path(__file__).parents[2]
SMALL = b"ID3" + bytes(range(256)) * 8
LARGE = bytes(range(251)) * 80_000
"""20 MB, two parts."""


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(control_plane, tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture
def client(running: Service) -> Iterator[Client]:
    with Client(running.url, running.key("default")) as opened:
        yield opened


@pytest.fixture
def query() -> str:
    return f"Song {uuid.uuid4()}"


def uploaded(running: Service, upload_id: str) -> bytes:
    store = running.world.store.client()
    keys = [item["Key"] for item in store.list_objects_v2(Bucket=running.world.store.bucket)["Contents"]]
    [key] = [key for key in keys if upload_id in key]
    body = store.get_object(Bucket=running.world.store.bucket, Key=key)["Body"].read()
    store.close()
    return body


def noted(seen: list[tuple[int, int]], done: int, size: int) -> None:
    seen.append((done, size))


def test_a_search_is_separated_and_downloaded(client: Client, query: str, tmp_path: Path) -> None:
    separation = client.separate(query, metadata={"order": 7})
    assert separation.job.status == "processing"
    seen: list[str | None] = []
    assert separation.wait(60, on_change=lambda job: seen.append(job.phase)) is separation
    assert seen[-1] == "Completed"
    assert len(seen) > 2, "phases are seen as they come"
    assert separation.job.metadata == {"order": 7}
    files = separation.download(tmp_path / "stems")
    assert set(files) == {"vocals", "instrumental"}
    for stem, path in files.items():
        assert path.read_bytes() == httpx.get(separation.job.links[stem]).content
        assert path.name.endswith(f"({stem.title()}).mp3")
    assert sorted(path.name for path in (tmp_path / "stems").iterdir()) == sorted(path.name for path in files.values())
    again = client.separate(query)
    assert (again.job.cached, again.track_id) == (True, separation.track_id)
    assert again.wait(5).job.status == "completed"


def test_the_example_of_the_readme_runs(
    running: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = re.findall(r"(?ms)^```python\n(.+?)^```", (ROOT / "client/README.md").read_text())
    (tmp_path / "song.mp3").write_bytes(SMALL)
    monkeypatch.chdir(tmp_path)
    exec(example, {"url": running.url, "key": running.key("default")})
    printed = capsys.readouterr().out
    assert "Completed 100" in printed
    assert len(list((tmp_path / "stems").iterdir())) == 2


def test_a_small_file_is_uploaded_whole_and_a_large_one_in_parts(
    running: Service, client: Client, tmp_path: Path
) -> None:
    for name, content in (("small.mp3", SMALL), ("large.wav", LARGE)):
        path = tmp_path / name
        path.write_bytes(content)
        progress: list[tuple[int, int]] = []
        upload_id = client.upload(path, on_bytes=partial(noted, progress))
        assert uploaded(running, upload_id) == content
        assert progress[-1] == (len(content), len(content))
        assert client.separate(upload_id=upload_id).wait(60).job.query == name.partition(".")[0]


def test_an_interrupted_upload_is_continued(running: Service, tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    path.write_bytes(LARGE)
    interrupted: list[int] = []
    with Client(running.url, running.key("default")) as client:

        def stop(done: int, _size: int) -> None:
            interrupted.append(done)
            raise KeyboardInterrupt

        announced = {"filename": path.name, "size": len(LARGE), "content_type": "audio/x-wav"}
        with httpx.Client(headers={"X-API-Key": running.api.key}) as http:
            begun = http.post(f"{running.url}/uploads/multipart", json=announced).json()
            with pytest.raises(KeyboardInterrupt):
                client.upload(path, upload_id=begun["upload_id"], on_bytes=stop)
            [first] = http.get(f"{running.url}/uploads/{begun['upload_id']}").json()["received"]
            assert first["sha256"] == hashlib.sha256(LARGE[: interrupted[0]]).hexdigest()
        before = running.store_relay.connections
        assert client.upload(path, upload_id=begun["upload_id"]) == begun["upload_id"]
        assert running.store_relay.connections - before <= 1, "one part is left"
        assert uploaded(running, begun["upload_id"]) == LARGE
        path.write_bytes(LARGE + b"more")
        with Client(running.url, running.key("team-a")) as other:
            assert other.upload(path, upload_id=begun["upload_id"]) != begun["upload_id"], "of another key: unknown"


def test_a_broken_connection_of_each_kind_is_repeated(
    running: Service, client: Client, query: str, tmp_path: Path
) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(SMALL)
    running.store_relay.cut_after[:] = [10]
    running.api_relay.cut_after[:] = [0, 30]
    separation = client.separate(path)
    with Client(running.url, running.key("default")) as follower:
        running.api_relay.cut_after[:] = [700, 900]  # in the middle of events
        *_, last = follower.follow(separation.track_id, 60)
        assert last.status == "completed"
    running.store_relay.cut_after[:] = [0, 700, 5]
    with Client(running.url, running.key("default")) as downloader:
        files = downloader.download(separation.track_id, tmp_path)
    assert files["vocals"].read_bytes() == httpx.get(separation.refresh().links["vocals"]).content
    assert running.store_relay.cut_after == []


def test_a_partial_download_is_continued_and_a_finished_one_kept(
    running: Service, client: Client, query: str, tmp_path: Path
) -> None:
    separation = client.separate(query).wait(60)
    files = separation.download(tmp_path, ["vocals"])
    whole = files["vocals"].read_bytes()
    seen: list[int] = []
    separation.download(tmp_path, ["vocals"], on_bytes=lambda done, _: seen.append(done))
    assert seen == [], "nothing is sent again"
    files["vocals"].write_bytes(b"mine")
    with pytest.raises(TransferError, match="exists and is another file"):
        separation.download(tmp_path, ["vocals"])
    assert separation.download(tmp_path, ["vocals"], overwrite=True) == files
    assert files["vocals"].read_bytes() == whole
    with pytest.raises(StemyardError, match="no stem drums; it has vocals, instrumental"):
        separation.download(tmp_path, ["drums"])


def test_two_requests_with_one_idempotency_key_are_one(client: Client, query: str) -> None:
    first = client.separate(query, idempotency_key=query, cache="refresh")
    assert client.separate(query, idempotency_key=query, cache="refresh").job.created_at == first.job.created_at
    with pytest.raises(StemyardError) as refused:
        client.separate("another song", idempotency_key=query)
    assert refused.value.code == "IDEMPOTENCY_MISMATCH"


def test_a_failure_has_the_code_and_can_be_retried(client: Client) -> None:
    separation = client.separate(MISSING)
    with pytest.raises(SeparationFailedError) as failed:
        separation.wait(60)
    assert (failed.value.code, failed.value.retryable) == ("SOURCE_NOT_FOUND", False)
    assert "match" in str(failed.value)
    with pytest.raises(StemyardError, match="not completed but failed"):
        separation.download(Path("nowhere"))
    assert separation.retry().job.status == "processing"
    with pytest.raises(SeparationFailedError):
        separation.wait(60)
    separation.delete()
    with pytest.raises(NotFoundError) as missing:
        client.job(separation.track_id)
    assert missing.value.code == "TRACK_NOT_FOUND"


def test_one_can_be_cancelled_and_a_deletion_ends_the_stream(running: Service, client: Client, query: str) -> None:
    separation = client.separate(query)
    assert separation.cancel().cancelled
    with pytest.raises(SeparationFailedError) as cancelled:
        separation.wait(60)
    assert cancelled.value.code == "CANCELLED"
    again = separation.retry()
    following = client.follow(again.track_id, 60)
    next(following)
    with Client(running.url, running.key("default")) as other:
        other.delete(again.track_id)
    assert [job.status for job in following][-1] == "deleted"


def test_a_wait_ends_in_time(client: Client, query: str) -> None:
    with pytest.raises(WaitTimeoutError) as late:
        client.separate(query).wait(0.05)
    assert late.value.retryable


def test_lists_are_read_page_by_page(running: Service) -> None:
    with Client(running.url, running.key("team-b")) as client:
        tracks = [client.separate(f"page {number} {uuid.uuid4()}").track_id for number in range(5)]
        assert sorted(job.track_id for job in client.jobs(text="page")) == sorted(tracks)
        assert len(list(client.jobs(most=3))) == 3
        assert list(client.jobs(created_before=1.0)) == []


def test_a_result_is_shared_and_revoked(client: Client, query: str) -> None:
    separation = client.separate(query).wait(60)
    share = separation.share(600)
    assert httpx.get(f"{client._driver._address.url}/share/{share.token}").json()["track_id"] == separation.track_id
    client.revoke_shares(separation.track_id)
    assert httpx.get(f"{client._driver._address.url}/share/{share.token}").status_code == 410
    assert separation.candidates() == []
    assert client.deliveries(separation.track_id).deliveries == []


def test_webhooks_are_registered_changed_and_removed(running: Service) -> None:
    url = f"https://example.com/{uuid.uuid4()}"
    with Client(running.url, running.key("team-b")) as client:
        made = client.register_webhook(url, description="Mine", idempotency_key=url)
        assert made.secret.startswith("whsec_")
        assert made.secret not in repr(made)
        assert client.register_webhook(url, description="Mine", idempotency_key=url) == made
        with pytest.raises(ConflictError) as conflict:
            client.register_webhook(url)
        assert conflict.value.code == "WEBHOOK_EXISTS"
        changed = client.change_webhook(made.id, events=["separation.failed"], enabled=False)
        assert (changed.events, changed.enabled, changed.description) == (["separation.failed"], False, "Mine")
        assert client.rotate_webhook_secret(made.id, 60).previous_secret_valid_until is not None
        assert client.rotate_webhook_secret(made.id).secret != made.secret
        assert [one.id for one in client.webhooks()] == [made.id]
        client.remove_webhook(made.id)
        assert client.webhooks() == []
        with pytest.raises(NotFoundError):
            client.test_registered_webhook(made.id)


async def test_webhooks_are_registered_asynchronously(running: Service) -> None:
    async with AsyncClient(running.url, running.key("team-b")) as client:
        made = await client.register_webhook(f"https://example.com/{uuid.uuid4()}")
        assert (await client.rotate_webhook_secret(made.id)).secret != made.secret
        assert [one.id for one in await client.webhooks()] == [made.id]
        await client.remove_webhook(made.id)
        assert await client.webhooks() == []


def test_an_installation_tells_what_it_offers_and_what_was_used(client: Client, query: str) -> None:
    client.separate(query).wait(60)
    assert client.capabilities().key.id == "default"
    assert "spleeter-2stems" in [model.name for model in client.capabilities().models]
    assert client.health().status == "healthy"
    assert next(key for key in client.usage().keys if key.key_id == "default").completed >= 1


def test_errors_are_of_their_kinds(running: Service, client: Client, query: str, tmp_path: Path) -> None:
    with Client(running.url, "wrong") as stranger, pytest.raises(AuthenticationError) as unknown:
        stranger.jobs().__next__()
    assert (unknown.value.code, unknown.value.status, unknown.value.retryable) == ("UNAUTHENTICATED", 401, False)
    with Client(running.url, running.key("reader")) as reader, pytest.raises(ForbiddenError):
        reader.separate(query)
    with pytest.raises(InvalidRequestError) as invalid:
        client.separate(query, bitrate=7)
    assert list(invalid.value.fields) == ["bitrate"]
    separation = client.separate(query).wait(60)
    with pytest.raises(ConflictError) as conflict:
        separation.retry()
    assert conflict.value.code == "TRACK_COMPLETED"
    nowhere = Client("http://127.0.0.1:9", "key", retries=Retries(attempts=2))
    with nowhere, pytest.raises(ConnectionFailedError) as refused:
        nowhere.health()
    assert refused.value.retryable


async def test_the_asynchronous_client_does_the_same(running: Service, query: str, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(SMALL)
    async with AsyncClient(running.url, running.key("team-a")) as client:

        async def one(source: str | Path, folder: Path) -> dict[str, Path]:
            separation = await client.separate(source)
            phases = [job.phase async for job in separation.follow(60)]
            assert phases[-1] == "Completed"
            return await (await separation.wait(10)).download(folder)

        both = await asyncio.gather(one(query, tmp_path / "a"), one(tmp_path / "song.mp3", tmp_path / "b"))
        assert all(path.stat().st_size for files in both for path in files.values())
        assert query in [job.query async for job in client.jobs(most=5)]
        separation = await client.separation((await client.separate(query)).track_id)
        assert (await separation.share()).url.startswith("http")
        with pytest.raises(SeparationFailedError):
            await (await client.separate(MISSING)).wait(60)
        with pytest.raises(NotFoundError):
            await client.job(str(uuid.uuid4()))
