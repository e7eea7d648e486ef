"""The newest progress of each separation: reported to this replica's desk, or to another's and read from Redis."""

import logging

from stemyard_contract.mirror import ProgressRecord
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError
from stemyard_operator.model.separation import Separation

log = logging.getLogger(__name__)


class ProgressStore:
    """Best effort: lost progress is replaced by the next report."""

    def __init__(self, mirror: RedisClient) -> None:
        self._mirror = mirror
        self._newest: dict[str, ProgressRecord] = {}

    async def report(self, track: str, record: ProgressRecord) -> None:
        """Store progress, unless newer progress is known; a failing Redis is logged, not raised."""
        known = self._newest.get(record.uid)
        if known is not None and known.order >= record.order:
            return
        self._newest[record.uid] = record
        try:
            await self._mirror.put_progress(track, record)
        except MirrorError as error:
            log.warning("progress not mirrored: %s", error)

    async def percent(self, separation: Separation) -> float | None:
        """Return the percentage last reported for the current run, None if there was no report."""
        records = [self._newest.get(separation.uid)]
        try:
            records.append(await self._mirror.progress(separation.track_id))
        except MirrorError as error:
            log.warning("progress not read: %s", error)
        own = [r for r in records if r is not None and r.uid == separation.uid and r.run == separation.spec.run]
        return max(own, key=lambda record: record.order).progress if own else None

    def forget(self, uid: str) -> None:
        """Drop what is known of a SeparationJob."""
        self._newest.pop(uid, None)
