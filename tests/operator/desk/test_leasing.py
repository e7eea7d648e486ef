"""What a worker is answered: nothing for another shape or one that ends, and its idle time is bounded."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from stemyard_contract.leasing import LeaseRequest
from stemyard_operator.desk import leasing
from stemyard_operator.desk.authentication import Caller
from stemyard_operator.desk.leasing import Leasing
from stemyard_operator.errors import DeskError
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.model.job import Job
from tests.operator.informer.test_lease_book import SHAPE, song, worker
from tests.operator.world import START, settings


@dataclass
class Place:
    """One worker, and a song that waits for it."""

    job: Job

    def __post_init__(self) -> None:
        self.requeued: list[str] = []
        self.idle: list[tuple[str, float, int]] = []
        self.connected = True
        self.book = LeaseBook(self.requeued.append, lambda: START)
        self.book.wait(song(1), SHAPE)

    def workers(self, namespace: str, shape: str) -> tuple[Job, ...]:
        return (self.job,) if (namespace, shape) == (self.job.namespace, self.job.shape) else ()

    async def ask(self, shape: str = SHAPE, **request: Any) -> object:
        cache: Any = self
        desk = Leasing(self.book, cache, settings(), lambda *idle: self.idle.append(idle))
        caller = Caller("pod-1", self.job, "", "pod")
        return await desk.answer(caller, LeaseRequest(shape=shape, **request), lambda: self.connected)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(leasing, "LEASE_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(leasing, "_WRITE_SECONDS", 0.05)
    return Place(replace(worker(), profile="default"))


async def test_a_pod_that_waits_is_offered_to_the_song(place: Place) -> None:
    assert await place.ask() is None, "nothing has written the lease"
    assert place.requeued == ["song-1"]


async def test_a_pod_of_another_shape_is_told_to_end(place: Place) -> None:
    with pytest.raises(DeskError) as refused:
        await place.ask(shape="other")
    assert refused.value.status == 409


@pytest.mark.parametrize("end", [{"deleted_at": START}, {"ended": "Failed"}])
async def test_a_worker_that_ends_gets_no_song(place: Place, end: dict[str, Any]) -> None:
    place.job = replace(place.job, **end)
    assert await place.ask() is None
    assert place.requeued == []


async def while_it_waits(place: Place, change: Callable[[], None]) -> None:
    """Let a change happen, and then a song wait, while a worker waits at the desk."""
    place.book.leave("song-1")
    waiting = asyncio.create_task(place.ask())
    await asyncio.sleep(0.01)
    change()
    place.book.wait(song(2), SHAPE)
    assert await waiting is None


async def test_a_pod_that_is_gone_is_offered_no_song(place: Place) -> None:
    """Its process was killed while it waited: its song would be disrupted a second time."""
    await while_it_waits(place, lambda: setattr(place, "connected", False))
    assert place.requeued == []


async def test_a_worker_that_ends_while_it_waits_gets_no_song(place: Place) -> None:
    await while_it_waits(place, lambda: setattr(place, "job", replace(place.job, deleted_at=START)))
    assert place.requeued == []


async def test_a_worker_that_waits_is_offered_a_later_song(place: Place) -> None:
    await while_it_waits(place, lambda: None)
    assert place.requeued == ["song-2"]


async def test_a_worker_that_only_reports_gets_no_song(place: Place) -> None:
    assert await place.ask(wanted=False) is None
    assert place.requeued == []


async def test_a_worker_cannot_claim_more_idle_time_than_passes_between_calls(place: Place) -> None:
    await place.ask(wanted=False, idle_seconds=2)
    await place.ask(wanted=False, idle_seconds=1e9)
    assert place.idle == [("default", 2, 0), ("default", 60.0, 0)]


async def test_the_idle_time_of_an_unknown_profile_is_no_label(place: Place) -> None:
    place.job = replace(place.job, profile="anything")
    await place.ask(wanted=False, idle_seconds=2)
    assert place.idle == []
