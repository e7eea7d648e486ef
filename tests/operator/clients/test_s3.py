"""The operator's calls to a real S3 store."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.errors import ObjectStoreError, ObjectStoreRefusedError
from tests.operator.world import settings
from tests.support.servers import ObjectStore, object_store

PREFIX = "install-1/stems/music.song"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as found:
        yield found


def objects_of(store: ObjectStore, **changes: str) -> ObjectStoreClient:
    values = {key.lower(): value for key, value in store.environment.items()}
    return ObjectStoreClient(settings(**{**values, **changes}))


class Trouble:
    """A store that answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.calls = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.calls += 1
        return web.Response(status=self.answers.pop(0), text=f"after {self.calls - 1}")


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
async def objects_in_trouble(trouble: Trouble, store: ObjectStore) -> AsyncIterator[ObjectStoreClient]:
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", trouble.answer)
    async with TestServer(application) as server:
        found = objects_of(store, s3_endpoint_url=str(server.make_url("/")))
        yield found
        await found.close()


@pytest.fixture
async def objects(store: ObjectStore) -> AsyncIterator[ObjectStoreClient]:
    found = objects_of(store)
    yield found
    await found.close()


def put(store: ObjectStore, key: str, body: bytes = b"body") -> None:
    client = store.client()
    client.put_object(Bucket=store.bucket, Key=key, Body=body)
    client.close()


async def test_the_bucket_is_made_and_says_whose_it_is(store: ObjectStore) -> None:
    objects = objects_of(store, r2_bucket="another")
    for _ in range(2):
        await objects.prepare()
    assert b"install-1" in (await objects.get("install-1/owner.json", 1000) or b"")
    await objects.close()


async def test_wrong_credentials_name_the_setting(store: ObjectStore) -> None:
    objects = objects_of(store, r2_secret_access_key="wrong")
    with pytest.raises(ObjectStoreRefusedError, match="R2_BUCKET=stemyard"):
        await objects.prepare()
    await objects.close()


async def test_no_answer_can_be_waited_for() -> None:
    objects = ObjectStoreClient(
        settings(s3_endpoint_url="http://127.0.0.1:1", r2_access_key_id="a", r2_secret_access_key="b")
    )
    with pytest.raises(ObjectStoreError) as caught:
        await objects.size("x")
    assert caught.value.retryable
    await objects.close()


async def test_reads(store: ObjectStore, objects: ObjectStoreClient) -> None:
    put(store, f"{PREFIX}/a/vocals.mp3", b"12345")
    assert await objects.get(f"{PREFIX}/a/vocals.mp3", 5) == b"12345"
    assert await objects.get(f"{PREFIX}/a/vocals.mp3", 4) is None
    assert await objects.get(f"{PREFIX}/a/none.mp3", 5) is None
    assert await objects.size(f"{PREFIX}/a/vocals.mp3") == 5
    assert await objects.size(f"{PREFIX}/a/none.mp3") is None


async def test_removal_takes_exactly_what_is_named(store: ObjectStore, objects: ObjectStoreClient) -> None:
    for key in (f"{PREFIX}/a/1", f"{PREFIX}/a/2", f"{PREFIX}/ab/1", f"{PREFIX}/b/1", f"{PREFIX}/b/12"):
        put(store, key)
    await objects.remove(f"{PREFIX}/a/")
    await objects.remove(f"{PREFIX}/b/1")
    await objects.remove(f"{PREFIX}/none/")
    await objects.remove(f"{PREFIX}/none")
    left = await objects.keys(f"{PREFIX}/")
    assert [key for key in left if "vocals" not in key] == [f"{PREFIX}/ab/1", f"{PREFIX}/b/12"]


async def test_more_than_a_page(store: ObjectStore, objects: ObjectStoreClient) -> None:
    client = store.client()
    for number in range(1005):
        client.put_object(Bucket=store.bucket, Key=f"install-1/many/{number}", Body=b"")
    client.close()
    assert len(await objects.keys("install-1/many/")) == 1005
    await objects.remove("install-1/many/")
    assert await objects.keys("install-1/many/") == []


async def test_a_bucket_that_is_gone_is_not_an_absent_object(store: ObjectStore) -> None:
    objects = objects_of(store, r2_bucket="never-made")
    with pytest.raises(ObjectStoreError, match="NoSuchBucket"):
        await objects.get("x", 10)
    with pytest.raises(ObjectStoreError, match="NoSuchBucket"):
        await objects.keys("x/")
    await objects.close()


async def test_refused_calls_name_the_setting(store: ObjectStore) -> None:
    objects = objects_of(store, r2_secret_access_key="wrong")
    for call in (objects.get("x", 10), objects.size("x"), objects.keys("x/"), objects.remove("x")):
        with pytest.raises(ObjectStoreRefusedError, match="R2_BUCKET=stemyard"):
            await call
    await objects.close()


async def test_passing_trouble_is_sat_out_for_a_while(trouble: Trouble, objects_in_trouble: ObjectStoreClient) -> None:
    trouble.answers = [503, 500, 200]
    assert await objects_in_trouble.get("key", 100) == b"after 2"
    trouble.answers = [503, 503, 503, 200]
    with pytest.raises(ObjectStoreError, match="503"):
        await objects_in_trouble.get("key", 100)


async def test_odd_keys_are_found_again(objects: ObjectStoreClient, store: ObjectStore) -> None:
    key = f"{PREFIX}/odd/a b+c&d=e%20é.mp3"
    put(store, key)
    assert await objects.size(key) == 4
    assert await objects.keys(f"{PREFIX}/odd/") == [key]
    await objects.remove(f"{PREFIX}/odd/")
    assert await objects.size(key) is None


@pytest.mark.parametrize(
    ("endpoint", "bucket", "address"),
    [
        (None, "stems", "https://stems.s3.eu-west-1.amazonaws.com/a%20b/c~d%C3%A9?"),
        (None, "my.stems", "https://s3.eu-west-1.amazonaws.com/my.stems/a%20b/c~d%C3%A9?"),
        ("https://0.r2.cloudflarestorage.com", "stems", "https://0.r2.cloudflarestorage.com/stems/a%20b/c~d%C3%A9?"),
    ],
)
async def test_calls_go_where_the_s3_client_would_send_them(endpoint: str | None, bucket: str, address: str) -> None:
    keys = {"r2_access_key_id": "AKIA", "r2_secret_access_key": "secret"}
    found = ObjectStoreClient(settings(**keys, s3_endpoint_url=endpoint, s3_region="eu-west-1", r2_bucket=bucket))
    key = "a b/c~dé"
    for _ in range(5):  # a signature tells the second
        own, link = await found._sign("GET", key, {}), found.read_link(key, 60)
        if own == link:
            break
    assert own == link
    assert link.startswith(address)
    await found.close()


async def test_credentials_may_come_from_the_surroundings(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, f"{PREFIX}/mark.json")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
    found = objects_of(store, r2_access_key_id="", r2_secret_access_key="")
    assert await found.size(f"{PREFIX}/mark.json") == 4
    assert await found.keys(f"{PREFIX}/mark") == [f"{PREFIX}/mark.json"]
    await found.close()


async def test_credentials_that_nobody_gave_are_told(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = objects_of(store, r2_access_key_id="", r2_secret_access_key="")
    with pytest.raises(ObjectStoreError, match="credentials"):
        await found.size(f"{PREFIX}/mark.json")
    await found.close()


def test_links_open_one_object_for_one_method(store: ObjectStore, objects: ObjectStoreClient) -> None:
    key = f"{PREFIX}/link/vocals.mp3"
    saved_as = "attachment; filename=\"S_ng (Vocals).mp3\"; filename*=UTF-8''S%C3%B6ng%20%28Vocals%29.mp3"
    headers = {"Content-Length": "3", "Content-Type": "audio/mpeg", "Content-Disposition": saved_as}
    write = objects.write_link(key, 60, headers)
    assert httpx.put(write, content=b"mp3", headers={"Content-Type": "audio/mpeg"}).status_code == 403
    assert httpx.put(write, content=b"mp3", headers=headers).status_code == 200
    read = objects.read_link(key, 60)
    got = httpx.get(read)
    assert got.content == b"mp3"
    assert got.headers["Content-Disposition"] == saved_as
    assert httpx.put(read, content=b"mp3").status_code == 403
    assert httpx.delete(read).status_code == 403
    assert store.secret_key not in read + write
