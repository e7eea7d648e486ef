"""Leases songs to the pods of workers. A lease is the status write that the song's own reconcile makes."""

import asyncio
from collections.abc import Callable
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Assignment, WorkStage
from stemyard_contract.leasing import LEASE_LOST, LEASE_WAIT_SECONDS, LeaseRequest, SongEnd
from stemyard_operator.config.settings import Settings
from stemyard_operator.desk.authentication import Caller
from stemyard_operator.errors import DeskError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.jobs.manifest import assignment
from stemyard_operator.model.lease import LeaseOffer
from stemyard_operator.model.separation import source_mark_of

_WRITE_SECONDS: Final = 6.0
"""How long a status write is waited for."""
_MOST_IDLE_SECONDS: Final = 60.0
"""Most that one request may add: a waiting worker sends one every few seconds."""
_MOST_WAITING: Final = 256
"""Maximum pods that wait for a song; the requests of others are answered at once, without one."""


class Leasing:
    """Answers workers that ask for a song and report ends; used by the leader only.

    `on_idle` is called with a profile, the seconds that one of its workers says it spent without a song, and its GPUs.
    """

    def __init__(
        self,
        leases: LeaseBook,
        cluster_cache: ClusterCache,
        settings: Settings,
        on_idle: Callable[[str, float, int], None],
    ) -> None:
        self._leases = leases
        self._on_idle = on_idle
        self._cluster_cache = cluster_cache
        self._settings = settings
        self._waiting = 0

    async def answer(
        self, caller: Caller, request: LeaseRequest, is_connected: Callable[[], bool]
    ) -> Assignment | None:
        """Record the ends that a worker reports, and return the next song for it, None if there is none.

        `is_connected` returns whether the worker still waits for the answer.

        Raises:
            DeskError: 409 if its shape is another, 503 if the ends are not recorded yet: the request is to be repeated.
        """
        if request.shape != caller.job.shape:
            raise DeskError(LEASE_LOST, FailureCode.LINK_REFUSED, f"This worker's shape is {caller.job.shape}.")
        self._leases.called(caller.pod_uid, caller.job, request.starting_seconds, request.holding)
        self._count_idle(caller, request.idle_seconds)
        await self._record(caller, request.ended)
        if not request.wanted or self._is_ending(caller):
            return None
        return self._forgotten(caller, request) or await self._next(caller, is_connected)

    def _is_ending(self, caller: Caller) -> bool:
        """Return whether the worker is known to end: its pod, which may not know yet, gets no song."""
        known = self._cluster_cache.workers(caller.job.namespace, caller.job.shape)
        return any(job.uid == caller.job.uid and (job.deleted_at is not None or not job.live) for job in known)

    def _count_idle(self, caller: Caller, seconds: float) -> None:
        """Count the idle time of a worker, of which one call adds at most a minute."""
        profile = self._settings.profiles.get(caller.job.profile)
        if profile is not None:
            gpus = profile.separate.gpu.count if profile.separate.gpu is not None else 0
            self._on_idle(caller.job.profile, min(seconds, _MOST_IDLE_SECONDS), gpus)

    async def _record(self, caller: Caller, ends: list[SongEnd]) -> None:
        """Wait until the statuses say that these songs have ended; what the pod does not hold has ended already."""
        for end in ends:
            if self._holds(caller, end.uid):
                self._leases.report_end(end.uid, caller.pod_uid, end)
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                while any(self._holds(caller, end.uid) for end in ends):
                    await self._leases.change(_WRITE_SECONDS)
        except TimeoutError:
            raise DeskError(503, FailureCode.UNAVAILABLE, "The end of a song is not recorded yet.", 1) from None

    def _holds(self, caller: Caller, uid: str) -> bool:
        return self._leases.holds(uid, caller.pod_uid)

    def _forgotten(self, caller: Caller, request: LeaseRequest) -> Assignment | None:
        """Return a song that is leased to the pod although it does not know: the answer was lost."""
        known = {*request.holding, *(end.uid for end in request.ended)}
        for uid in self._leases.held_by(caller.pod_uid):
            if uid not in known:
                found = self._assignment(caller, uid)
                if found is not None:
                    return found
        return None

    async def _next(self, caller: Caller, is_connected: Callable[[], bool]) -> Assignment | None:
        """Wait for a song that can be leased to the pod."""
        if self._waiting >= _MOST_WAITING:
            return None
        self._waiting += 1
        try:
            return await self._wait(caller, is_connected)
        finally:
            self._waiting -= 1

    async def _wait(self, caller: Caller, is_connected: Callable[[], bool]) -> Assignment | None:
        loop, offer = asyncio.get_running_loop(), LeaseOffer(caller.job, caller.pod_uid, caller.pod_name)
        until = loop.time() + LEASE_WAIT_SECONDS
        while (left := until - loop.time()) > 0:
            if self._is_ending(caller) or not is_connected():  # a pod that is gone would lose the song once more
                return None
            offered = self._leases.offer(offer)
            if offered is None:
                await self._leases.change(left)
                continue
            uid, taken = offered
            found = self._assignment(caller, uid) if await _result(taken) else None
            if found is not None:
                return found
        return None

    def _assignment(self, caller: Caller, uid: str) -> Assignment | None:
        """Return what a pod has to do for a song of its namespace that it holds; None if it holds it no longer."""
        separation = self._cluster_cache.readable(uid)
        lease = separation.run_status.lease if separation is not None else None
        if separation is None or lease is None or lease.pod_uid != caller.pod_uid:
            return None
        if separation.namespace != caller.job.namespace:
            return None
        return assignment(separation, WorkStage.SEPARATE, self._settings, source_mark_of(separation.run_status))


async def _result(taken: "asyncio.Future[bool]") -> bool:
    """Return whether a song was leased to the pod that it was offered to; not, if its write takes too long."""
    try:
        async with asyncio.timeout(_WRITE_SECONDS):
            return await taken
    except TimeoutError:
        return False
