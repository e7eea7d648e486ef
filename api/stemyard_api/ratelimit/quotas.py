"""Quotas of a key: concurrent separations, and minutes of audio and bytes of uploads per day.

The counts are in Redis. Without it quotas are not enforced; rate limits still are.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.kubernetes import KubernetesClient
from stemyard_api.clients.redis import RedisClient, RedisUnavailableError
from stemyard_api.errors import QuotaExceededError, UnavailableError
from stemyard_api.settings import Settings
from stemyard_contract.identity import resource_name
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.separationjob import Phase

_DAY_SECONDS: Final = 86_400
_MIB: Final = 1024 * 1024
_MIRRORED_SECONDS: Final = 60
"""Age from which a track is in the mirror, if it exists; a missing one is looked up."""
_AGAIN_SECONDS: Final = 15
"""Retry-After of a key whose separations are all under way."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Enforces quotas."""

    settings: Settings
    redis: RedisClient | None
    kubernetes: KubernetesClient

    async def enter(self, principal: Principal, track_id: str) -> bool:
        """Count a track as under way for a key; return whether it is new.

        Raises:
            QuotaExceededError: the key has reached its concurrent separations or daily minutes.
        """
        concurrent, minutes = self._limits(principal)
        if self.redis is None or not (concurrent or minutes):
            return False
        try:
            under_way = await self._release_finished(self.redis, principal.key_id)
            result = await self.redis.enter(principal.key_id, track_id, concurrent, minutes, under_way)
        except RedisUnavailableError:
            return False
        if result == "concurrent":
            raise QuotaExceededError(
                f"This API key may have {concurrent} separations under way at once.", retry_after=_AGAIN_SECONDS
            )
        if result == "minutes":
            raise QuotaExceededError(
                f"This API key may have {minutes:g} minutes of audio a day.", retry_after=_seconds_left_today()
            )
        return result == "entered"

    @asynccontextmanager
    async def reserve(self, principal: Principal, track_id: str) -> AsyncIterator[bool]:
        """Count a track as under way unless the block fails; yield whether it is new.

        Raises:
            QuotaExceededError: the key has reached its concurrent separations or daily minutes.
        """
        entered = await self.enter(principal, track_id)
        try:
            yield entered
        except BaseException:
            if entered:
                await self.leave(principal.key_id, track_id)
            raise

    async def announce(self, principal: Principal, size: int) -> None:
        """Count the bytes of an upload.

        Raises:
            QuotaExceededError: the key has reached its uploads of the day.
        """
        most = principal.limits.upload_mb_per_day or self.settings.quota_upload_mb_per_day
        if self.redis is None or not most:
            return
        try:
            allowed = await self.redis.announce(principal.key_id, size, most * _MIB)
        except RedisUnavailableError:
            return
        if not allowed:
            raise QuotaExceededError(f"This API key may upload {most} MiB a day.", retry_after=_seconds_left_today())

    async def leave(self, key_id: str, track_id: str, minutes: float = 0.0) -> None:
        """Count a track as no longer under way: it was refused, cached, cancelled or deleted; and what it has used."""
        if self.redis is None:
            return
        try:
            await self.redis.leave(key_id, track_id, minutes)
        except RedisUnavailableError:
            return

    def _limits(self, principal: Principal) -> tuple[int, float]:
        limits, settings = principal.limits, self.settings
        return (
            limits.concurrent or settings.quota_concurrent,
            limits.minutes_per_day or settings.quota_minutes_per_day,
        )

    async def _release_finished(self, redis: RedisClient, key_id: str) -> float:
        """Remove tracks that have ended, and count their minutes; return the minutes of the others."""
        ages = await redis.under_way(key_id)
        under_way = 0.0
        for track_id, reading in zip(ages, await redis.read_many(list(ages)), strict=True):
            record = reading.record if reading.deleted else reading.current
            if reading.deleted or (record is None and await self._is_gone(track_id, ages[track_id])):
                await redis.leave(key_id, track_id, 0.0 if record is None else used_minutes(record))
            elif record is not None and record.finished:
                await redis.leave(key_id, track_id, used_minutes(record))
            elif record is not None:
                under_way += (record.duration or 0.0) / 60
        return under_way

    async def _is_gone(self, track_id: str, age: float) -> bool:
        """Whether a track that the mirror does not have was deleted by others; it has none that was just requested."""
        if age < _MIRRORED_SECONDS:
            return False
        try:
            return await self.kubernetes.read(resource_name(track_id)) is None
        except UnavailableError:
            return False


def _seconds_left_today() -> int:
    return _DAY_SECONDS - int(time.time()) % _DAY_SECONDS


def used_minutes(record: MirrorRecord) -> float:
    """Return the minutes of audio that were separated: all of a completed track, what is done of one under way."""
    minutes = (record.duration or 0.0) / 60
    if not record.finished:
        return minutes * record.progress / 100
    return minutes if record.phase is Phase.COMPLETED else 0.0
