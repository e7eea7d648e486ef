"""The daily sweep: removes objects that belong to no SeparationJob, and SeparationJobs whose objects are missing."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from pydantic import ValidationError

from stemyard_contract.object_source import owner_key
from stemyard_operator.clients.kubernetes import KubernetesClient, separations_path
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.events import sweep_stopped
from stemyard_operator.errors import ConflictError, NotFoundError, OperatorError
from stemyard_operator.maintenance.orphans import STATE_FILE, Findings, Kept, seen_before, summary, to_keep
from stemyard_operator.model.separation import Separation, separation_of

_STATE_LIMIT: Final = 64 * 1024 * 1024
_OWNER_LIMIT: Final = 4096
_SETTLED_SECONDS: Final = 3600
"""A result is checked only after this age."""
_RETRY_SECONDS: Final = 600.0
"""Pause after a sweep that failed."""

log = logging.getLogger(__name__)


class SweepMetrics(Protocol):
    """Counts what sweeps do."""

    def swept(self, *, orphans: int, removed: int, stopped: bool) -> None:
        """Count one sweep."""


class Sweeper:
    """Removes only what two complete listings, a day apart, agree on; in doubt it removes nothing.

    What a sweep found is stored in the bucket, so that a restart or a new leader continues from it.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: KubernetesClient,
        objects: ObjectStoreClient,
        fence: Callable[[], None],
        metrics: SweepMetrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._objects = objects
        self._fence = fence
        self._metrics = metrics
        self._install_id = settings.stemyard_install_id
        self._state = f"{settings.stemyard_install_id}/{STATE_FILE}"
        self._now = now

    async def run(self) -> None:
        """Sweep forever, if sweeping is enabled."""
        while self._settings.sweep_seconds:
            try:
                pause = await self.once()
            except OperatorError as error:
                log.warning("sweep failed, retrying in %d s: %s", _RETRY_SECONDS, error)
                pause = _RETRY_SECONDS
            await asyncio.sleep(pause)

    async def once(self) -> float:
        """Sweep, if the last sweep is long enough ago; return the seconds until the next.

        Raises:
            OperatorError: a listing or the store failed; nothing is removed on an incomplete listing.
        """
        before = seen_before(await self._objects.get(self._state, _STATE_LIMIT))
        due = before.at + self._settings.sweep_seconds if before else 0.0
        if self._now() < due:
            return due - self._now()
        kept = await self._list_separations()
        findings = Findings.of(await self._objects.keys(f"{self._install_id}/"), kept, self._install_id)
        confirmed = findings.confirmed(before)
        objection = None if self._forced() else findings.objection(confirmed, kept)
        log.info("swept", extra={**summary(findings, confirmed), "dry_run": self._settings.sweep_dry_run})
        removed: frozenset[str] = frozenset()
        if objection is not None:
            await self._post_objection(objection)
        elif not self._settings.sweep_dry_run:
            removed = await self._remove(confirmed)
            await self._delete(findings.hollow)
        self._metrics.swept(orphans=len(findings.orphans), removed=len(removed), stopped=objection is not None)
        await self._store_state(to_keep(findings, removed, self._now()).model_dump_json().encode())
        return self._settings.sweep_seconds

    def _forced(self) -> bool:
        return self._settings.sweep_force == datetime.fromtimestamp(self._now(), UTC).date()

    async def _list_separations(self) -> Kept:
        kept = Kept()
        for namespace in self._settings.namespaces:
            async for page in self._cluster.pages(separations_path(namespace)):
                for resource in page:
                    try:
                        kept.add(separation_of(resource), self._install_id)
                    except ValidationError as error:
                        name = resource["metadata"]["name"]
                        raise OperatorError(f"{namespace}/{name} has an unknown schema: {error}") from error
        return kept

    async def _post_objection(self, objection: str) -> None:
        log.warning("sweep removes nothing: %s; if that is intended, set sweep.force to today's date", objection)
        moment = datetime.fromtimestamp(self._now(), UTC)
        event = sweep_stopped(self._settings.lease_name, self._settings.pod_namespace, objection, moment)
        try:
            await self._cluster.post_event(self._settings.pod_namespace, event)
        except OperatorError as error:
            log.warning("Event not posted: %s", error)

    async def _remove(self, prefixes: frozenset[str]) -> frozenset[str]:
        for prefix in sorted(prefixes):
            self._fence()
            await self._objects.remove(prefix)
            log.info("removed an orphan", extra={"prefix": prefix})
        return prefixes

    async def _delete(self, hollow: tuple[Separation, ...]) -> None:
        """Delete SeparationJobs whose stems are confirmed missing, so that the next request separates again."""
        for separation in hollow:
            finished = separation.status.finished_at
            settled = finished is not None and self._now() - finished.timestamp() > _SETTLED_SECONDS
            if not settled or not await self._is_missing(separation):
                continue
            name, namespace = separation.name, separation.namespace
            try:
                await self._cluster.delete_separation(namespace, name, separation.uid, separation.resource_version)
            except (NotFoundError, ConflictError):
                continue
            log.warning("deleted SeparationJob, its stems are missing", extra=separation.about)

    async def _is_missing(self, separation: Separation) -> bool:
        """Return whether an object of its result is missing from a store that has our owner file."""
        result = separation.status.result
        if result is None or await self._objects.get(owner_key(self._install_id), _OWNER_LIMIT) is None:
            return False
        for key in (result.manifest_key, *(stem.key for stem in result.stems.values())):
            if await self._objects.size(key) is None:
                return True
        return False

    async def _store_state(self, state: bytes) -> None:
        self._fence()
        await self._objects.put(self._state, state, "application/json")
