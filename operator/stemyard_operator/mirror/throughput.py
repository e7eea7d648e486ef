"""Pace: how fast separations go here, learned from those that ended and told to Redis, for estimates."""

import asyncio
import logging
from typing import Final

from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import PACE_AUDIO, PACE_FETCH, PACE_SLOTS, pace_factor
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.decision.status_change import OTHER, StatusChange
from stemyard_operator.errors import MirrorError

_WAITING: Final = 1000
_TOGETHER_SECONDS: Final = 1.0
"""What is learned within this time is told in one call."""

log = logging.getLogger(__name__)


class ThroughputLog:
    """Best effort: what Redis does not hear is not missed."""

    def __init__(self, mirror: RedisClient, slots: int) -> None:
        self._mirror = mirror
        self._concurrency = slots
        self._heard: asyncio.Queue[dict[str, float]] = asyncio.Queue(_WAITING)

    def learn(self, account: StatusChange) -> None:
        """Take in what a write tells of time."""
        found = lessons(account)
        if found and self._mirror.enabled and not self._heard.full():
            self._heard.put_nowait(found)

    async def run(self) -> None:
        """Tell Redis, for ever."""
        while True:
            heard = [await self._heard.get()]
            await asyncio.sleep(_TOGETHER_SECONDS)
            while not self._heard.empty():
                heard.append(self._heard.get_nowait())
            learned = [lesson for found in heard for lesson in found.items()]
            try:
                await self._mirror.put_pace({PACE_SLOTS: self._concurrency}, learned)
            except MirrorError as error:
                log.warning("what was learned of pace is lost: %s", error)


def lessons(account: StatusChange) -> dict[str, float]:
    """Return what a write teaches, by field of the pace: seconds, and seconds per second of audio."""
    found: dict[str, float] = {}
    for stage in account.stages:
        if stage.name == WorkStage.FETCH:
            found[PACE_FETCH] = stage.seconds
        elif account.audio_seconds and OTHER not in {account.profile, account.model}:
            found[PACE_AUDIO] = account.audio_seconds
            found[pace_factor(account.profile, account.model)] = stage.seconds / account.audio_seconds
    return found
