"""The API's links with the temporary credentials of a workload identity."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from stemyard_api.clients import s3
from stemyard_api.clients.s3 import ObjectStoreClient, ObjectStoreUnavailableError, open_keys
from stemyard_api.clients.s3_multipart import MultipartClient
from stemyard_api.clients.s3_reader import ObjectReader
from stemyard_api.services.links import LinkBuilder
from stemyard_contract.credential_renewal import RenewedKeys
from stemyard_contract.separationjob import Stem
from tests.api import tracks
from tests.api.settings_for_tests import KEY, settings
from tests.support.role_store import RoleStore, role_store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoleStore]:
    with role_store(tmp_path) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def given(store: RoleStore) -> dict[str, str]:
    return {name.lower(): value for name, value in store.settings.items()}


@pytest.fixture
def keys(store: RoleStore) -> Iterator[RenewedKeys]:
    found = open_keys(settings(**given(store)))
    assert found is not None
    yield found
    found.close()


@pytest.fixture
async def objects(store: RoleStore, keys: RenewedKeys) -> ObjectStoreClient:
    found = ObjectStoreClient(settings(**given(store)), keys)
    await found.ping()
    return found


def lifetime(link: str) -> int:
    return int(parse_qs(urlsplit(link).query)["X-Amz-Expires"][0])


def test_lasting_keys_are_used_where_there_are_any() -> None:
    lasting = settings(s3_endpoint_url="http://s3", r2_access_key_id="a", r2_secret_access_key="b")
    assert open_keys(lasting) is None
    assert open_keys(settings()) is None


async def test_stems_are_linked_for_as_long_as_the_credentials_last(
    store: RoleStore, objects: ObjectStoreClient
) -> None:
    record, builder = tracks.completed(), LinkBuilder(objects, None)
    key = record.stem_keys[Stem.VOCALS]
    await objects.write(key, b"{}")
    now = time.time()
    links = builder.links_for(record, now)
    assert (await asyncio.to_thread(httpx.get, links.urls[Stem.VOCALS])).content == b"{}"
    seconds = lifetime(links.urls[Stem.VOCALS])
    assert 3500 < seconds <= 3600
    assert links.expires_at is not None
    assert links.expires_at <= store.issued[0].expires_at + 1
    assert builder.links_for(record, now + seconds / 2 - 1) is links
    assert builder.links_for(record, now + seconds / 2 + 1) is not links


async def test_uploads_are_linked_and_said_to_end_with_the_credentials(
    store: RoleStore, objects: ObjectStoreClient
) -> None:
    url, headers = objects.sign_put("main/uploads/default/one", 2, "audio/mpeg")
    assert lifetime(url) == objects.link_seconds(900) == 900
    assert (await asyncio.to_thread(httpx.put, url, content=b"ab", headers=headers)).status_code == 200
    assert await objects.size("main/uploads/default/one") == 2
    assert objects.link_seconds(10_000) <= 3600
    assert store.refused == []


async def test_parts_and_downloads_work_as_well(
    store: RoleStore, keys: RenewedKeys, objects: ObjectStoreClient
) -> None:
    multipart = MultipartClient(settings(**given(store)), keys)
    url, _ = multipart.sign_part("main/uploads/default/two", "upload", 1, 5, b"x" * 32)
    assert store.issued[0].token in parse_qs(urlsplit(url).query)["X-Amz-Security-Token"]
    await objects.write("main/stems/x", b"stem")
    reader = ObjectReader(settings(**given(store)), keys)
    body = await reader.open("main/stems/x")
    assert await body.read(10) == b"stem"
    assert len(store.issued) == 1, "all clients of the process share one set of credentials"
    reader.close()
    multipart.close()


async def test_without_credentials_requests_are_refused_for_now(
    store: RoleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.available = False
    configured = settings(**given(store))
    keys = open_keys(configured)
    objects = ObjectStoreClient(configured, keys)
    with pytest.raises(ObjectStoreUnavailableError):
        await objects.ping()
    with pytest.raises(ObjectStoreUnavailableError):
        LinkBuilder(objects, None).links_for(tracks.completed(), time.time())
    # as if they had expired just after the lifetime of the link was reckoned
    monkeypatch.setattr(s3, "link_seconds", lambda _, seconds: seconds)
    with pytest.raises(ObjectStoreUnavailableError):
        objects.sign_get("main/stems/x")
    assert keys is not None
    keys.close()


def test_share_links_are_signed_without_a_key_of_the_bucket(store: RoleStore) -> None:
    assert settings(**given(store)).share_secrets == (KEY,)
