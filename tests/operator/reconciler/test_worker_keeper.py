"""Which workers are ended: those that nobody waits for, that get no node, or that keep a song they must drop."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.model.job import Job
from stemyard_operator.reconciler import worker_keeper
from stemyard_operator.reconciler.worker_keeper import WorkerKeeper
from tests.operator.informer.test_lease_book import SHAPE, resource, song, worker
from tests.operator.world import START, settings


@dataclass
class Place:
    """One worker in one namespace, whose song may wait or be held."""

    worker: Job = field(default_factory=lambda: replace(worker(), ready=0))
    now: datetime = START
    book: LeaseBook = field(default_factory=lambda: LeaseBook(lambda _: None, lambda: START))

    def workers(self, namespace: str) -> tuple[Job, ...]:
        return (self.worker,) if namespace == self.worker.namespace else ()

    def ended(self, **changes: Any) -> str:
        nothing: Any = None
        cache: Any = self
        found = WorkerKeeper(settings(**changes), nothing, cache, nothing, self.book, lambda: self.now).useless()
        return found[0][1] if found else ""


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_worker_that_starts_is_left_alone_while_a_song_waits_for_it(place: Place) -> None:
    assert place.ended() == "", "its song may not have been reconciled yet"
    place.now += timedelta(seconds=31)
    assert "no song waits" in place.ended()
    place.book.wait(song(1), SHAPE)
    assert place.ended() == ""


def test_a_worker_that_does_not_start_gives_its_place_back(place: Place) -> None:
    place.book.wait(song(1), SHAPE)
    place.now += timedelta(seconds=1201)
    assert "not started" in place.ended()
    assert place.book.view(song(1), SHAPE, ()).paused_until is not None
    assert place.ended(unscheduled_timeout_seconds=0) == ""
    place.worker = replace(place.worker, queue="gpus", suspended=True)
    assert place.ended() == "", "Kueue decides when it starts"


def test_a_worker_at_work_is_left_alone(place: Place) -> None:
    place.now += timedelta(days=1)
    place.worker = replace(place.worker, ready=1)
    assert place.ended() == "", "an idle one ends by itself"
    place.worker = replace(place.worker, ready=0)
    place.book.learn(resource(song(1), "pod-1"))
    assert place.ended() == "", "its song's decision says whether it is lost"


@pytest.mark.parametrize("over", [{"ended": "Complete"}, {"deleted_at": START}])
def test_a_worker_that_ends_anyway_is_left_alone(place: Place, over: dict[str, Any]) -> None:
    place.now += timedelta(days=1)
    place.worker = replace(place.worker, **over)
    assert place.ended() == ""


def test_a_worker_that_does_not_drop_a_song_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.worker = replace(place.worker, ready=1)
    place.book.called("pod-1", place.worker, holding=["song-1"])
    place.book.learn(resource(song(1), "pod-1"))
    place.book.learn(resource(song(1)))
    assert place.ended() == "", "it has some seconds"
    later: Callable[[Job], float] = lambda _: worker_keeper.DROP_SECONDS + 1  # noqa: E731
    monkeypatch.setattr(place.book, "longest_drop", later)
    assert "does not hold" in place.ended()
