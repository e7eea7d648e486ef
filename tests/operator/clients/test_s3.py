"""The operator's calls to a real S3 store."""

import asyncio
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
    """A store with scripted responses."""

    def __init__(self) -> None:
        self.answers: list[int | bytes] = []
        """Statuses, or bodies of answers with status 200."""
        self.calls = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return web.Response(status=answer, text=f"after {self.calls - 1}")


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


async def test_the_bucket_is_created_with_its_owner(store: ObjectStore) -> None:
    objects = objects_of(store, r2_bucket="another")
    for _ in range(2):
        await objects.prepare()
    assert b"install-1" in (await objects.get("install-1/owner.json", 1000) or b"")
    await objects.close()


async def test_a_store_that_stays_away_is_not_called_by_each_request(
    objects_in_trouble: ObjectStoreClient, trouble: Trouble
) -> None:
    trouble.answers = [*[503] * 15, 200]
    for _ in range(5):
        with pytest.raises(ObjectStoreError, match="503"):
            await objects_in_trouble.size("key")
    assert not objects_in_trouble.up
    for call in (objects_in_trouble.get("key", 10), objects_in_trouble.keys("a/"), objects_in_trouble.copy("a", "b")):
        with pytest.raises(ObjectStoreError, match="not answering"):
            await call
    assert trouble.calls == 15
    await asyncio.sleep(1.1)
    assert await objects_in_trouble.get("key", 100) == b"after 15"
    assert objects_in_trouble.up


async def test_wrong_credentials_name_the_setting(store: ObjectStore) -> None:
    objects = objects_of(store, r2_secret_access_key="wrong")
    with pytest.raises(ObjectStoreRefusedError, match="R2_BUCKET=stemyard"):
        await objects.prepare()
    await objects.close()


async def test_an_unreachable_store_is_a_retryable_error() -> None:
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


async def test_removal_deletes_exactly_the_named_keys(store: ObjectStore, objects: ObjectStoreClient) -> None:
    for key in (f"{PREFIX}/a/1", f"{PREFIX}/a/2", f"{PREFIX}/ab/1", f"{PREFIX}/b/1", f"{PREFIX}/b/12"):
        put(store, key)
    await objects.remove(f"{PREFIX}/a/")
    await objects.remove(f"{PREFIX}/b/1")
    await objects.remove(f"{PREFIX}/none/")
    await objects.remove(f"{PREFIX}/none")
    left = await objects.keys(f"{PREFIX}/")
    assert [key for key in left if "vocals" not in key] == [f"{PREFIX}/ab/1", f"{PREFIX}/b/12"]


async def test_listings_and_removals_of_more_than_a_page(store: ObjectStore, objects: ObjectStoreClient) -> None:
    client = store.client()
    for number in range(1005):
        client.put_object(Bucket=store.bucket, Key=f"install-1/many/{number}", Body=b"")
    client.close()
    assert len(await objects.keys("install-1/many/")) == 1005
    await objects.remove("install-1/many/")
    assert await objects.keys("install-1/many/") == []


async def test_a_missing_bucket_is_not_a_missing_object(store: ObjectStore) -> None:
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


async def test_transient_errors_are_retried_until_a_limit(
    trouble: Trouble, objects_in_trouble: ObjectStoreClient
) -> None:
    trouble.answers = [503, 500, 200]
    assert await objects_in_trouble.get("key", 100) == b"after 2"
    trouble.answers = [503, 503, 503, 200]
    with pytest.raises(ObjectStoreError, match="503"):
        await objects_in_trouble.get("key", 100)


def listing(*entries: str, truncated: str = "false", token: str | None = None) -> bytes:
    continued = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    content = f"<IsTruncated>{truncated}</IsTruncated>{''.join(entries)}{continued}"
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{content}</ListBucketResult>'.encode()


def listed(key: str, size: str = "5") -> str:
    return f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>"


FIRST, SECOND = listed(f"{PREFIX}/a/1"), listed(f"{PREFIX}/a/2")
INVALID_LISTINGS: dict[str, list[int | bytes]] = {
    "HTML page": [b"<html><body>maintenance<br></body></html>"],
    "well-formed HTML page": [b"<html><body>maintenance</body></html>"],
    "error with status 200": [b"<Error><Code>InternalError</Code><Message>no</Message></Error>"],
    "empty body": [b""],
    "truncated XML": [listing(FIRST, SECOND)[:-30]],
    "unknown encoding": [b'<?xml version="1.0" encoding="none-such"?><ListBucketResult/>'],
    "no IsTruncated": [b"<ListBucketResult></ListBucketResult>"],
    "no Key": [listing("<Contents><Size>5</Size></Contents>")],
    "no Size": [listing(listed(f"{PREFIX}/a/1", "many"))],
    "keys outside the prefix": [listing(FIRST, listed("install-2/stems/music.song/a/1"))],
    "no continuation token": [listing(FIRST, truncated="true")],
    "repeated token": [listing(FIRST, truncated="true", token="t"), listing(SECOND, truncated="true", token="t")],
    "cycle of tokens": [listing(truncated="true", token=token) for token in ("t", "u", "t")],
    "second page 404": [listing(FIRST, truncated="true", token="t"), 404],
    "404": [404],
}


@pytest.mark.parametrize("answers", INVALID_LISTINGS.values(), ids=INVALID_LISTINGS.keys())
async def test_invalid_listings_are_errors(
    trouble: Trouble, objects_in_trouble: ObjectStoreClient, answers: list[int | bytes]
) -> None:
    """What is removed depends on listings being complete."""
    trouble.answers = [*answers, 500, 500, 500]
    with pytest.raises(ObjectStoreError) as caught:
        await objects_in_trouble.keys(f"{PREFIX}/")
    assert caught.value.retryable
    assert "500" not in str(caught.value)
    trouble.answers = [*answers, *[204] * 5]
    with pytest.raises(ObjectStoreError):
        await objects_in_trouble.remove(f"{PREFIX}/")
    assert trouble.answers == [204] * 5, "nothing is removed"


async def test_listings_and_their_pages_may_be_empty(trouble: Trouble, objects_in_trouble: ObjectStoreClient) -> None:
    trouble.answers = [listing()]
    assert await objects_in_trouble.keys(f"{PREFIX}/") == []
    trouble.answers = [listing(truncated="true", token="t"), listing(SECOND), listing(FIRST)]
    assert await objects_in_trouble.keys(f"{PREFIX}/") == [f"{PREFIX}/a/2"]
    assert await objects_in_trouble.sizes(f"{PREFIX}/") == {f"{PREFIX}/a/1": 5}


@pytest.mark.parametrize("page", [b"<html><body>maintenance</body></html>", b"<html><br>"])
async def test_responses_that_boto3_cannot_parse_are_store_errors(
    trouble: Trouble, objects_in_trouble: ObjectStoreClient, page: bytes
) -> None:
    """A proxy's HTML page with status 200 is not a copy; parsed as lifecycle rules it would replace those of others."""
    for call in (objects_in_trouble.copy("a", "b"), objects_in_trouble.lifecycle(), objects_in_trouble.cors()):
        trouble.answers = [page] * 5
        with pytest.raises(ObjectStoreError):
            await call


async def test_keys_with_special_characters_are_supported(objects: ObjectStoreClient, store: ObjectStore) -> None:
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
async def test_calls_use_the_s3_clients_addresses(endpoint: str | None, bucket: str, address: str) -> None:
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


async def test_credentials_may_come_from_the_environment(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, f"{PREFIX}/mark.json")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
    found = objects_of(store, r2_access_key_id="", r2_secret_access_key="")
    assert await found.size(f"{PREFIX}/mark.json") == 4
    assert await found.keys(f"{PREFIX}/mark") == [f"{PREFIX}/mark.json"]
    await found.close()


async def test_missing_credentials_are_reported(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = objects_of(store, r2_access_key_id="", r2_secret_access_key="")
    with pytest.raises(ObjectStoreError, match="credentials"):
        await found.size(f"{PREFIX}/mark.json")
    await found.close()


def test_links_are_valid_for_one_object_and_method(store: ObjectStore, objects: ObjectStoreClient) -> None:
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
