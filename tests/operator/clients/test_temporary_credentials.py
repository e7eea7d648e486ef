"""The operator's calls and links with the temporary credentials of a workload identity."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from stemyard_operator.clients.s3 import DESK_LINK_SECONDS, ObjectStoreClient
from stemyard_operator.errors import ObjectStoreError
from tests.operator.world import settings
from tests.support.role_store import RoleStore, role_store

KEY = "install-1/work/music.song/token/source.flac"
WEEK = 7 * 24 * 3600


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoleStore]:
    with role_store(tmp_path) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def objects_of(store: RoleStore) -> ObjectStoreClient:
    return ObjectStoreClient(settings(**{name.lower(): value for name, value in store.settings.items()}))


def query(link: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(link).query).items()}


async def test_every_call_works_without_a_key_of_the_bucket(store: RoleStore) -> None:
    objects = objects_of(store)
    await objects.prepare()
    assert await objects.has_owner()
    await objects.put(KEY, b"audio", "audio/flac")
    assert await objects.copy(KEY, f"{KEY}.copy")
    assert await objects.sizes("install-1/work/") == {KEY: 5, f"{KEY}.copy": 5}
    await objects.remove("install-1/work/")
    assert await objects.size(KEY) is None
    assert store.refused == []
    assert len(store.issued) == 1
    await objects.close()


async def test_links_carry_the_session_token_and_do_what_they_are_for(store: RoleStore) -> None:
    objects = objects_of(store)
    await objects.prepare()
    headers = {"Content-Length": "5", "Content-Type": "audio/flac"}
    write = objects.write_link(KEY, DESK_LINK_SECONDS, headers)
    assert query(write)["X-Amz-Security-Token"] == store.issued[0].token
    assert (await asyncio.to_thread(httpx.put, write, content=b"audio", headers=headers)).status_code == 200
    assert (await asyncio.to_thread(httpx.get, objects.read_link(KEY, DESK_LINK_SECONDS))).content == b"audio"
    assert store.issued[0].secret_key not in write
    await objects.close()


async def test_no_link_outlives_the_credentials(store: RoleStore) -> None:
    objects = objects_of(store)
    await objects.prepare()
    link = objects.public_link(KEY, WEEK)
    assert 3500 < int(query(link)["X-Amz-Expires"]) <= 3600
    assert query(objects.read_link(KEY, DESK_LINK_SECONDS))["X-Amz-Expires"] == str(DESK_LINK_SECONDS)
    await asyncio.to_thread(httpx.get, link)
    assert store.refused == []
    await objects.close()


async def test_credentials_are_renewed_with_the_latest_token(store: RoleStore) -> None:
    store.lifetime = 8
    objects = objects_of(store)
    await objects.prepare()
    store.rotate("header.claims-2.signature")
    deadline = time.monotonic() + 13
    while time.monotonic() < deadline:
        assert await objects.has_owner()
        assert (await asyncio.to_thread(httpx.get, objects.public_link(KEY, WEEK))).status_code == 404
    assert len({one.token for one in store.issued}) >= 3
    assert store.refused == []
    await objects.close()


async def test_without_the_token_service_nothing_is_signed_by_what_has_expired(
    store: RoleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.lifetime = 6
    objects = objects_of(store)
    await objects.prepare()
    store.available = False
    deadline = time.monotonic() + 20
    with pytest.raises(ObjectStoreError, match="no credentials for the object store"):  # noqa: PT012 - until it expires
        while time.monotonic() < deadline:
            objects.public_link(KEY, WEEK)
            await asyncio.sleep(0.05)
    with pytest.raises(ObjectStoreError, match="no credentials for the object store"):
        await objects.has_owner()
    # as if they had expired just after the lifetime of the link was reckoned
    monkeypatch.setattr(objects, "_link_seconds", lambda seconds: seconds)
    with pytest.raises(ObjectStoreError, match="no credentials for the object store"):
        objects.public_link(KEY, WEEK)
    with pytest.raises(ObjectStoreError, match="no credentials for the object store"):
        objects.write_link(KEY, WEEK, {"Content-Length": "1"})
    await objects.close()


async def test_a_refused_token_is_said(store: RoleStore) -> None:
    store.token = "another"
    objects = objects_of(store)
    with pytest.raises(ObjectStoreError, match="InvalidIdentityToken"):
        await objects.prepare()
    await objects.close()
