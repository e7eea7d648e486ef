"""The sweep: once a day, objects that belong to no SeparationJob go, and SeparationJobs whose objects are gone."""

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
"""A result that is younger is not missed yet."""
_AGAIN_SECONDS: Final = 600.0
"""Pause after a sweep that failed."""

log = logging.getLogger(__name__)


class Told(Protocol):
    """Who counts what a sweep does."""

    def swept(self, *, orphans: int, removed: int, stopped: bool) -> None:
        """Take note of one sweep."""


class Sweeper:
    """Works on whole listings, two of them a day apart, and would rather do nothing than something doubtful.

    What it saw is kept in the bucket, so that neither a restart nor a new leader begins anew.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: KubernetesClient,
        objects: ObjectStoreClient,
        fence: Callable[[], None],
        told: Told,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._objects = objects
        self._fence = fence
        self._told = told
        self._install_id = settings.stemyard_install_id
        self._state = f"{settings.stemyard_install_id}/{STATE_FILE}"
        self.now: Callable[[], float] = time.time

    async def run(self) -> None:
        """Sweep for ever, where sweeping is on."""
        while self._settings.sweep_seconds:
            try:
                pause = await self.once()
            except OperatorError as error:
                log.warning("the sweep failed, again later: %s", error)
                pause = _AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def once(self) -> float:
        """Sweep, if the last time is long enough ago; return the seconds until the next.

        Raises:
            OperatorError: a listing or the store failed; nothing that was not listed completely is judged.
        """
        before = seen_before(await self._objects.get(self._state, _STATE_LIMIT))
        due = before.at + self._settings.sweep_seconds if before else 0.0
        if self.now() < due:
            return due - self.now()
        kept = await self._kept()
        findings = Findings.of(await self._objects.keys(f"{self._install_id}/"), kept, self._install_id)
        going = findings.confirmed(before)
        objection = None if self._forced() else findings.objection(going, kept)
        log.info("swept", extra={**summary(findings, going), "dry_run": self._settings.sweep_dry_run})
        removed: frozenset[str] = frozenset()
        if objection is not None:
            await self._object(objection)
        elif not self._settings.sweep_dry_run:
            removed = await self._remove(going)
            await self._delete(findings.hollow)
        self._told.swept(orphans=len(findings.orphans), removed=len(removed), stopped=objection is not None)
        await self._remember(to_keep(findings, removed, self.now()).model_dump_json().encode())
        return self._settings.sweep_seconds

    def _forced(self) -> bool:
        return self._settings.sweep_force == datetime.fromtimestamp(self.now(), UTC).date()

    async def _kept(self) -> Kept:
        kept = Kept()
        for namespace in self._settings.namespaces:
            async for page in self._cluster.pages(separations_path(namespace)):
                for resource in page:
                    try:
                        kept.add(separation_of(resource), self._install_id)
                    except ValidationError as error:
                        name = resource["metadata"]["name"]
                        raise OperatorError(f"{namespace}/{name} has an unknown form: {error}") from error
        return kept

    async def _object(self, objection: str) -> None:
        log.warning("the sweep removes nothing: %s; if that is right, set sweep.force to today's date", objection)
        moment = datetime.fromtimestamp(self.now(), UTC)
        event = sweep_stopped(self._settings.lease_name, self._settings.pod_namespace, objection, moment)
        try:
            await self._cluster.post_event(self._settings.pod_namespace, event)
        except OperatorError as error:
            log.warning("an Event was not posted: %s", error)

    async def _remove(self, going: frozenset[str]) -> frozenset[str]:
        for prefix in sorted(going):
            self._fence()
            await self._objects.remove(prefix)
            log.info("removed an orphan", extra={"prefix": prefix})
        return going

    async def _delete(self, hollow: tuple[Separation, ...]) -> None:
        """Delete those whose stems are definitely gone, so that whoever asks again gets them made anew."""
        for separation in hollow:
            finished = separation.status.finished_at
            settled = finished is not None and self.now() - finished.timestamp() > _SETTLED_SECONDS
            if not settled or not await self._gone(separation):
                continue
            name, namespace = separation.name, separation.namespace
            try:
                await self._cluster.delete_separation(namespace, name, separation.uid, separation.resource_version)
            except (NotFoundError, ConflictError):
                continue
            log.warning("deleted, its stems are gone from the store", extra=separation.about)

    async def _gone(self, separation: Separation) -> bool:
        """Return whether an object of its result is absent from a store that otherwise answers."""
        result = separation.status.result
        if result is None or await self._objects.get(owner_key(self._install_id), _OWNER_LIMIT) is None:
            return False
        for key in (result.manifest_key, *(stem.key for stem in result.stems.values())):
            if await self._objects.size(key) is None:
                return True
        return False

    async def _remember(self, state: bytes) -> None:
        self._fence()
        await self._objects.put(self._state, state, "application/json")
