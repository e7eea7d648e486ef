"""Placement: creates the track of an order, or joins the existing one. Create is the lock."""

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Final

from stemyard_api.asgi import trace_annotations
from stemyard_api.clients.kubernetes import AlreadyExistsError, KubernetesClient
from stemyard_api.clients.redis import MirrorEntry, RedisUnavailableError
from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.errors import UnavailableError
from stemyard_api.services.order import Order
from stemyard_api.services.placement_rules import Miss, PlacedTrack, plan_join
from stemyard_api.services.stored_sources import SourceProblem, find_source_problem
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.mirror import AskedRecord, MirrorRecord, record_of

_ATTEMPTS: Final = 8
"""Rounds of read, decide, write; each lost round means that somebody else's write got through."""
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
            UnavailableError: the API server does not answer.
        """
        lack = await find_source_problem(miss.order.spec.source, self.settings, self.object_store)
        return await self._settle(miss.order, miss.reading, lack, now)

    async def _settle(self, order: Order, reading: MirrorEntry, lack: SourceProblem | None, now: float) -> PlacedTrack:
        exists = lack is not None or reading.record is not None
        for _ in range(_ATTEMPTS):
            placed = None if exists else await self._create(order, reading)
            placed = placed or await self._join(order, lack, now)
            if placed is not None:
                return placed
            exists = lack is not None
            await asyncio.sleep(random.uniform(0.0, _PAUSE_SECONDS))
        raise UnavailableError("Too many requests for this track at once; try again.")

    async def _create(self, order: Order, reading: MirrorEntry) -> PlacedTrack | None:
        """Return the new track, or None when there is one already."""
        try:
            resource = await self.kubernetes.create(
                order.manifest(self.settings.stemyard_namespace, trace_annotations())
            )
        except AlreadyExistsError:
            return None
        record = record_of(resource)
        if reading != MirrorEntry():
            # the mirror still tells of a resource that is gone
            await self._note(record)
        return PlacedTrack(record, started=True)

    async def _join(self, order: Order, lack: SourceProblem | None, now: float) -> PlacedTrack | None:
        """Return the existing track with this order in it, or None when it went or changed meanwhile."""
        resource = await self.kubernetes.read(order.name)
        if resource is None:
            if lack is not None:
                raise lack.first
            return None
        plan = plan_join(resource, order, self.settings.default_model, now)
        if plan.runs_again and lack is not None:
            raise lack.again
        if not plan.patch:
            return PlacedTrack(plan.record, started=False)
        patched = await self.kubernetes.patch(order.name, plan.patch)
        if patched is None:
            return None
        record = record_of(patched)
        if plan.runs_again:
            await self._note(record)
        return PlacedTrack(record, started=plan.runs_again)

    async def _note(self, record: MirrorRecord) -> None:
        if self.tracks.redis is None:
            return
        try:
            await self.tracks.redis.put_asked(record.track_id, AskedRecord(uid=record.uid, run=record.run))
        except RedisUnavailableError:
            _log.warning("could not note a new run in the mirror", extra={"track_id": record.track_id})
