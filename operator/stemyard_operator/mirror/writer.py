"""Keeps the records in Redis in step with the cluster cache, in the background."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from pydantic import ValidationError

from stemyard_contract.mirror import record_from
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError
from stemyard_operator.informer.cache_entry import is_test, track_id_of
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.mirror.background import BackgroundWriter
from stemyard_operator.model.separation import Resource

log = logging.getLogger(__name__)


class MirrorWriter(BackgroundWriter):
    """Writes only the newest state of each SeparationJob, and only while this replica leads (`lease_held`)."""

    def __init__(self, mirror: RedisClient, cluster_cache: ClusterCache, lease_held: Callable[[], bool]) -> None:
        self._pending: OrderedDict[str, Resource | None] = OrderedDict()
        """By uid: the last state of a deleted SeparationJob, None for one that exists."""
        super().__init__("mirror", self._pending)
        self._mirror = mirror
        self._cluster_cache = cluster_cache
        self._lease_held = lease_held
        self._since: dict[str, float] = {}

    @property
    def behind(self) -> int:
        """Changes that are not written yet."""
        return len(self._since)

    @property
    def lag(self) -> float:
        """Seconds for which the oldest of them has waited."""
        return time.monotonic() - min(self._since.values()) if self._since else 0.0

    def changed(self, uid: str) -> None:
        """Queue the newest state of a SeparationJob."""
        self._add(uid, None)

    def deleted(self, last: Resource) -> None:
        """Queue the removal of a deleted SeparationJob."""
        self._add(last["metadata"]["uid"], last)

    def _add(self, uid: str, last: Resource | None) -> None:
        if self._mirror.enabled and self._lease_held():
            self._pending[uid] = last
            self._since.setdefault(uid, time.monotonic())
            self._added.set()

    async def check(self) -> None:
        """Queue records that Redis has lost, as after a flush, and remove those of unknown tracks."""
        if not self._mirror.enabled or not self._lease_held():
            return
        known = {entry.track: entry.uid for entry in self._cluster_cache.known() if entry.track is not None}
        try:
            stored = await self._mirror.tracks()
            for track in stored - set(known):
                await self._mirror.drop(track)
        except MirrorError as error:
            log.warning("mirror check failed: %s", error)
            return
        for track in set(known) - stored:
            self.changed(known[track])

    def write_all(self) -> None:
        """Queue every SeparationJob."""
        for entry in self._cluster_cache.known():
            self.changed(entry.uid)

    async def _write(self) -> None:
        uid, last = self._pending.popitem(last=False)
        try:
            await self._write_record(uid, last)
        except MirrorError:
            self._pending.setdefault(uid, last)
            raise
        if uid not in self._pending:
            del self._since[uid]

    async def _write_record(self, uid: str, last: Resource | None) -> None:
        if last is not None:
            await self._mirror.drop(track_id_of(last), uid)
            return
        resource = self._cluster_cache.separation(uid)
        if resource is None or is_test(resource):
            return
        try:
            typed = self._cluster_cache.typed(uid)
        except ValidationError as error:
            log.error("unknown SeparationJob schema, not mirrored: %s", error, extra={"uid": uid})  # noqa: TRY400 - the message says it all
            return
        if typed is not None:
            await self._mirror.put(record_from(resource["metadata"], typed.spec, typed.status))
