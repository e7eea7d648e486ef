"""What the client of the API server makes of responses that no API server gives."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from stemyard_contract.separationjob import GROUP, PLURAL
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import jobs_path, pods_path, separations_path
from stemyard_operator.errors import KubernetesError, NotFoundError

LIST = '{"kind": "SeparationJobList", "metadata": {"resourceVersion": "1"}, "items": %s}'

LIST_PATH = separations_path("music")
SONG_PATH = separations_path("music", "song")


@asynccontextmanager
async def client_of(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[KubernetesClient]:
    """Connect to a server that answers every request like this."""
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(application) as server:
        configuration = Configuration()
        configuration.host = str(server.make_url("/"))
        client = KubernetesClient(configuration)
        try:
            yield client
        finally:
            await client.close()


async def listed(body: str) -> list[object]:
    """List SeparationJobs where a proxy answers with this body."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body)

    async with client_of(answer) as client:
        return [item async for page in client.pages(LIST_PATH) for item in page]


@pytest.mark.parametrize("items", ["[]", "null"])
async def test_a_list_may_be_empty(items: str) -> None:
    assert await listed(LIST % items) == []


@pytest.mark.parametrize(
    "body", ["{}", '{"items": []}', '{"metadata": {}}', '{"items": [], "metadata": null}', "[]", '"ok"', "<html>", ""]
)
async def test_what_is_no_list_is_not_taken_for_an_empty_one(body: str) -> None:
    """An empty list means that everything was deleted."""
    with pytest.raises(KubernetesError) as caught:
        await listed(body)
    assert caught.value.retryable


NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
SONG = {"name": "song", "group": GROUP, "kind": PLURAL}


async def refused(status: int, body: str, path: str) -> KubernetesError:
    """Return the error of a read that is answered like this."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with client_of(answer) as client:
        with pytest.raises(KubernetesError) as caught:
            await client.read(path)
    return caught.value


@pytest.mark.parametrize(
    ("path", "details"),
    [
        (SONG_PATH, SONG),
        (SONG_PATH, {"name": "song"}),
        (separations_path("music", "song", "status"), SONG),
        (jobs_path("music", "song"), {"name": "song", "group": "batch", "kind": "jobs"}),
        (pods_path("music", "song"), {"name": "song", "kind": "pods"}),
    ],
)
async def test_an_object_is_absent_if_the_api_server_names_it(path: str, details: dict[str, str]) -> None:
    error = await refused(404, json.dumps({**NOT_FOUND, "details": details}), path)
    assert type(error) is NotFoundError


@pytest.mark.parametrize(
    "body",
    [
        "",
        "404 page not found",
        "<html>",
        "{}",
        json.dumps({"reason": "NotFound", "details": SONG}),
        json.dumps({**NOT_FOUND}),
        json.dumps({**NOT_FOUND, "details": None}),
        json.dumps({**NOT_FOUND, "details": {}}),
        json.dumps({**NOT_FOUND, "reason": "", "details": SONG}),
        json.dumps({**NOT_FOUND, "details": {**SONG, "name": "other"}}),
        json.dumps({**NOT_FOUND, "details": {**SONG, "kind": "jobs"}}),
        json.dumps({**NOT_FOUND, "details": {**SONG, "group": "batch"}}),
        json.dumps({**NOT_FOUND, "details": {"name": "music", "kind": "namespaces"}}),
    ],
)
async def test_no_other_404_means_that_the_object_is_absent(body: str) -> None:
    """A proxy answers it for reasons of its own, an API server where it does not serve the version."""
    error = await refused(404, body, SONG_PATH)
    assert type(error) is KubernetesError
    assert error.status == 404
    assert error.retryable


async def test_a_404_of_a_list_names_no_object() -> None:
    error = await refused(404, json.dumps({**NOT_FOUND, "details": {"group": GROUP, "kind": PLURAL}}), LIST_PATH)
    assert type(error) is KubernetesError
