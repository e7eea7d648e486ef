"""Queue position and estimated completion of a track. Pure."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from typing_extensions import TypedDict

from stemyard_api.clients.coalescing import Coalescer
from stemyard_api.clients.redis import RedisClient
from stemyard_contract.mirror import (
    PACE_AUDIO,
    PACE_FETCH,
    PACE_SLOTS,
    QUEUE_PHASES,
    MirrorRecord,
    pace_factor,
)
from stemyard_contract.separationjob import Phase

ESTIMATED_PHASES: Final = frozenset({*QUEUE_PHASES, Phase.SEPARATING})
"""Phases in which an end can be foreseen."""
KEPT_SECONDS: Final = 2.0
"""A place in a queue of separations, which take minutes, is not out of date sooner."""
_MOST: Final = 10_000
"""Tracks whose queue position is reported; a position further back is of no use."""
_FETCHED_PERCENT: Final = 10.0
_PUBLISHED_PERCENT: Final = 99.0


class Estimate(TypedDict, total=False):
    """Fields of a track's state; each is absent where it is not known."""

    queue_position: int
    eta_seconds: int


@dataclass(frozen=True, slots=True)
class QueueState:
    """Where a track is among those that wait, and how fast things go here."""

    position: int | None
    """From 1; None where it does not wait."""
    pace: Mapping[str, float]
    """Learned figures, by field."""


def estimate(record: MirrorRecord, progress: float, queue_state: QueueState, default_model: str) -> Estimate:
    """Return a track's place in the queue, and the seconds until it is likely to be completed."""
    found = Estimate()
    if queue_state.position is not None:
        found["queue_position"] = queue_state.position
    seconds = remaining_seconds(record, progress, queue_state, default_model)
    if seconds is not None:
        found["eta_seconds"] = seconds
    return found


def remaining_seconds(record: MirrorRecord, progress: float, queue_state: QueueState, default_model: str) -> int | None:
    """Return the seconds until a track is likely to be completed, None where too little has been learned.

    Its own work is the learned seconds per second of audio times its length. Those before it in the queue take an
    average song's work each, shared among the places there are.
    """
    pace = queue_state.pace
    model = default_model if record.model == "auto" else record.model
    factor, audio = pace.get(pace_factor(record.profile, model)), record.duration or pace.get(PACE_AUDIO)
    if factor is None or audio is None:
        return None
    own = factor * audio
    if record.phase is Phase.SEPARATING:
        done = (progress - _FETCHED_PERCENT) / (_PUBLISHED_PERCENT - _FETCHED_PERCENT)
        return round(own * (1 - min(1.0, max(0.0, done))))
    if queue_state.position is None:
        return None
    average = factor * pace.get(PACE_AUDIO, audio)
    ahead = queue_state.position if record.phase is Phase.QUEUED else queue_state.position - 1
    queue = ahead * average / max(1.0, pace.get(PACE_SLOTS, 1.0))
    fetch = 0.0 if record.phase is Phase.QUEUED else pace.get(PACE_FETCH, 0.0)
    return round(max(fetch, queue) + own)


class QueueReader:
    """What is known now. Reads of any number of tracks cost Redis one call in `KEPT_SECONDS`."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._looks = Coalescer(self._look)
        self._positions: Mapping[str, int] = {}
        self._pace: Mapping[str, float] = {}
        self._until = 0.0

    async def state_of(self, track_id: str) -> QueueState:
        """Return what estimates of a track are made from.

        Raises:
            RedisUnavailableError: Redis does not answer.
        """
        if time.monotonic() >= self._until:
            await self._looks.ask("all")
        return QueueState(self._positions.get(track_id), self._pace)

    async def _look(self, _: Sequence[str]) -> list[None]:
        waiting, self._pace = await self._redis.waiting(_MOST)
        self._positions = {track: number for number, track in enumerate(waiting, 1)}
        self._until = time.monotonic() + KEPT_SECONDS
        return [None]
