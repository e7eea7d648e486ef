"""Placement: gets an order its track, by creating it or by joining the one that exists. Create is the lock."""

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Final

from stemyard_api.asgi import trace_annotations
from stemyard_api.clients.kubernetes import AlreadyExistsError, Cluster
from stemyard_api.clients.redis import Reading, StoreUnavailableError
from stemyard_api.clients.s3 import Objects
from stemyard_api.errors import UnavailableError
from stemyard_api.services.order import Order
from stemyard_api.services.placement_rules import Miss, Placed, decide
from stemyard_api.services.stored_sources import Lack, lack_of
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
    cluster: Cluster
    objects: Objects | None

    async def mirrored(self, order: Order) -> Reading:
        """Return what the mirror says about the track of an order; nothing when it cannot be asked."""
        return await self.tracks.mirrored(order.track_id) or Reading()

    async def write(self, miss: Miss, now: float) -> Placed:
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
        lack = await lack_of(miss.order.spec.source, self.settings, self.objects)
        return await self._settle(miss.order, miss.reading, lack, now)

    async def _settle(self, order: Order, reading: Reading, lack: Lack | None, now: float) -> Placed:
        exists = lack is not None or reading.record is not None
        for _ in range(_ATTEMPTS):
            placed = None if exists else await self._create(order, reading)
            placed = placed or await self._join(order, lack, now)
            if placed is not None:
                return placed
            exists = lack is not None
            await asyncio.sleep(random.uniform(0.0, _PAUSE_SECONDS))
        raise UnavailableError("Too many requests for this track at once; try again.")

    async def _create(self, order: Order, reading: Reading) -> Placed | None:
        """Return the new track, or None when there is one already."""
        try:
            resource = await self.cluster.create(order.manifest(self.settings.stemyard_namespace, trace_annotations()))
        except AlreadyExistsError:
            return None
        record = record_of(resource)
        if reading != Reading():
            # the mirror still tells of a resource that is gone
            await self._note(record)
        return Placed(record, started=True)

    async def _join(self, order: Order, lack: Lack | None, now: float) -> Placed | None:
        """Return the existing track with this order in it, or None when it went or changed meanwhile."""
        resource = await self.cluster.read(order.name)
        if resource is None:
            if lack is not None:
                raise lack.first
            return None
        decision = decide(resource, order, self.settings.default_model, now)
        if decision.runs_again and lack is not None:
            raise lack.again
        if not decision.patch:
            return Placed(decision.record, started=False)
        patched = await self.cluster.patch(order.name, decision.patch)
        if patched is None:
            return None
        record = record_of(patched)
        if decision.runs_again:
            await self._note(record)
        return Placed(record, started=decision.runs_again)

    async def _note(self, record: MirrorRecord) -> None:
        if self.tracks.store is None:
            return
        try:
            await self.tracks.store.note_asked(record.track_id, AskedRecord(uid=record.uid, run=record.run))
        except StoreUnavailableError:
            _log.warning("could not note a new run in the mirror", extra={"track_id": record.track_id})
