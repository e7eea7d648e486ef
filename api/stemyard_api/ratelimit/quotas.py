"""Quotas of a key: concurrent separations, and minutes of audio per day.

The counts are in Redis. Without it quotas are not enforced; rate limits still are.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import MirrorEntry, RedisClient, RedisUnavailableError
from stemyard_api.errors import QuotaExceededError
from stemyard_api.settings import Settings
from stemyard_contract.separationjob import Phase

_DAY_SECONDS: Final = 86_400
_AGAIN_SECONDS: Final = 15
"""Until somebody whose separations are all under way may ask again."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Keeps count."""

    settings: Settings
    redis: RedisClient | None

    async def enter(self, principal: Principal, track_id: str) -> bool:
        """Count a track as under way for a key; return whether it was not before.

        Raises:
            QuotaExceededError: the key has as many, or as many minutes, as it may.
        """
        concurrent, minutes = self._limits(principal)
        if self.redis is None or not (concurrent or minutes):
            return False
        try:
            await self._release_finished(self.redis, principal.key_id)
            verdict = await self.redis.enter(principal.key_id, track_id, concurrent, minutes)
        except RedisUnavailableError:
            return False
        if verdict == "concurrent":
            raise QuotaExceededError(
                f"This API key may have {concurrent} separations under way at once.", retry_after=_AGAIN_SECONDS
            )
        if verdict == "minutes":
            left = _DAY_SECONDS - int(time.time()) % _DAY_SECONDS
            raise QuotaExceededError(f"This API key may have {minutes:g} minutes of audio a day.", retry_after=left)
        return verdict == "entered"

    @asynccontextmanager
    async def reserve(self, principal: Principal, track_id: str) -> AsyncIterator[bool]:
        """Count a track as under way, unless what is done meanwhile fails; yield whether it was not before.

        Raises:
            QuotaExceededError: the key has as many, or as many minutes, as it may.
        """
        entered = await self.enter(principal, track_id)
        try:
            yield entered
        except BaseException:
            if entered:
                await self.leave(principal, track_id)
            raise

    async def leave(self, principal: Principal, track_id: str) -> None:
        """Count a track as no longer under way: it was refused, cached, cancelled or deleted."""
        if self.redis is None or not any(self._limits(principal)):
            return
        try:
            await self.redis.leave(principal.key_id, track_id, 0.0)
        except RedisUnavailableError:
            return

    def _limits(self, principal: Principal) -> tuple[int, float]:
        limits, settings = principal.limits, self.settings
        return (
            limits.concurrent or settings.quota_concurrent,
            limits.minutes_per_day or settings.quota_minutes_per_day,
        )

    async def _release_finished(self, redis: RedisClient, key_id: str) -> None:
        """Take out what has ended, and count its minutes."""
        tracks = await redis.under_way(key_id)
        for track_id, reading in zip(tracks, await redis.read_many(tracks), strict=True):
            if (minutes := used_minutes(reading)) is not None:
                await redis.leave(key_id, track_id, minutes)


def used_minutes(reading: MirrorEntry) -> float | None:
    """Return the minutes of audio that an ended track gave; None while it is, or may be, under way."""
    record = reading.current
    if reading.deleted:
        return 0.0
    if record is None or not record.finished:
        return None
    return (record.duration or 0.0) / 60 if record.phase is Phase.COMPLETED else 0.0
