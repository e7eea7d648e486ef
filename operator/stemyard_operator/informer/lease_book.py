"""What this process knows of leases: which songs wait for a worker, which pods wait for a song, and which hold one.

Kept in memory only: leases themselves are in the statuses, and what waits comes again.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from stemyard_contract.leasing import SongEnd
from stemyard_contract.separationjob import LeaseStatus
from stemyard_operator.informer.cache_entry import Key, key_of
from stemyard_operator.model.job import Job
from stemyard_operator.model.lease import LeaseOffer, LeaseView
from stemyard_operator.model.separation import Resource, Separation

_REMEMBERED: Final = 1024
"""Pods that are remembered; the one that has not called for longest is forgotten first."""
_Place = tuple[tuple[int, float, str], str]
"""Sort key of a separation, and its uid."""
_Pool = tuple[str, str]
"""Namespace and shape: songs and workers of one pool may meet. A Job of another namespace may state any shape."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A lease as the newest status states it."""

    worker: Key
    """Namespace and name of the worker."""
    pod_uid: str


@dataclass(slots=True)
class _Pod:
    """A worker's pod, as it called the desk."""

    worker: str
    """uid of its Job."""
    called_at: float
    """On the monotonic clock."""
    has_called: bool = False
    """Whether this process received a call of it; else it is known from a status only."""
    started_at: datetime | None = None
    """When its process began, until its first song has ended."""
    free_at: datetime | None = None
    """When the last song that it held ended."""
    dropping: dict[str, float] = field(default_factory=dict)
    """Songs that it holds no longer and has not acknowledged, and since when, on the monotonic clock."""


class LeaseBook:
    """Shared by the desk and the decisions.

    A pod that waits at the desk is offered the first song of its shape; the song is reconciled, and the decision leases
    it by a write of its status, or not.

    Args:
        requeue: queues a SeparationJob, by its uid, to be reconciled now.
        now: the API server's clock.
        pause: returns the seconds until another worker is created, after so many in a row that did not start.
    """

    def __init__(
        self,
        requeue: Callable[[str], None],
        now: Callable[[], datetime],
        pause: Callable[[int], float] = lambda _: 0.0,
    ) -> None:
        self._requeue = requeue
        self._now = now
        self._pause = pause
        self._given_up: dict[_Pool, tuple[int, datetime]] = {}
        """How often in a row workers of a pool did not start, and until when none is created."""
        self._waiting: dict[str, tuple[_Pool, _Place]] = {}
        """Pool and place of each song that waits for a worker, by uid."""
        self._offers: dict[str, tuple[LeaseOffer, asyncio.Future[bool]]] = {}
        self._held: dict[str, _Held] = {}
        self._ends: dict[str, tuple[str, SongEnd]] = {}
        """uid of the pod that reported the end of a song, and its report, by uid of the song."""
        self._pods: dict[str, _Pod] = {}
        self._changed = asyncio.Event()

    # songs

    def wait(self, separation: Separation, shape: str) -> None:
        """Let a song wait for a worker of this shape."""
        pool = separation.namespace, shape
        known, place = self._waiting.get(separation.uid), (pool, (separation.queue_key, separation.uid))
        if known != place:
            self._waiting[separation.uid] = place
            self._wake()

    def leave(self, uid: str) -> None:
        """Let a song wait no longer."""
        if self._waiting.pop(uid, None) is not None:
            self._wake()

    def learn(self, resource: Resource) -> None:
        """Update the lease from the newest state of a SeparationJob."""
        uid, held = resource["metadata"]["uid"], _held(resource)
        before = self._held.pop(uid, None)
        if held is not None:
            self._held[uid] = held
        if before is not None and held != before:
            pod = self._pods.get(before.pod_uid)
            if pod is not None:
                pod.started_at, pod.free_at = None, self._now()
                if uid not in self._ends:
                    pod.dropping[uid] = time.monotonic()
            self._ends.pop(uid, None)
            self._wake()

    def forget(self, uid: str) -> None:
        """Drop a SeparationJob that is gone."""
        self._ends.pop(uid, None)
        self._held.pop(uid, None)
        self.settle(uid, None)
        self.leave(uid)

    def holds(self, uid: str, pod_uid: str) -> bool:
        """Return whether a pod holds a song, as last written."""
        held = self._held.get(uid)
        return held is not None and held.pod_uid == pod_uid

    def held_by(self, pod_uid: str) -> list[str]:
        """Return the uids of the songs that a pod holds."""
        return [uid for uid, held in self._held.items() if held.pod_uid == pod_uid]

    def songs_of(self, worker: Job) -> list[str]:
        """Return the uids of the songs that a change of a worker may concern: those it holds, and the next one."""
        own = [uid for uid, held in self._held.items() if held.worker == (worker.namespace, worker.name)]
        first = self._first(_pool_of(worker))
        return own if first is None else [*own, first]

    def view(self, separation: Separation, shape: str, workers: tuple[Job, ...]) -> LeaseView:
        """Return what is known for a decision about a song, of its shape, and of the workers of its namespace."""
        peers = tuple(job for job in workers if job.shape == shape)
        worker = next((job for job in workers if job.name == separation.run_status.job), None)
        lease, own = separation.run_status.lease, (separation.queue_key, separation.uid)
        pool = separation.namespace, shape
        busy = {held.worker for held in self._held.values()}
        offer = self._offers.get(separation.uid)
        reported = self._ends.get(separation.uid)
        return LeaseView(
            offer=offer[0] if offer is not None else None,
            worker=worker,
            caller=self._caller(worker),
            silent_seconds=self._silent_seconds(lease.pod_uid, worker) if lease is not None and worker else 0,
            reported=reported[1]
            if reported is not None and lease is not None and reported[0] == lease.pod_uid
            else None,
            held_since=self._held_since(lease) if lease is not None else None,
            peers=peers,
            ahead=sum(1 for other, place in self._waiting.values() if place < own and other == pool),
            paused_until=self._given_up[pool][1] if pool in self._given_up else None,
            free=sum(1 for job in peers if _may_take(job) and (job.namespace, job.name) not in busy),
        )

    # workers

    def is_busy(self, worker: Job) -> bool:
        """Return whether a worker holds a song."""
        return any(held.worker == (worker.namespace, worker.name) for held in self._held.values())

    def is_wanted(self, worker: Job) -> bool:
        """Return whether a song waits for a worker like this one."""
        return any(pool == _pool_of(worker) for pool, _ in self._waiting.values())

    def longest_drop(self, worker: Job) -> float:
        """Return for how many seconds a worker has gone on with a song that it does not hold any more, 0 if it has not.

        So much may be between its end, or its cancellation, and the next call of the pod.
        """
        begun = [at for pod in self._pods.values() if pod.worker == worker.uid for at in pod.dropping.values()]
        return time.monotonic() - min(begun) if begun else 0.0

    def give_up(self, worker: Job) -> None:
        """Create no worker like this one for a while: it has not started in time."""
        pool = _pool_of(worker)
        times = 1 + (self._given_up[pool][0] if pool in self._given_up else 0)
        self._given_up[pool] = (times, self._now() + timedelta(seconds=self._pause(times)))

    # pods

    def called(
        self, pod_uid: str, worker: Job, starting_seconds: float | None = None, holding: Iterable[str] | None = None
    ) -> None:
        """Note that a pod of a worker called the desk.

        Args:
            pod_uid: uid of the pod.
            worker: its Job.
            starting_seconds: age of its process, if it has got no song yet.
            holding: uids of the songs that it goes on with, if it states them.
        """
        self._given_up.pop(_pool_of(worker), None)
        pod = self._pods.pop(pod_uid, None) or _Pod(worker.uid, 0)
        pod.called_at, pod.has_called = time.monotonic(), True
        if starting_seconds is not None and pod.free_at is None and pod.started_at is None:
            pod.started_at = datetime.fromtimestamp(self._now().timestamp() - starting_seconds, self._now().tzinfo)
        if holding is not None:
            pod.dropping = {uid: at for uid, at in pod.dropping.items() if uid in set(holding)}
        self._pods[pod_uid] = pod
        while len(self._pods) > _REMEMBERED:
            del self._pods[next(iter(self._pods))]

    def report_end(self, uid: str, pod_uid: str, end: SongEnd) -> None:
        """Keep what a pod reported of the end of a song that it holds, and reconcile the song."""
        self._ends[uid] = (pod_uid, end)
        self._requeue(uid)

    def offer(self, offer: LeaseOffer) -> "tuple[str, asyncio.Future[bool]] | None":
        """Offer a pod to the first song of its namespace and shape; None if no song waits.

        Returns its uid, and a future of whether it was leased to the pod.
        """
        uid = self._first(_pool_of(offer.worker))
        if uid is None:
            return None
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._offers[uid] = (offer, taken)
        taken.add_done_callback(lambda _: self._withdraw(uid, offer))
        self._requeue(uid)
        return uid, taken

    def settle(self, uid: str, lease: LeaseStatus | None) -> None:
        """Note that a decision about a song was applied, and the lease that it wrote."""
        known = self._offers.pop(uid, None)
        if known is not None and not known[1].done():
            known[1].set_result(lease is not None and lease.pod_uid == known[0].pod_uid)

    async def change(self, seconds: float) -> None:
        """Wait until a song waits, or a lease has ended, for at most so many seconds."""
        event = self._changed
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return

    def _withdraw(self, uid: str, offer: LeaseOffer) -> None:
        known = self._offers.get(uid)
        if known is not None and known[0] is offer:
            del self._offers[uid]

    def _first(self, pool: _Pool) -> str | None:
        places = (place for uid, (own, place) in self._waiting.items() if own == pool and uid not in self._offers)
        first = min(places, default=None)
        return None if first is None else first[1]

    def _caller(self, worker: Job | None) -> str:
        if worker is None:
            return ""
        own = (uid for uid, pod in reversed(self._pods.items()) if pod.worker == worker.uid and pod.has_called)
        return next(own, "")

    def _silent_seconds(self, pod_uid: str, worker: Job) -> float:
        """Return the seconds since a pod called; the first question counts as a call, as after a change of leaders."""
        pod = self._pods.setdefault(pod_uid, _Pod(worker.uid, time.monotonic()))
        return time.monotonic() - pod.called_at

    def _held_since(self, lease: LeaseStatus) -> datetime:
        pod = self._pods.get(lease.pod_uid)
        if pod is None:
            return lease.since
        return pod.started_at or max(lease.since, pod.free_at or lease.since)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _held(resource: Mapping[str, Any]) -> _Held | None:
    status = resource.get("status") or {}
    lease, run = status.get("lease"), resource["spec"].get("run") or 1
    over = status.get("finishedAt") or "deletionTimestamp" in resource["metadata"]
    if not lease or over or (status.get("run") or 1) < run:
        return None
    return _Held((key_of(resource)[0], status.get("job") or ""), lease["podUid"])


def _pool_of(worker: Job) -> _Pool:
    return worker.namespace, worker.shape


def _may_take(job: Job) -> bool:
    return job.live and job.deleted_at is None
