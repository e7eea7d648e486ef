"""Placement: creates the track of an order, or joins the existing one. Create is the lock."""

import asyncio
import logging
import random
from dataclasses import dataclass, replace
from typing import Final

from stemyard_api.asgi import trace_annotations
from stemyard_api.clients.kubernetes import AlreadyExistsError, KubernetesClient
from stemyard_api.clients.redis import MirrorEntry, RedisUnavailableError
from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.errors import UnavailableError
from stemyard_api.services.order import Order
from stemyard_api.services.placement_rules import Miss, PlacedTrack, plan_join
from stemyard_api.services.records import read_record
from stemyard_api.services.stored_sources import SourceProblem, find_source_problem, with_name
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.mirror import MirrorRecord, RequestRecord

_ATTEMPTS: Final = 8
"""Maximum attempts to read, decide and write; an attempt fails only if another write succeeded."""
_PAUSE_SECONDS: Final = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placement:
    """Places orders."""

    settings: Settings
    tracks: Tracks
    kubernetes: KubernetesClient
    object_store: ObjectStoreClient | None

    async def mirrored(self, order: Order) -> MirrorEntry:
        """Return the mirror's entry of an order's track; an empty one if the mirror is unavailable."""
        return await self.tracks.mirrored(order.track_id) or MirrorEntry()

    async def write(self, miss: Miss, now: float) -> PlacedTrack:
        """Create, join or rerun the track of an order that the mirror does not answer, and return it.

        Args:
            miss: the order, and what the mirror has about its track.
            now: epoch seconds.

        Raises:
            UploadMissingError, SourceGoneError, ObjectNotFoundError, SourceTooLargeError, SourceDisabledError: its
                upload or object cannot be separated, and there is no result yet.
            NameConflictError, BeingDeletedError: the name is not free.
            UnavailableError: the API server does not respond.
        """
        problem = await find_source_problem(miss.order.spec.source, self.settings, self.object_store)
        return await self._settle(miss.order, miss.reading, problem, now)

    async def _settle(
        self, order: Order, reading: MirrorEntry, problem: SourceProblem | None, now: float
    ) -> PlacedTrack:
        exists = problem is not None or reading.record is not None
        for _ in range(_ATTEMPTS):
            placed = None if exists else await self._create(order, reading)
            placed = placed or await self._join(order, problem, now)
            if placed is not None:
                return placed
            exists = problem is not None
            await asyncio.sleep(random.uniform(0.0, _PAUSE_SECONDS))
        raise UnavailableError("Too many requests for this track at once; try again.")

    async def _create(self, order: Order, reading: MirrorEntry) -> PlacedTrack | None:
        """Return the new track, or None if it exists."""
        source = await with_name(self.tracks.redis, order.spec.source)
        order = replace(order, spec=order.spec.model_copy(update={"source": source}))
        try:
            resource = await self.kubernetes.create(
                order.manifest(self.settings.stemyard_namespace, trace_annotations())
            )
        except AlreadyExistsError:
            return None
        record = read_record(resource)
        if reading != MirrorEntry():
            # the mirror still has the record of a deleted resource
            await self._note(record)
        return PlacedTrack(record, started=True)

    async def _join(self, order: Order, problem: SourceProblem | None, now: float) -> PlacedTrack | None:
        """Return the existing track after joining it, or None if it was deleted or changed meanwhile."""
        resource = await self.kubernetes.read(order.name)
        if resource is None:
            if problem is not None:
                raise problem.first
            return None
        plan = plan_join(resource, order, self.settings.default_model, now)
        if plan.runs_again and problem is not None:
            raise problem.again
        if not plan.patch:
            return PlacedTrack(plan.record, started=False)
        patched = await self.kubernetes.patch(order.name, plan.patch)
        if patched is None:
            return None
        record = read_record(patched)
        if plan.runs_again:
            await self._note(record)
        return PlacedTrack(record, started=plan.runs_again)

    async def _note(self, record: MirrorRecord) -> None:
        if self.tracks.redis is None:
            return
        try:
            await self.tracks.redis.put_request(record.track_id, RequestRecord(uid=record.uid, run=record.run))
        except RedisUnavailableError:
            _log.warning("could not note a new run in the mirror", extra={"track_id": record.track_id})
