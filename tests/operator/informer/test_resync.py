"""A list decides what exists, except about what is deleted while it is read."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from stemyard_contract.handover import WorkStage
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.health import Health
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.informer.resync import Resync
from stemyard_operator.informer.upload_index import UploadIndex
from stemyard_operator.namespaces import Namespaces
from stemyard_operator.workqueue import WorkQueue
from tests.operator.world import NAMESPACE, START, World


@pytest.fixture
def deleted() -> list[Any]:
    return []


@pytest.fixture
def event_handlers(deleted: list[Any]) -> EventHandlers:
    queue: WorkQueue[Key] = WorkQueue()
    return EventHandlers(
        ClusterCache(NAMESPACE),
        queue,
        DuplicateIndex("spleeter-2stems", NAMESPACE),
        UploadIndex(NAMESPACE, lambda: START),
        LeaseBook(lambda _: None, lambda: START),
        next_in_line=lambda _: (),
        on_change=lambda _: None,
        on_end=(),
        on_lost=lambda _: None,
        on_forget=(),
        on_delete=(deleted.append,),
    )


async def resync(
    event_handlers: EventHandlers,
    separations: list[Any],
    jobs: list[Any],
    meanwhile: Callable[[str], None] = lambda _: None,
) -> None:
    """List a namespace with these objects; `meanwhile` is called with the kind while each list is read."""

    async def answer(request: web.Request) -> web.Response:
        kind = request.path.rpartition("/")[2]
        meanwhile(kind)
        items = jobs if kind == "jobs" else separations
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": items})

    async def report(_namespace: str, why: str) -> None:
        raise AssertionError(why)

    application, namespaces = web.Application(), Namespaces([NAMESPACE])
    application.router.add_get("/{rest:.*}", answer)
    async with TestServer(application) as server:
        configuration = Configuration()
        configuration.host = str(server.make_url("/"))
        client = KubernetesClient(configuration)
        health, cache = Health(60, namespaces), event_handlers.cluster_cache
        try:
            await Resync(client, cache, event_handlers, health, namespaces, lambda: False, report).once()
        finally:
            await client.close()


@pytest.fixture
def objects() -> tuple[Any, Any]:
    """A SeparationJob and its Job."""
    world = World()
    world.settle()
    return world.resource, world.job(WorkStage.FETCH)


def uid_of(resource: Any) -> str:
    return str(resource["metadata"]["uid"])


async def test_what_a_later_list_has_is_not_gone(event_handlers: EventHandlers, objects: tuple[Any, Any]) -> None:
    separation, job = objects
    event_handlers.separation(separation)
    event_handlers.job(job)
    event_handlers.separation_gone(uid_of(separation))
    event_handlers.job_gone(uid_of(job))
    await resync(event_handlers, [separation], [job])
    assert event_handlers.cluster_cache.entry(uid_of(separation)) is not None
    assert [known.uid for known in event_handlers.cluster_cache.jobs_of(uid_of(separation))] == [uid_of(job)]


async def test_what_was_not_found_is_known_again_once_it_is_listed(
    event_handlers: EventHandlers, objects: tuple[Any, Any], deleted: list[Any]
) -> None:
    separation, _ = objects
    event_handlers.separation(separation)
    event_handlers.separation_missing(uid_of(separation))
    await resync(event_handlers, [separation], [])
    assert event_handlers.cluster_cache.entry(uid_of(separation)) is not None
    assert deleted == []


async def test_what_is_deleted_while_the_list_is_read_stays_gone(
    event_handlers: EventHandlers, objects: tuple[Any, Any]
) -> None:
    separation, job = objects

    def meanwhile(kind: str) -> None:
        if kind == "jobs":
            event_handlers.job_gone(uid_of(job))
        else:
            event_handlers.separation_gone(uid_of(separation))

    event_handlers.separation(separation)
    event_handlers.job(job)
    await resync(event_handlers, [separation], [job], meanwhile)
    assert event_handlers.cluster_cache.entry(uid_of(separation)) is None
    assert event_handlers.cluster_cache.jobs_of(uid_of(separation)) == ()


async def test_what_a_list_lacks_is_deleted_with_its_objects(
    event_handlers: EventHandlers, objects: tuple[Any, Any], deleted: list[Any]
) -> None:
    separation, _ = objects
    event_handlers.separation(separation)
    await resync(event_handlers, [], [])
    assert [uid_of(last) for last in deleted] == [uid_of(separation)]


async def test_a_broken_object_hides_no_other(event_handlers: EventHandlers, objects: tuple[Any, Any]) -> None:
    separation, job = objects
    broken = [
        {**one, "metadata": {**one["metadata"], "name": "x", "uid": "x", "resourceVersion": "?"}} for one in objects
    ]
    await resync(event_handlers, [broken[0], separation], [broken[1], job])
    cache = event_handlers.cluster_cache
    assert cache.uids(NAMESPACE) == {uid_of(separation)}
    assert cache.job_uids(NAMESPACE) == {uid_of(job)}
