"""Events requeue the separations concerned; the operator's own writes do so with a delay."""

import asyncio
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.workqueue import WorkQueue
from tests.operator.world import World

SONG = ("music", "song")


@pytest.fixture
def queue() -> WorkQueue[Key]:
    return WorkQueue()


class Listeners:
    """Records what listeners are called with."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.forgotten: list[str] = []
        self.deleted: list[Any] = []


@pytest.fixture
def listeners() -> Listeners:
    return Listeners()


@pytest.fixture
def event_handlers(queue: WorkQueue[Key], listeners: Listeners) -> EventHandlers:
    return EventHandlers(
        ClusterCache(),
        queue,
        DuplicateIndex("spleeter-2stems"),
        next_in_line=lambda _: (),
        on_change=listeners.changed.append,
        on_forget=(listeners.forgotten.append,),
        on_delete=(listeners.deleted.append,),
    )


def song(version: int) -> dict[str, Any]:
    metadata = {"namespace": SONG[0], "name": SONG[1], "uid": "a", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "creationTimestamp": "2026-11-22T12:00:00Z"}, "spec": {"run": 1}}


async def test_what_we_wrote_is_decided_about_later(event_handlers: EventHandlers, queue: WorkQueue[Key]) -> None:
    assert event_handlers.separation(song(version=1), delay=30)
    assert (len(queue), queue.due) == (1, 0)


async def test_news_comes_before_what_we_wrote(event_handlers: EventHandlers, queue: WorkQueue[Key]) -> None:
    event_handlers.separation(song(version=1), delay=30)
    event_handlers.separation(song(version=2))
    async with asyncio.timeout(1):
        assert await queue.get() == SONG


async def test_the_watch_repeats_what_we_wrote_and_wakes_nobody(
    event_handlers: EventHandlers, queue: WorkQueue[Key]
) -> None:
    event_handlers.separation(song(version=1), delay=30)
    assert not event_handlers.separation(song(version=1))
    assert queue.due == 0


async def test_a_job_we_made_is_decided_about_later_and_its_pod_at_once(
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


async def test_of_an_unknown_deleted_one_only_what_is_kept_by_uid_is_dropped(
    event_handlers: EventHandlers, listeners: Listeners, queue: WorkQueue[Key]
) -> None:
    event_handlers.separation_gone("never-seen")
    assert listeners.forgotten == ["never-seen"]
    assert listeners.deleted == []
    assert len(queue) == 0
