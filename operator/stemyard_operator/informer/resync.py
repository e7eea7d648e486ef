"""The resync: lists every namespace every few minutes, page by page, whatever the watches may have missed."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import jobs_path, separations_path
from stemyard_operator.errors import ConflictError, KubernetesError, NotFoundError, OperatorError
from stemyard_operator.health import Health
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.job_watch import JOB_SELECTOR
from stemyard_operator.model.job import is_orphaned
from stemyard_operator.model.separation import Resource
from stemyard_operator.namespaces import Namespaces

_REFUSALS: Final = frozenset({403, 404})
_PAUSE_BASE: Final = 1.0
_CONCURRENCY: Final = 4
"""Namespaces that are listed at a time, which bounds the memory for untrimmed objects."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resync:
    """Applies what is newer, drops what is gone, and requeues every unfinished SeparationJob.

    Each namespace is listed on its own: one that cannot be listed delays no other, keeps what the cache has of it, and
    is tried again with growing pauses.

    Args:
        cluster: the API server.
        cluster_cache: what is known.
        event_handlers: take what was listed.
        health: records every attempt.
        namespaces: records the result for each namespace.
        lease_held: returns whether this replica leads: only the leader deletes abandoned Jobs.
        report: awaited with a namespace that is refused, and why, at each attempt.
    """

    cluster: KubernetesClient
    cluster_cache: ClusterCache
    event_handlers: EventHandlers
    health: Health
    namespaces: Namespaces
    lease_held: Callable[[], bool]
    report: Callable[[str, str], Awaitable[None]]
    _locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock), init=False)
    _unfinished: set[asyncio.Task[KubernetesError | None]] = field(default_factory=set, init=False)
    """Tasks that nothing waits for: the event loop itself keeps none alive."""
    _limit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONCURRENCY), init=False)

    async def run(self, seconds: float) -> None:
        """Resync each namespace forever, so many seconds apart; sooner where that failed."""
        async with asyncio.TaskGroup() as group:
            for namespace in self.namespaces.ages:
                group.create_task(self._repeat(namespace, seconds))

    async def once(self) -> None:
        """Resync every namespace now.

        Raises:
            KubernetesError: not a single one could be listed; the cache keeps what it has.
        """
        names = list(self.namespaces.ages)
        errors = [error for error in await asyncio.gather(*map(self._attempt, names)) if error is not None]
        if errors and len(errors) == len(names):
            raise errors[0]

    async def first(self) -> None:
        """Resync every namespace; return once one of them was listed, while the others go on.

        Raises:
            KubernetesError: not a single one could be listed.
        """
        attempts = [asyncio.create_task(self._attempt(name), name=f"list {name}") for name in self.namespaces.ages]
        self._unfinished.update(attempts)
        for attempt in attempts:
            attempt.add_done_callback(self._unfinished.discard)
        error = None
        for listed in asyncio.as_completed(attempts):
            error = await listed
            if error is None:
                return
        if error is not None:
            raise error

    async def _repeat(self, namespace: str, seconds: float) -> None:
        failures = 0 if self.namespaces.is_known(namespace) else 1
        while True:
            await asyncio.sleep(min(seconds, pause_after(failures, _PAUSE_BASE, seconds)) if failures else seconds)
            try:
                error = await self._attempt(namespace)
            except Exception as unexpected:
                log.exception("resync failed unexpectedly", extra={"namespace": namespace})
                self.namespaces.failed(namespace, repr(unexpected), refused=False)
                failures += 1
            else:
                failures = 0 if error is None else failures + 1

    async def _attempt(self, namespace: str) -> KubernetesError | None:
        """List one namespace, never twice at a time; return the error if that failed."""
        async with self._locks[namespace], self._limit:
            try:
                await self._list_jobs(namespace)
                await self._list_separations(namespace)
            except KubernetesError as error:
                await self._failed(namespace, error)
                return error
            finally:
                self.health.worked()
        self._listed(namespace)
        return None

    def _listed(self, namespace: str) -> None:
        was_unknown = self.namespaces.listed(namespace)
        self.event_handlers.requeue_all(namespace, finished=was_unknown)

    async def _failed(self, namespace: str, error: KubernetesError) -> None:
        log.warning("resync failed: %s", error, extra={"namespace": namespace})
        refused = error.status in _REFUSALS
        if self.namespaces.failed(namespace, str(error), refused=refused):
            self.event_handlers.namespace_lost(namespace)
        if refused:
            await self.report(namespace, str(error))

    async def _list_separations(self, namespace: str) -> None:
        # cached before the list is read, and not in it: deleted; newer entries are not compared with the list
        unseen, gone = self.cluster_cache.uids(namespace), self.cluster_cache.gone()
        async for page in self.cluster.pages(separations_path(namespace)):
            for resource in page:
                self._seen(resource, unseen, gone)
                _take(self.event_handlers.separation, resource)
        for uid in unseen:
            self.event_handlers.separation_gone(uid)

    async def _list_jobs(self, namespace: str) -> None:
        unseen, gone = self.cluster_cache.job_uids(namespace), self.cluster_cache.gone()
        async for page in self.cluster.pages(jobs_path(namespace), JOB_SELECTOR):
            for resource in page:
                self._seen(resource, unseen, gone)
                _take(self.event_handlers.job, resource)
                if self.lease_held() and is_orphaned(resource):
                    await self._delete(resource)
        for uid in unseen:
            self.event_handlers.job_gone(uid)

    def _seen(self, resource: Resource, unseen: set[str], gone: frozenset[str]) -> None:
        """Note that a list has an object; if it counted as deleted before the list was read, it does no more."""
        uid = resource["metadata"]["uid"]
        unseen.discard(uid)
        if uid in gone:
            self.cluster_cache.revive(uid)

    async def _delete(self, job: Resource) -> None:
        """Delete a Job whose owner is gone, or leave it to the next resync; its pods occupy a node until they end."""
        metadata = job["metadata"]
        try:
            await self.cluster.delete_job(metadata["namespace"], metadata["name"], metadata["uid"])
        except (NotFoundError, ConflictError):
            return
        except OperatorError as error:
            log.warning("an abandoned job could not be deleted: %s", error, extra={"job": metadata["name"]})
            return
        log.warning("deleted an abandoned job", extra={"job": metadata["name"]})


def _take(handle: Callable[[Resource], object], resource: Resource) -> None:
    """Apply an object of a list; one that is broken must not hide the others."""
    try:
        handle(resource)
    except Exception:
        log.exception(
            "an object of a list was not handled, skipping", extra={"object": resource["metadata"].get("name")}
        )
