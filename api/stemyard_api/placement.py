"""Placement: gets an order its track, by creating it or by joining the one that exists. Create is the lock."""

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Final

from stemyard_api.admission import answers_from_mirror, decide
from stemyard_api.cluster import AlreadyExistsError, Cluster
from stemyard_api.errors import MisconfiguredError, SourceGoneError, UnavailableError, UploadMissingError
from stemyard_api.objects import Objects
from stemyard_api.settings import Settings
from stemyard_api.store import Reading, StoreUnavailableError
from stemyard_api.submission import Order
from stemyard_api.tracks import Tracks
from stemyard_contract.identity import upload_key
from stemyard_contract.mirror import AskedRecord, MirrorRecord, record_of
from stemyard_contract.separationjob import UploadSource

_ATTEMPTS: Final = 8
"""Rounds of read, decide, write; each lost round means that somebody else's write got through."""
_PAUSE_SECONDS: Final = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """The track that answers an order, and whether this order started the run that it tells of."""

    record: MirrorRecord
    started: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """Places orders."""

    settings: Settings
    tracks: Tracks
    cluster: Cluster
    objects: Objects | None

    async def place(self, order: Order, now: float) -> Placed:
        """Return the track that answers an order, created, run again or joined as the rules say.

        Args:
            order: what is asked for.
            now: epoch seconds.

        Raises:
            UploadMissingError, SourceGoneError: its upload is not there.
            NameConflictError, BeingDeletedError: the name is not free.
            UnavailableError: the API server does not answer.
        """
        reading = await self.tracks.mirrored(order.track_id) or Reading()
        record = reading.current
        if record is not None and answers_from_mirror(record, order, now):
            return Placed(record, started=False)
        source_gone = not await self._source_present(order)
        return await self._settle(order, reading, source_gone, now)

    async def _settle(self, order: Order, reading: Reading, source_gone: bool, now: float) -> Placed:
        exists = source_gone or reading.record is not None
        for _ in range(_ATTEMPTS):
            placed = None if exists else await self._create(order, reading)
            placed = placed or await self._join(order, source_gone, now)
            if placed is not None:
                return placed
            exists = source_gone
            await asyncio.sleep(random.uniform(0.0, _PAUSE_SECONDS))
        raise UnavailableError("Too many requests for this track at once; try again.")

    async def _create(self, order: Order, reading: Reading) -> Placed | None:
        """Return the new track, or None when there is one already."""
        try:
            resource = await self.cluster.create(order.manifest(self.settings.stemyard_namespace))
        except AlreadyExistsError:
            return None
        record = record_of(resource)
        if reading != Reading():
            # the mirror still tells of a resource that is gone
            await self._note(record)
        return Placed(record, started=True)

    async def _join(self, order: Order, source_gone: bool, now: float) -> Placed | None:
        """Return the existing track with this order in it, or None when it went or changed meanwhile."""
        resource = await self.cluster.read(order.name)
        if resource is None:
            if source_gone:
                raise UploadMissingError
            return None
        decision = decide(resource, order, self.settings.default_model, now)
        if decision.runs_again and source_gone:
            raise SourceGoneError
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

    async def _source_present(self, order: Order) -> bool:
        if order.upload is None:
            return True
        return await _exists(order.upload, self.settings, self.objects)


async def check_source(upload: UploadSource, settings: Settings, objects: Objects | None) -> None:
    """Pass an upload that is still there.

    Raises:
        SourceGoneError: it is not.
    """
    if not await _exists(upload, settings, objects):
        raise SourceGoneError


async def _exists(upload: UploadSource, settings: Settings, objects: Objects | None) -> bool:
    if objects is None:
        raise MisconfiguredError("No object store is configured, so there are no uploads.")
    return await objects.exists(upload_key(settings.stemyard_install_id, upload.owner, upload.id))
