"""Keeps the records in Redis in step with the cluster cache, in the background."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import ValidationError

from stemyard_operator.clients.redis import BATCH, Change, RedisClient, Removal
from stemyard_operator.errors import MirrorError
from stemyard_operator.informer.cache_entry import is_test, track_id_of
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.mirror.background import BackgroundWriter
from stemyard_operator.model.separation import Resource, mirror_record
from stemyard_operator.namespaces import Namespaces

_CHECKS_STATED: Final = 2.5

log = logging.getLogger(__name__)


class _Pending:
    """Changes to write, by uid: those that just happened first, then those that are written again.

    The value is the last state of a deleted SeparationJob, None for one that exists.
    """

    def __init__(self) -> None:
        self._new: OrderedDict[str, Resource | None] = OrderedDict()
        self._again: OrderedDict[str, Resource | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._new) + len(self._again)

    def __contains__(self, uid: str) -> bool:
        return uid in self._new or uid in self._again

    def add(self, uid: str, last: Resource | None) -> None:
        """Add what just happened, instead of what is pending."""
        self._again.pop(uid, None)
        self._new[uid] = last

    def add_again(self, uid: str, last: Resource | None) -> None:
        """Add what is written again, unless something is pending."""
        if uid not in self:
            self._again[uid] = last

    def take(self, limit: int) -> dict[str, Resource | None]:
        """Take what is to be written next."""
        number = min(limit, len(self))
        return dict((self._new or self._again).popitem(last=False) for _ in range(number))


class MirrorWriter(BackgroundWriter):
    """Writes only the newest state of each SeparationJob, and only while this replica leads (`lease_held`).

    A new leader writes every record again, in batches of one round trip each; what happens meanwhile goes first.
    """

    def __init__(
        self,
        mirror: RedisClient,
        cluster_cache: ClusterCache,
        lease_held: Callable[[], bool],
        api_namespace: str,
        namespaces: Namespaces,
    ) -> None:
        self._pending = _Pending()
        super().__init__("mirror", self._pending)
        self._mirror = mirror
        self._cluster_cache = cluster_cache
        self._lease_held = lease_held
        self._namespaces = namespaces
        self._api_namespace = api_namespace
        self._since: dict[str, float] = {}
        self._all_queued = False
        self._unreadable: set[str] = set()
        """Tracks that were missing from the mirror at the last check."""

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
        self._add(uid, None, self._pending.add)

    def deleted(self, last: Resource) -> None:
        """Queue the removal of a deleted SeparationJob."""
        self._add(last["metadata"]["uid"], last, self._pending.add)

    def _add(self, uid: str, last: Resource | None, add: Callable[[str, Resource | None], None]) -> None:
        if self._mirror.enabled and self._lease_held():
            add(uid, last)
            self._since.setdefault(uid, time.monotonic())
            self._added.set()

    async def check_repeatedly(self, seconds: float) -> None:
        """Check forever, so many seconds apart."""
        while True:
            await self.check(seconds)
            await asyncio.sleep(seconds)

    async def check(self, seconds: float = 0) -> None:
        """Queue records that Redis has lost, as after a flush, and remove those of unknown tracks.

        While a namespace cannot be read, none is removed: the track may be one of its own. If nothing was lost and all
        is written, the lists of tracks are stated to be complete until two more checks, so many seconds apart, are due.
        """
        if not self._mirror.enabled or not self._lease_held():
            return
        written = self._all_queued and not self._since
        known = {entry.track: entry.uid for entry in self._cluster_cache.known() if entry.track is not None}
        try:
            stored = await self._mirror.tracks()
            if self._namespaces.all_known:
                await self._mirror.remove(stored - set(known))
            lost = set(known) - stored
            if written and lost <= self._unreadable:
                await self._mirror.state_divided(seconds * _CHECKS_STATED)
        except MirrorError as error:
            log.warning("mirror check failed: %s", error)
            return
        self._unreadable = lost if written else set()  # what was queued and is written, but missing, cannot be read
        for track in lost:
            self._add(known[track], None, self._pending.add_again)

    def write_all(self) -> None:
        """Queue every SeparationJob, after what changes meanwhile."""
        self._all_queued = True
        for entry in self._cluster_cache.known():
            self._add(entry.uid, None, self._pending.add_again)

    async def _write(self) -> None:
        taken = self._pending.take(BATCH)
        try:
            failed = await self._write_batch(taken)
        except MirrorError:
            self._put_back(taken)
            raise
        self._put_back(failed)
        for uid in taken:
            if uid not in self._pending:
                del self._since[uid]

    def _put_back(self, taken: Mapping[str, Resource | None]) -> None:
        for uid, last in taken.items():
            self._pending.add_again(uid, last)

    async def _write_batch(self, taken: Mapping[str, Resource | None]) -> dict[str, Resource | None]:
        """Write changes; return those that Redis refused, which must not hold up the others.

        Raises:
            MirrorError: Redis does not answer, or refused all.
        """
        changes: dict[str, Change] = {}
        for uid, last in taken.items():
            change = self._change(uid, last)
            if change is not None:
                changes[uid] = change
            # a record takes a millisecond to make: let the lease be renewed meanwhile
            await asyncio.sleep(0)
        results = dict(zip(changes, await self._mirror.write(list(changes.values())), strict=True))
        errors = {uid: result for uid, result in results.items() if isinstance(result, MirrorError)}
        if errors and len(errors) == len(results):
            raise next(iter(errors.values()))
        for uid, error in errors.items():
            log.warning("record not mirrored: %s", error, extra={"uid": uid})
        return {uid: taken[uid] for uid in errors}

    def _change(self, uid: str, last: Resource | None) -> Change | None:
        """Return what to write for a SeparationJob; None if there is nothing, or its schema is unknown."""
        if last is not None:
            return Removal(track_id_of(last, self._api_namespace), uid)
        resource = self._cluster_cache.separation(uid)
        if resource is None or is_test(resource):
            return None
        try:
            typed = self._cluster_cache.typed(uid)
        except ValidationError as error:
            log.error("unknown SeparationJob schema, not mirrored: %s", error, extra={"uid": uid})  # noqa: TRY400 - the message says it all
            return None
        if typed is None:
            return None
        return mirror_record(resource, typed)
