"""Queue position and estimated completion of a track. Pure."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from typing_extensions import TypedDict

from stemyard_api.clients.coalescing import Coalescer
from stemyard_api.clients.redis import RedisClient
from stemyard_contract.handover import (
    LOADED_FRACTION,
    SEPARATE_STEP,
    SEPARATED_FRACTION,
    WorkStage,
    overall_progress,
)
from stemyard_contract.mirror import (
    PACE_AUDIO,
    PACE_FETCH,
    PACE_FINISH,
    PACE_SLOTS,
    QUEUE_PHASES,
    MirrorRecord,
    ProgressRecord,
    pace_factor,
    pace_start,
)
from stemyard_contract.separationjob import Phase

ESTIMATED_PHASES: Final = frozenset({*QUEUE_PHASES, Phase.SEPARATING})
"""Phases for which completion can be estimated."""
ESTIMATE_SECONDS: Final = 2.0
"""How long queue positions are cached; separations take minutes."""
_POSITIONS_LIMIT: Final = 10_000
"""Maximum queue position that is reported."""
_LOADED_PERCENT: Final = overall_progress(WorkStage.SEPARATE, LOADED_FRACTION)
_SEPARATED_PERCENT: Final = overall_progress(WorkStage.SEPARATE, SEPARATED_FRACTION)
_RELIABLE_SHARE: Final = 0.03
"""Share of a separation from which on its own pace alone counts."""
_FIXED_FINISH: Final = 0.5
"""Share of an average song's upload that is taken to be independent of its length."""
_FINISH_LIMIT: Final = 0.1
"""The end of a separation is not expected to take more than this, as a share of the separation proper."""


class Estimate(TypedDict, total=False):
    """Fields of a track's state; each is absent if unknown."""

    queue_position: int
    eta_seconds: int


@dataclass(frozen=True, slots=True)
class QueueState:
    """A track's queue position, and the measured throughput."""

    position: int | None
    """From 1; None if the track is not waiting."""
    pace: Mapping[str, float]
    """Measured throughput, by field of the pace hash."""


def estimate(
    record: MirrorRecord, progress: ProgressRecord | None, queue_state: QueueState, default_model: str, now: float
) -> Estimate:
    """Return a track's queue position and the estimated seconds until its completion.

    Args:
        record: the track.
        progress: its newest progress, of the requested run.
        queue_state: what is known of the queue and the pace.
        default_model: what `auto` means here.
        now: epoch seconds.
    """
    found = Estimate()
    if queue_state.position is not None and record.phase is not Phase.FETCHING:  # it is at work, though not separated
        found["queue_position"] = queue_state.position
    if record.phase is Phase.SEPARATING:
        seconds = _separating_seconds(record, progress, queue_state.pace, default_model, now)
    else:
        seconds = _waiting_seconds(record, queue_state, default_model)
    if seconds is not None:
        found["eta_seconds"] = round(max(0.0, seconds))
    return found


def _waiting_seconds(record: MirrorRecord, queue_state: QueueState, default_model: str) -> float | None:
    """Return the seconds of its own work, after those before it in the queue, which take an average song's each."""
    pace, position = queue_state.pace, queue_state.position
    own = _work_of(record, pace, default_model, record.duration or pace.get(PACE_AUDIO))
    if own is None or position is None:
        return None
    average = _work_of(record, pace, default_model, pace.get(PACE_AUDIO)) or own
    ahead = position if record.phase is Phase.QUEUED else position - 1
    queue = ahead * average.seconds / max(1.0, pace.get(PACE_SLOTS, 1.0))
    fetch = 0.0 if record.phase is Phase.QUEUED else pace.get(PACE_FETCH, 0.0)
    return max(fetch, queue) + own.seconds


def _separating_seconds(
    record: MirrorRecord, progress: ProgressRecord | None, pace: Mapping[str, float], default_model: str, now: float
) -> float | None:
    """Return the seconds left of a separation, by its own pace as far as that is measured."""
    work = _work_of(record, pace, default_model, record.duration or pace.get(PACE_AUDIO))
    done = 0.0 if progress is None else _separated(progress.progress)
    if progress is None or done == 0.0:
        return None if work is None else work.seconds
    total = _separation_seconds(work, _measured(progress))
    if total is None:
        return None
    finish = 0.0 if work is None else min(work.finish, total * _FINISH_LIMIT)
    return total * (1.0 - done) + finish - max(0.0, now - progress.at)


def _separation_seconds(work: "_Work | None", own: "_Measured | None") -> float | None:
    """Return the seconds of the whole separation proper, by its own pace the more the longer that was measured."""
    if own is None:
        return None if work is None else work.separating
    by_own_pace = own.seconds / own.share
    if work is None:
        return by_own_pace
    weight = min(1.0, own.share / _RELIABLE_SHARE)
    return weight * by_own_pace + (1.0 - weight) * work.separating


@dataclass(frozen=True, slots=True)
class _Work:
    """Seconds that a separation is expected to take, from what was learned."""

    start: float
    separating: float
    finish: float

    @property
    def seconds(self) -> float:
        return self.start + self.separating + self.finish


def _work_of(record: MirrorRecord, pace: Mapping[str, float], default_model: str, audio: float | None) -> _Work | None:
    """Return the work of so many seconds of audio with a track's profile and model, None if nothing was learned."""
    model = default_model if record.model == "auto" else record.model
    factor = pace.get(pace_factor(record.profile, model))
    if factor is None or audio is None:
        return None
    finish = pace.get(PACE_FINISH, 0.0)
    length = audio / (pace.get(PACE_AUDIO) or audio)
    finish *= _FIXED_FINISH + (1.0 - _FIXED_FINISH) * length
    return _Work(pace.get(pace_start(record.profile, model), 0.0), factor * audio, finish)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A share of the separation proper, 0 to 1, and the seconds that it took."""

    share: float
    seconds: float


def _measured(progress: ProgressRecord) -> _Measured | None:
    """Return what a separation has shown of its own pace, from its first block on."""
    if progress.step != SEPARATE_STEP or progress.step_progress is None or not progress.step_seconds:
        return None
    share = _separated(progress.progress) - _separated(progress.step_progress)
    return _Measured(share, progress.step_seconds) if share > 0 else None


def _separated(percent: float) -> float:
    """Return the share of the separation proper that is done, 0 to 1, at a percentage of the whole."""
    return min(1.0, max(0.0, (percent - _LOADED_PERCENT) / (_SEPARATED_PERCENT - _LOADED_PERCENT)))


class QueueReader:
    """Reads queue states; any number of reads costs one call to Redis per `ESTIMATE_SECONDS`."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._reads = Coalescer(self._read_all)
        self._positions: Mapping[str, int] = {}
        self._pace: Mapping[str, float] = {}
        self._until = 0.0

    async def state_of(self, track_id: str) -> QueueState:
        """Return the queue state of a track.

        Raises:
            RedisUnavailableError: Redis does not respond.
        """
        if time.monotonic() >= self._until:
            await self._reads.ask("all")
        return QueueState(self._positions.get(track_id), self._pace)

    async def _read_all(self, _: Sequence[str]) -> list[None]:
        waiting, self._pace = await self._redis.waiting(_POSITIONS_LIMIT)
        self._positions = {track: number for number, track in enumerate(waiting, 1)}
        self._until = time.monotonic() + ESTIMATE_SECONDS
        return [None]
