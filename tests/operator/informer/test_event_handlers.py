"""Events requeue the separations concerned; the operator's own writes do so with a delay."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.informer.upload_index import UploadIndex
from stemyard_operator.workqueue import WorkQueue
from tests.operator.world import NAMESPACE, START, World

SONG = ("music", "song")


@pytest.fixture
def queue() -> WorkQueue[Key]:
    return WorkQueue()


class Listeners:
    """Records the calls of listeners."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.ended: list[str] = []
        self.lost: list[str] = []
        self.forgotten: list[str] = []
        self.deleted: list[Any] = []


@pytest.fixture
def listeners() -> Listeners:
    return Listeners()


@pytest.fixture
def event_handlers(queue: WorkQueue[Key], listeners: Listeners) -> EventHandlers:
    return EventHandlers(
        ClusterCache(NAMESPACE),
        queue,
        DuplicateIndex("spleeter-2stems", NAMESPACE),
        UploadIndex(NAMESPACE, lambda: START),
        LeaseBook(lambda _: None, lambda: START),
        next_in_line=lambda _: (),
        on_change=listeners.changed.append,
        on_end=(listeners.ended.append,),
        on_lost=listeners.lost.append,
        on_forget=(listeners.forgotten.append,),
        on_delete=(listeners.deleted.append,),
    )


def song(version: int) -> dict[str, Any]:
    metadata = {"namespace": SONG[0], "name": SONG[1], "uid": "a", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "creationTimestamp": "2026-11-22T12:00:00Z"}, "spec": {"run": 1}}


async def test_own_writes_are_requeued_with_a_delay(event_handlers: EventHandlers, queue: WorkQueue[Key]) -> None:
    assert event_handlers.separation(song(version=1), delay=30)
    assert (len(queue), queue.due) == (1, 0)


async def test_external_changes_are_queued_before_own_writes(
    event_handlers: EventHandlers, queue: WorkQueue[Key]
) -> None:
    event_handlers.separation(song(version=1), delay=30)
    event_handlers.separation(song(version=2))
    async with asyncio.timeout(1):
        assert await queue.get() == SONG


async def test_watch_events_of_own_writes_requeue_nothing(event_handlers: EventHandlers, queue: WorkQueue[Key]) -> None:
    event_handlers.separation(song(version=1), delay=30)
    assert not event_handlers.separation(song(version=1))
    assert queue.due == 0


async def test_own_jobs_are_requeued_later_and_their_pods_at_once(
    event_handlers: EventHandlers, queue: WorkQueue[Key]
) -> None:
    world = World()
    world.settle()
    job, owner = world.job(WorkStage.FETCH), world.resource
    event_handlers.separation(owner)
    queue.done(await queue.get())
    event_handlers.job(job, delay=30)
    assert queue.due == 0
    version = str(int(job["metadata"]["resourceVersion"]) + 1)
    metadata = {**job["metadata"], "resourceVersion": version}
    event_handlers.job({**job, "metadata": metadata, "status": {"active": 1, "ready": 1}})
    assert queue.due == 1


async def test_listeners_are_called_once_for_each_change_and_deletion(
    event_handlers: EventHandlers, listeners: Listeners
) -> None:
    event_handlers.separation(song(version=1))
    event_handlers.separation(song(version=1))
    assert listeners.changed == ["a"]
    event_handlers.separation_gone("a")
    assert listeners.forgotten == ["a"]
    assert [last["metadata"]["name"] for last in listeners.deleted] == ["song"]


async def test_listeners_are_notified_of_the_end_of_a_run(event_handlers: EventHandlers, listeners: Listeners) -> None:
    event_handlers.separation(song(version=1))
    assert listeners.ended == []
    event_handlers.separation({**song(version=2), "status": {"run": 1, "finishedAt": "2026-11-22T12:05:00Z"}})
    assert listeners.ended == ["a"]


async def test_the_loss_of_a_namespace_is_notified_and_the_next_in_line_is_requeued(
    event_handlers: EventHandlers, listeners: Listeners, queue: WorkQueue[Key]
) -> None:
    event_handlers.separation(song(version=1))
    queue.done(await queue.get())
    event_handlers.namespace_lost("film")
    assert listeners.lost == []
    replace(event_handlers, next_in_line=lambda _: [("film", "next")]).namespace_lost(SONG[0])
    assert listeners.lost == ["a"]
    assert await queue.get() == ("film", "next")


async def test_an_unknown_deleted_resource_drops_only_data_by_uid(
    event_handlers: EventHandlers, listeners: Listeners, queue: WorkQueue[Key]
) -> None:
    event_handlers.separation_gone("never-seen")
    assert listeners.forgotten == ["never-seen"]
    assert listeners.deleted == []
    assert len(queue) == 0


async def test_one_that_was_not_found_keeps_its_objects_and_comes_back(
    event_handlers: EventHandlers, listeners: Listeners, queue: WorkQueue[Key]
) -> None:
    """One response may be wrong."""
    event_handlers.separation(song(version=1))
    queue.done(await queue.get())
    event_handlers.separation_missing("a")
    assert event_handlers.cluster_cache.entry("a") is None
    assert (listeners.forgotten, listeners.deleted) == (["a"], [])
    queue.done(await queue.get())
    assert event_handlers.separation(song(version=1))
    assert event_handlers.cluster_cache.entry("a") is not None
    assert await queue.get() == SONG


async def test_the_objects_of_one_that_was_not_found_go_when_the_watch_says_that_it_is_deleted(
    event_handlers: EventHandlers, listeners: Listeners
) -> None:
    event_handlers.separation(song(version=1))
    event_handlers.separation_missing("a")
    event_handlers.separation_gone("a", song(version=2))
    assert [last["metadata"]["uid"] for last in listeners.deleted] == ["a"]
    assert not event_handlers.separation(song(version=1))
