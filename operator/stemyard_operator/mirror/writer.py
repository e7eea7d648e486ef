"""Keeps Redis in step with what is known, in the background: a failing Redis delays the mirror and nothing else."""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Final

from pydantic import ValidationError

from stemyard_contract.mirror import record_from
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError
from stemyard_operator.informer.cache_entry import is_test, track_id_of
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.separation import Resource

_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 15.0

log = logging.getLogger(__name__)


class MirrorWriter:
    """What the mirror has yet to hear, newest state only."""

    def __init__(self, mirror: RedisClient, cluster_cache: ClusterCache) -> None:
        self._mirror = mirror
        self._cluster_cache = cluster_cache
        self._waiting: OrderedDict[str, Resource | None] = OrderedDict()
        self._since: dict[str, float] = {}
        self._wake = asyncio.Event()
        self.active = False
        """Whether this replica leads; only the leader writes records."""

    @property
    def behind(self) -> int:
        """Changes that the mirror has yet to hear."""
        return len(self._since)

    @property
    def lag(self) -> float:
        """Seconds for which the oldest of them has waited."""
        return time.monotonic() - min(self._since.values()) if self._since else 0.0

    def changed(self, uid: str) -> None:
        """Take note that a SeparationJob has a newer state."""
        self._note(uid, None)

    def gone(self, last: Resource) -> None:
        """Take note that a SeparationJob was deleted."""
        self._note(last["metadata"]["uid"], last)

    def _note(self, uid: str, last: Resource | None) -> None:
        if self._mirror.enabled and self.active:
            self._waiting[uid] = last
            self._since.setdefault(uid, time.monotonic())
            self._wake.set()

    async def check(self) -> None:
        """Tell the mirror what it has lost, as after a flush, and drop what nobody knows any more."""
        if not self._mirror.enabled or not self.active:
            return
        known = {one.track: one.uid for one in self._cluster_cache.known() if one.track is not None}
        try:
            there = await self._mirror.tracks()
            for track in there - set(known):
                await self._mirror.drop(track)
        except MirrorError as error:
            log.warning("the mirror could not be checked: %s", error)
            return
        for track in set(known) - there:
            self.changed(known[track])

    def tell_all(self) -> None:
        """Tell the mirror every SeparationJob anew."""
        for one in self._cluster_cache.known():
            self.changed(one.uid)

    async def run(self) -> None:
        """Write what waits, for ever; while Redis fails, pause longer each time, with jitter."""
        failures = 0
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            uid, last = self._waiting.popitem(last=False)
            try:
                await self._tell(uid, last)
                failures = 0
                if uid not in self._waiting:
                    del self._since[uid]
            except MirrorError as error:
                self._waiting.setdefault(uid, last)
                failures += 1
                log.warning("the mirror is behind by %d: %s", len(self._waiting), error)
                await asyncio.sleep(pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))

    async def _tell(self, uid: str, last: Resource | None) -> None:
        if last is not None:
            await self._mirror.drop(track_id_of(last), uid)
            return
        resource = self._cluster_cache.separation(uid)
        if resource is None or is_test(resource):
            return
        try:
            typed = self._cluster_cache.typed(uid)
        except ValidationError as error:
            log.error("not mirrored, its form is unknown: %s", error, extra={"uid": uid})  # noqa: TRY400 - the message says it all
            return
        if typed is not None:
            await self._mirror.put(record_from(resource["metadata"], typed.spec, typed.status))
