"""The daily sweep: removes objects that belong to no SeparationJob, and SeparationJobs whose objects are missing."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from stemyard_contract.handover import MANIFEST_FILE, Room
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import separations_path
from stemyard_operator.clients.s3 import MultipartUpload, ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.artifacts import prefix_of
from stemyard_operator.decision.commit_marks import MARK_LIMIT
from stemyard_operator.decision.events import sweep_stopped
from stemyard_operator.errors import (
    ConflictError,
    KubernetesError,
    NotFoundError,
    ObjectStoreError,
    ObjectStoreRefusedError,
    ObjectStoreUnsupportedError,
    OperatorError,
)
from stemyard_operator.maintenance.orphans import STATE_FILE, Comparison, SweepState, seen_before, summary
from stemyard_operator.maintenance.references import References, keys_of_result, readable
from stemyard_operator.maintenance.sweep_scope import Scope, names_namespace, room_in
from stemyard_operator.model.separation import Separation

_UPLOAD_SECONDS: Final = 25 * 3600
"""Age of an upload in parts that was abandoned: the API continues it for 24 hours."""
_STATE_LIMIT: Final = 64 * 1024 * 1024
_SETTLED_SECONDS: Final = 3600
"""A result is checked only after this age."""
_SKEW_SECONDS: Final = 600
"""Difference between clocks that is no reason for doubt."""
_RETRY_BASE: Final = 120.0
"""Pause after a sweep that failed; it doubles with each further failure, up to the next."""
_RETRY_MAX: Final = 3600.0
_REFUSED_LIMIT: Final = 10
"""Prefixes that cannot be removed before a sweep gives up: an object may be locked, a store unavailable."""

log = logging.getLogger(__name__)


class SweepMetrics(Protocol):
    """Counts what sweeps do."""

    def swept(self, *, orphans: int, removed: int, stopped: bool, unwatched: int, refused: int) -> None:
        """Set the figures of the last sweep; count the prefixes that it removed."""

    def sweep_failed(self) -> None:
        """Count an attempt at a sweep that failed."""


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
        self._scope = Scope.of(settings)
        self._state = f"{settings.stemyard_install_id}/{STATE_FILE}"
        self._now = now

    async def run(self) -> None:
        """Sweep forever, if sweeping is enabled; no exception ends it, and with it the leader."""
        failures = 0
        while self._settings.sweep_seconds:
            try:
                pause = await self.once()
                failures = 0
            except Exception as error:
                pause = pause_after(failures, _RETRY_BASE, _RETRY_MAX)
                failures += 1
                self._metrics.sweep_failed()
                unexpected = None if isinstance(error, OperatorError) else error
                log.warning("sweep failed, retrying in %d s: %s", pause, error, exc_info=unexpected)
            await asyncio.sleep(pause)

    async def once(self) -> float:
        """Sweep, if the last sweep is long enough ago; return the seconds until the next.

        Raises:
            OperatorError: a listing or the store failed; nothing is removed on an incomplete listing.
        """
        before = seen_before(await self._objects.get(self._state, _STATE_LIMIT))
        if before and not before.at <= self._now() + _SKEW_SECONDS:
            log.warning("the last sweep has a time in the future, by a clock that was wrong; starting anew")
            before = None
        due = before.at + self._settings.sweep_seconds if before else 0.0
        if before and self._now() < due:
            self._report(before, 0)
            return due - self._now()
        references = await self._list_separations()
        abandoned = await self._abandoned_uploads(references)
        findings = (await self._compare(references)).findings()
        confirmed = await self._without_unwatched(findings.confirmed(before))
        objection = None if self._forced() else findings.objection(confirmed, references)
        log.info("swept", extra={**summary(findings, confirmed), "dry_run": self._settings.sweep_dry_run})
        if not self._settings.sweep_dry_run:
            await self._abort(abandoned)
        removed, refused = frozenset[str](), 0
        if objection is not None:
            await self._post_objection(objection)
        elif not self._settings.sweep_dry_run:
            removed = await self._remove(confirmed)
            refused = len(confirmed - removed)
            await self._delete(findings.hollow)
        state = SweepState(
            at=self._now(),
            orphans=sorted(findings.orphans - removed),
            stopped=objection is not None,
            unwatched=findings.unwatched,
            refused=refused,
        )
        await self._store_state(state)
        self._report(state, len(removed))
        return self._settings.sweep_seconds

    def _report(self, state: SweepState, removed: int) -> None:
        self._metrics.swept(
            orphans=len(state.orphans) + removed,
            removed=removed,
            stopped=state.stopped,
            unwatched=state.unwatched,
            refused=state.refused,
        )

    def _forced(self) -> bool:
        return self._settings.sweep_force == datetime.fromtimestamp(self._now(), UTC).date()

    async def _list_separations(self) -> References:
        references = References(self._scope.install_id, self._scope.api_namespace)
        for namespace in self._settings.namespaces:
            async for page in self._cluster.pages(separations_path(namespace)):
                for resource in page:
                    references.add(resource)
        if references.unreadable:
            log.warning("%d SeparationJobs have an unknown schema, their tracks are kept", references.unreadable)
        return references

    async def _abandoned_uploads(self, references: References) -> list[MultipartUpload]:
        """Return the uploads in parts that have expired; the others count as referenced."""
        try:
            uploads = await self._objects.multipart_uploads(f"{self._scope.install_id}/{Room.UPLOADS}/")
        except (ObjectStoreUnsupportedError, ObjectStoreRefusedError) as error:
            log.warning("uploads in parts cannot be listed; a lifecycle rule may abort abandoned ones: %s", error)
            return []
        abandoned = [upload for upload in uploads if self._now() - upload.at > _UPLOAD_SECONDS]
        for upload in uploads:
            if upload not in abandoned:
                references.add_upload(upload.key)
        return abandoned

    async def _abort(self, uploads: list[MultipartUpload]) -> None:
        for upload in uploads:
            self._fence()
            try:
                await self._objects.abort(upload)
            except ObjectStoreRefusedError as error:
                log.warning("an abandoned upload cannot be aborted: %s", error)
                return
            log.info("aborted an abandoned upload", extra={"prefix": prefix_of(upload.key)})

    async def _compare(self, references: References) -> Comparison:
        comparison = Comparison(references, self._scope)
        async for page in self._objects.pages(f"{self._scope.install_id}/"):
            comparison.add(page)
        return comparison

    async def _without_unwatched(self, prefixes: frozenset[str]) -> frozenset[str]:
        """Return the prefixes but those of the API whose manifest names a namespace that is not watched.

        The API's tracks have no namespace in their keys, and the API may have used another namespace before.
        """
        others = set()
        for prefix in prefixes:
            if room_in(prefix) == Room.STEMS and not names_namespace(prefix):
                manifest = await self._objects.get(prefix + MANIFEST_FILE, MARK_LIMIT)
                if not self._scope.includes_result(manifest):
                    others.add(prefix)
        return prefixes - others

    async def _post_objection(self, objection: str) -> None:
        log.warning("sweep removes nothing: %s; if that is intended, set sweep.force to today's date", objection)
        moment = datetime.fromtimestamp(self._now(), UTC)
        event = sweep_stopped(self._settings.lease_name, self._settings.pod_namespace, objection, moment)
        try:
            await self._cluster.post_event(self._settings.pod_namespace, event)
        except OperatorError as error:
            log.warning("Event not posted: %s", error)

    async def _remove(self, prefixes: frozenset[str]) -> frozenset[str]:
        """Remove the objects below the prefixes; return the prefixes that were removed.

        Raises:
            ObjectStoreError: too many of them cannot be removed.
        """
        refused = set()
        for prefix in sorted(prefixes):
            self._fence()
            try:
                await self._objects.remove(prefix)
            except ObjectStoreError as error:
                refused.add(prefix)
                if len(refused) > _REFUSED_LIMIT:
                    raise
                log.warning("an orphan cannot be removed: %s", error, extra={"prefix": prefix})
            else:
                log.info("removed an orphan", extra={"prefix": prefix})
        return prefixes - refused

    async def _delete(self, hollow: tuple[tuple[str, str], ...]) -> None:
        """Delete SeparationJobs whose stems are confirmed missing, so that the next request separates again."""
        for namespace, name in hollow:
            try:
                separation = readable(
                    await self._cluster.read(separations_path(namespace, name)), self._scope.api_namespace
                )
                if separation is None or not self._is_settled(separation) or not await self._is_missing(separation):
                    continue
                await self._cluster.delete_separation(namespace, name, separation.uid, separation.resource_version)
            except (NotFoundError, ConflictError):
                continue
            except KubernetesError as error:
                log.warning("SeparationJob without stems not deleted: %s", error, extra={"key": f"{namespace}/{name}"})
                continue
            log.warning("deleted SeparationJob, its stems are missing", extra=separation.log_fields)

    def _is_settled(self, separation: Separation) -> bool:
        finished = separation.status.finished_at
        return finished is not None and self._now() - finished.timestamp() > _SETTLED_SECONDS

    async def _is_missing(self, separation: Separation) -> bool:
        """Return whether an object of its result is missing from a store that has our owner object."""
        keys = keys_of_result(separation)
        if not keys or not await self._objects.has_owner():
            return False
        for key in keys:
            if await self._objects.size(key) is None:
                return True
        return False

    async def _store_state(self, state: SweepState) -> None:
        self._fence()
        await self._objects.put(self._state, state.model_dump_json().encode(), "application/json")
