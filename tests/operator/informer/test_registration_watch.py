"""The cache of registered webhooks: the newest version counts, and one bad resource harms no other."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from stemyard_contract.key_webhooks import resource_name
from stemyard_operator.informer.registration_watch import RegistrationCache, RegistrationWatch
from tests.operator.clients.test_kubernetes import client_of
from tests.operator.model.registered import webhook

ONE = "https://one.example.com/"


def resource(key: str, version: int, **spec: Any) -> dict[str, Any]:
    webhooks = [webhook(1, ONE).dump()]
    metadata = {"name": resource_name(key), "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"key": key, "webhooks": webhooks, **spec}}


def urls(cache: RegistrationCache, key: str) -> list[str]:
    return [one.url for one in cache.known.of(key)]


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache = RegistrationCache()
    cache.put(resource("a", 5, webhooks=[]))
    cache.put(resource("a", 4))
    assert urls(cache, "a") == []
    cache.put(resource("a", 6))
    assert urls(cache, "a") == [ONE]


def test_what_was_deleted_does_not_come_back_with_a_late_answer() -> None:
    cache = RegistrationCache()
    cache.put(resource("a", 5))
    cache.remove(resource_name("a"), 7)
    cache.put(resource("a", 6))
    assert urls(cache, "a") == []
    cache.put(resource("a", 8))
    assert urls(cache, "a") == [ONE]


def test_a_complete_list_removes_what_it_lacks() -> None:
    cache = RegistrationCache()
    cache.put(resource("a", 5))
    cache.put(resource("b", 9))
    cache.replace([resource("c", 3)], 7)
    assert (urls(cache, "a"), urls(cache, "b"), urls(cache, "c")) == ([], [ONE], [ONE])  # b is newer than the list


def test_one_that_cannot_be_read_counts_as_none_and_harms_no_other() -> None:
    cache = RegistrationCache()
    cache.put(resource("a", 5))
    cache.put(resource("b", 6))
    cache.put(resource("a", 7, webhooks=[{"id": "x"}]))
    assert (urls(cache, "a"), urls(cache, "b")) == ([], [ONE])


@pytest.mark.parametrize("body", ['{"metadata": {"resourceVersion": "9"}}', '{"items": []}'])
async def test_what_is_no_list_removes_nothing(body: str, caplog: pytest.LogCaptureFixture) -> None:
    """A proxy that answers in the API server's place must not end every registered webhook."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body)

    cache = RegistrationCache()
    cache.put(resource("a", 5))
    async with client_of(answer) as client:
        watch = RegistrationWatch(client, cache, "music")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await watch.run()
    assert "cannot be watched" in caplog.text
    assert urls(cache, "a") == [ONE]
    assert not watch.listed.is_set()
