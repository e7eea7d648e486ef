"""Songs that wait for workers, pods that wait for songs: order, offers, ends, and the time a device is held."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.leasing import SongEnd
from stemyard_contract.separationjob import LeaseStatus
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.model.job import Job
from stemyard_operator.model.lease import LeaseOffer
from stemyard_operator.model.separation import Separation
from tests.operator.world import NAMESPACE, START, World, stamp

SHAPE = "0123456789"


def worker(number: int = 1, shape: str = SHAPE) -> Job:
    return Job(
        name=f"stemyard-worker-{shape}-{number}",
        namespace=NAMESPACE,
        uid=f"worker-{shape}-{number}",
        owner="",
        resource_version=1,
        stage=WorkStage.SEPARATE,
        run=0,
        attempt=number,
        created=START,
        since=START,
        ready=1,
        shape=shape,
    )


def song(number: int, priority: int = 0) -> Separation:
    first = World().separation
    spec = first.spec.model_copy(update={"priority": priority})
    return replace(first, uid=f"song-{number}", spec=spec, created=START + timedelta(seconds=number))


def resource(of: Separation, pod: str = "", job: Job | None = None, **status: Any) -> dict[str, Any]:
    metadata = {"name": of.name, "namespace": of.namespace, "uid": of.uid}
    held = {"podUid": pod, "since": stamp(START), "attempt": 1}
    written = {"run": 1, **({"lease": held, "job": (job or worker()).name} if pod else {}), **status}
    return {"metadata": metadata, "spec": {"run": 1}, "status": written}


def leased(of: Separation, pod: str, job: Job | None = None) -> Separation:
    lease = LeaseStatus(pod_uid=pod, since=START, attempt=1)
    status = of.status.model_copy(update={"run": 1, "lease": lease, "job": (job or worker()).name})
    return replace(of, status=status)


@dataclass
class Desk:
    """A book, and the songs that it has requeued."""

    requeued: list[str] = field(default_factory=list)
    now: datetime = START

    def __post_init__(self) -> None:
        self.book = LeaseBook(self.requeued.append, lambda: self.now)

    def offer(self, pod: str = "pod-1", job: Job | None = None) -> "asyncio.Future[bool] | None":
        found = self.book.offer(LeaseOffer(job or worker(), pod, f"{pod}-name"))
        return found[1] if found is not None else None


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_pod_is_offered_to_the_first_in_the_queue(desk: Desk) -> None:
    for one in (song(2), song(1), song(3, priority=1)):
        desk.book.wait(one, SHAPE)
    for pod in ("a", "b", "c"):
        assert desk.offer(pod) is not None
    assert desk.requeued == ["song-3", "song-1", "song-2"]
    assert desk.offer("d") is None


async def test_shapes_do_not_mix(desk: Desk) -> None:
    desk.book.wait(song(1), "other")
    assert desk.offer() is None
    assert desk.offer(job=worker(shape="other")) is not None


async def test_an_offer_is_taken_by_a_write_to_that_pod_alone(desk: Desk) -> None:
    desk.book.wait(song(1), SHAPE)
    for pod, taken in (("pod-1", True), ("pod-2", False)):
        offered = desk.offer()
        assert offered is not None
        assert desk.book.view(song(1), SHAPE, (worker(),)).offer is not None
        desk.book.settle("song-1", LeaseStatus(pod_uid=pod, since=START, attempt=1))
        assert await offered is taken
        assert desk.book.view(song(1), SHAPE, (worker(),)).offer is None


async def test_an_offer_that_is_given_up_is_no_offer_any_more(desk: Desk) -> None:
    desk.book.wait(song(1), SHAPE)
    offered = desk.offer()
    assert offered is not None
    offered.cancel()
    await asyncio.sleep(0)
    assert desk.book.view(song(1), SHAPE, (worker(),)).offer is None
    assert desk.offer() is not None


async def test_a_deleted_song_takes_no_offer(desk: Desk) -> None:
    desk.book.wait(song(1), SHAPE)
    offered = desk.offer()
    assert offered is not None
    desk.book.forget("song-1")
    assert await offered is False
    assert desk.offer() is None


async def test_a_pod_that_waits_is_woken_by_a_song(desk: Desk) -> None:
    waiting = asyncio.create_task(desk.book.change(30))
    await asyncio.sleep(0)
    desk.book.wait(song(1), SHAPE)
    async with asyncio.timeout(1):
        await waiting


async def test_a_pod_does_not_wait_for_ever(desk: Desk) -> None:
    async with asyncio.timeout(5):
        await desk.book.change(0.01)


def test_a_song_knows_its_place_and_the_workers_without_a_song(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.book.wait(song(number), SHAPE)
    desk.book.wait(song(0), "other")
    desk.book.learn(resource(song(9), "pod-2", worker(2)))
    ended = replace(worker(3), ended="Complete")
    going = replace(worker(4), deleted_at=START)
    view = desk.book.view(song(3), SHAPE, (worker(1), worker(2), ended, going, worker(shape="other")))
    assert (view.ahead, view.free, len(view.peers)) == (2, 1, 4)


@pytest.mark.parametrize("over", [{"finishedAt": stamp(START)}, {"lease": None}])
def test_a_lease_lasts_until_the_status_says_otherwise(desk: Desk, over: dict[str, Any]) -> None:
    desk.book.learn(resource(song(1), "pod-1"))
    assert desk.book.holds("song-1", "pod-1")
    assert not desk.book.holds("song-1", "pod-2")
    assert desk.book.held_by("pod-1") == ["song-1"]
    desk.book.learn(resource(song(1), "pod-1", **over))
    assert not desk.book.holds("song-1", "pod-1")


def test_a_lease_of_an_earlier_run_is_none(desk: Desk) -> None:
    again = resource(song(1), "pod-1")
    again["spec"]["run"] = 2
    desk.book.learn(again)
    assert not desk.book.holds("song-1", "pod-1")


def test_an_end_is_what_the_pod_that_holds_the_song_says(desk: Desk) -> None:
    end = SongEnd(uid="song-1", run=1, outcome=Outcome(stage=WorkStage.SEPARATE))
    desk.book.learn(resource(song(1), "pod-1"))
    desk.book.report_end("song-1", "pod-1", end)
    assert desk.requeued == ["song-1"]
    assert desk.book.view(leased(song(1), "pod-1"), SHAPE, (worker(),)).reported == end
    assert desk.book.view(leased(song(1), "pod-2"), SHAPE, (worker(),)).reported is None
    desk.book.learn(resource(song(1), "pod-2"))
    assert desk.book.view(leased(song(1), "pod-1"), SHAPE, (worker(),)).reported is None


def test_a_change_of_a_worker_concerns_its_songs_and_the_next(desk: Desk) -> None:
    desk.book.learn(resource(song(1), "pod-1"))
    desk.book.learn(resource(song(2), "pod-2", worker(2)))
    for number in (3, 4):
        desk.book.wait(song(number), SHAPE)
    assert desk.book.songs_of(worker(1)) == ["song-1", "song-3"]


def test_the_pod_that_called_last_is_known(desk: Desk) -> None:
    def caller() -> str:
        return desk.book.view(leased(song(1), "pod-1"), SHAPE, (worker(),)).caller

    assert caller() == "", "asking how long a pod is silent is no call of it"
    desk.book.called("pod-1", worker())
    assert caller() == "pod-1"
    desk.book.called("pod-2", worker())
    desk.book.called("pod-3", worker(2))
    assert caller() == "pod-2"


def test_the_first_song_of_a_worker_pays_for_its_start_and_each_other_for_itself(desk: Desk) -> None:
    def since(number: int) -> datetime | None:
        return desk.book.view(leased(song(number), "pod-1"), SHAPE, (worker(),)).held_since

    desk.now = START + timedelta(seconds=7)
    desk.book.called("pod-1", worker(), 5)
    for number in (1, 2):
        desk.book.learn(resource(song(number), "pod-1"))
    assert since(1) == START + timedelta(seconds=2)
    desk.now = START + timedelta(seconds=60)
    desk.book.learn(resource(song(1)))
    assert since(2) == START + timedelta(seconds=60)
    desk.book.called("pod-1", worker(), 99)
    assert since(2) == START + timedelta(seconds=60)


def test_a_pod_must_drop_a_song_that_it_holds_no_longer(desk: Desk) -> None:
    desk.book.called("pod-1", worker(), holding=["song-1", "song-2"])
    for number in (1, 2):
        desk.book.learn(resource(song(number), "pod-1"))
    assert desk.book.longest_drop(worker()) == 0
    desk.book.learn(resource(song(1)))
    assert desk.book.longest_drop(worker()) > 0
    desk.book.called("pod-1", worker())
    assert desk.book.longest_drop(worker()) > 0
    desk.book.called("pod-1", worker(), holding=["song-2"])
    assert desk.book.longest_drop(worker()) == 0


def test_a_song_that_ended_need_not_be_dropped(desk: Desk) -> None:
    desk.book.called("pod-1", worker())
    desk.book.learn(resource(song(1), "pod-1"))
    desk.book.report_end("song-1", "pod-1", SongEnd(uid="song-1", run=1, outcome=Outcome(stage=WorkStage.SEPARATE)))
    desk.book.learn(resource(song(1)))
    assert desk.book.longest_drop(worker()) == 0


async def test_a_worker_of_another_namespace_that_states_the_shape_meets_no_song(desk: Desk) -> None:
    stranger = replace(worker(), namespace="other", uid="stranger")
    desk.book.wait(song(1), SHAPE)
    assert desk.offer("pod-x", stranger) is None
    assert not desk.book.is_wanted(stranger)
    desk.book.give_up(stranger)
    assert desk.book.view(song(1), SHAPE, ()).paused_until is None
    assert desk.book.songs_of(stranger) == []
    assert desk.offer() is not None


def test_a_song_that_is_being_deleted_is_held_no_more() -> None:
    """Somebody's finalizer may keep it, and its worker would wait for the end of the lease."""
    book = LeaseBook(lambda _: None, lambda: START)
    held = resource(song(1), "pod-1")
    book.learn(held)
    assert book.held_by("pod-1") == ["song-1"]
    book.learn({**held, "metadata": {**held["metadata"], "deletionTimestamp": stamp(START)}})
    assert book.held_by("pod-1") == []


def test_no_worker_is_created_for_a_while_after_one_did_not_start() -> None:
    book = LeaseBook(lambda _: None, lambda: START, lambda times: 60.0 * times)

    def paused() -> datetime | None:
        return book.view(song(1), SHAPE, ()).paused_until

    assert paused() is None
    for minutes in (1, 2):
        book.give_up(worker())
        assert paused() == START + timedelta(minutes=minutes)
    assert book.view(song(1), "other", ()).paused_until is None
    assert book.view(replace(song(1), namespace="other"), SHAPE, ()).paused_until is None
    book.called("pod-1", worker())
    assert paused() is None


def test_a_new_leader_counts_from_the_lease(desk: Desk) -> None:
    assert desk.book.view(leased(song(1), "pod-1"), SHAPE, (worker(),)).held_since == START
