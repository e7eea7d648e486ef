"""Writes how fast separations go in this installation, measured on those that ended, for the API's estimates."""

import asyncio
from collections import deque
from typing import Final

from stemyard_contract.handover import SEPARATE_STEP, UPLOAD_STEP, WorkStage
from stemyard_contract.mirror import PACE_AUDIO, PACE_FETCH, PACE_FINISH, PACE_SLOTS, pace_factor, pace_start
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.decision.status_change import OTHER, StatusChange
from stemyard_operator.mirror.background import BackgroundWriter

_PENDING_LIMIT: Final = 1000
_BATCH_SECONDS: Final = 1.0
"""Measurements of this time are written in one call."""


class ThroughputLog(BackgroundWriter):
    """Best effort: measurements that Redis fails to take are dropped."""

    def __init__(self, mirror: RedisClient, slots: int) -> None:
        self._pending: deque[tuple[str, float]] = deque(maxlen=_PENDING_LIMIT)
        super().__init__("throughput", self._pending)
        self._mirror = mirror
        self._slots = slots

    def status_written(self, change: StatusChange) -> None:
        """Queue what a status write says about durations."""
        measured = measurements(change)
        if measured and self._mirror.enabled:
            self._pending.extend(measured.items())
            self._added.set()

    async def _write(self) -> None:
        await asyncio.sleep(_BATCH_SECONDS)
        batch = list(self._pending)
        self._pending.clear()
        await self._mirror.put_pace({PACE_SLOTS: self._slots}, batch)


def measurements(change: StatusChange) -> dict[str, float]:
    """Return what a status write says, by field of the pace: seconds, and seconds per second of audio.

    The start of a separate pod and its upload are learned apart from the separation proper, which alone grows with the
    audio; without the pod's own timings nothing is learned from it.
    """
    found: dict[str, float] = {}
    for stage in change.stages:
        if stage.name == WorkStage.FETCH:
            found[PACE_FETCH] = stage.seconds
        elif change.audio_seconds and SEPARATE_STEP in change.timings:
            separating, finish = change.timings[SEPARATE_STEP], change.timings.get(UPLOAD_STEP, 0.0)
            found |= {PACE_AUDIO: change.audio_seconds, PACE_FINISH: finish}
            if OTHER not in {change.profile, change.model}:
                found[pace_factor(change.profile, change.model)] = separating / change.audio_seconds
                found[pace_start(change.profile, change.model)] = max(0.0, stage.seconds - separating - finish)
    return found
