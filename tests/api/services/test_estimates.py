"""Queue positions and estimates, from what was learned and told to Redis, and from simulated separations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import pytest

from stemyard_api.services.estimates import QueueState, estimate
from stemyard_contract.handover import WorkStage, overall_progress
from stemyard_contract.mirror import (
    PACE_AUDIO,
    PACE_FETCH,
    PACE_FINISH,
    PACE_SLOTS,
    MirrorRecord,
    ProgressRecord,
    pace_factor,
    pace_start,
)
from stemyard_contract.separationjob import Phase
from stemyard_operator.decision.status_change import Span, StatusChange
from stemyard_operator.mirror.throughput import measurements
from tests.api import tracks
from tests.operator.world import START, World

FACTOR = pace_factor("default", "spleeter-2stems")
START_UP = pace_start("default", "spleeter-2stems")
PACE = {PACE_SLOTS: 2.0, PACE_FETCH: 20.0, PACE_AUDIO: 200.0, FACTOR: 0.1, START_UP: 8.0, PACE_FINISH: 2.0}
NOW = tracks.CREATED + 10
"""When `tracks.progress` was reported."""


@pytest.mark.parametrize(
    ("phase", "position", "duration", "progress", "seconds"),
    [
        (Phase.SEPARATING, None, 400.0, 10.0, 8 + 40 + 3),
        (Phase.SEPARATING, None, 400.0, 12.0, 8 + 40 + 3),
        (Phase.SEPARATING, None, 400.0, 55.0, 20 + 3),
        (Phase.SEPARATING, None, 400.0, 96.3, 3),
        (Phase.QUEUED, 1, 400.0, 10.0, 15 + 51),
        (Phase.QUEUED, 5, 400.0, 10.0, 75 + 51),
        (Phase.FETCHING, 1, None, 0.0, 20 + 30),
        (Phase.PENDING, 11, None, 0.0, 150 + 30),
        (Phase.QUEUED, None, 400.0, 10.0, None),
    ],
)
def test_the_estimate_is_the_shared_queue_plus_its_own_time(
    phase: Phase, position: int | None, duration: float | None, progress: float, seconds: int | None
) -> None:
    record = tracks.record(phase=phase, duration=duration, model="auto")
    found = estimate(record, tracks.progress(progress=progress), QueueState(position, PACE), "spleeter-2stems", NOW)
    assert found.get("eta_seconds") == seconds
    assert found.get("queue_position") == (None if phase is Phase.FETCHING else position)


def test_without_measurements_there_is_no_estimate() -> None:
    record = tracks.record(phase=Phase.QUEUED, duration=300.0, model="another")
    for pace in (PACE, {}):
        found = estimate(record, None, QueueState(3, pace), "spleeter-2stems", NOW)
        assert found == {"queue_position": 3}
    separating = tracks.record(phase=Phase.SEPARATING, duration=300.0, model="another")
    assert estimate(separating, tracks.progress(), QueueState(None, PACE), "spleeter-2stems", NOW) == {}
    assert estimate(separating, None, QueueState(None, PACE), "spleeter-2stems", NOW) == {}


def test_estimates_shrink_between_two_reports_and_never_below_zero() -> None:
    record = tracks.record(phase=Phase.SEPARATING, duration=400.0)
    for after, seconds in ((0, 23), (10, 13), (100, 0), (-5, 23)):
        progress = tracks.progress(progress=55.0)
        found = estimate(record, progress, QueueState(None, PACE), "spleeter-2stems", NOW + after)
        assert found["eta_seconds"] == seconds


@dataclass(frozen=True)
class Machine:
    """A separate pod: seconds until it separates, seconds per second of audio, seconds to upload a second of audio."""

    start: float
    pace: float
    upload: float = 0.001

    def separating(self, audio: float) -> float:
        return audio * self.pace

    def finish(self, audio: float) -> float:
        return 0.3 + audio * self.upload

    def whole(self, audio: float) -> float:
        return self.start + self.separating(audio) + self.finish(audio)

    def learned(self, songs: Sequence[float]) -> dict[str, float]:
        """What the operator learns of these songs, as its script in Redis keeps it."""
        known: dict[str, float] = {PACE_SLOTS: 1.0}
        for audio in songs:
            ended = Span(WorkStage.SEPARATE, START, START + timedelta(seconds=self.whole(audio)))
            timings = {"separate": self.separating(audio), "upload": self.finish(audio), "load": self.start}
            change = StatusChange(
                World().separation, "default", "spleeter-2stems", stages=(ended,), audio_seconds=audio, timings=timings
            )
            for field, value in measurements(change).items():
                known[field] = known[field] + 0.2 * (value - known[field]) if field in known else value
        return known

    def reports(self, audio: float, block: float) -> Iterator[ProgressRecord]:
        """What the desk stores of one song: a report at most once a second, of whole blocks of audio."""
        done, first, sent = 0.0, None, -1.0
        while done < audio:
            done = min(audio, done + block)
            at = self.start + self.separating(done)
            fraction = 0.04 + 0.93 * done / audio
            first = first or (fraction, at)
            if at - sent >= 1.0 or done == audio:
                sent = at
                yield tracks.progress(
                    progress=overall_progress(WorkStage.SEPARATE, fraction),
                    step="separate",
                    at=tracks.CREATED + at,
                    step_progress=overall_progress(WorkStage.SEPARATE, first[0]),
                    step_seconds=at - first[1],
                )


MIXED = [240.0, 10.0, 180.0, 3600.0, 240.0, 300.0, 10.0, 200.0]
GPU, CPU, SLOW_START = Machine(25.0, 0.01), Machine(2.0, 0.035), Machine(82.0, 0.027, 0.0019)
NOTHING: Mapping[str, float] = {}


def wrong(machine: Machine, audio: float, pace: Mapping[str, float], *, measured: bool = False) -> list[str]:
    """Return the moments from 20 % on at which the estimate is off by more than 25 %.

    The last seconds are told to a second, and to 2 % of the whole.

    With `measured`, only those at which the separation's own pace is known.
    """
    record: MirrorRecord = tracks.record(phase=Phase.SEPARATING, duration=audio, model="auto")
    reports = list(machine.reports(audio, block=min(6.0, audio / 8)))
    found = []
    for report, following in pairwise([*reports, reports[-1]]):
        for at in {report.at, (report.at + following.at) / 2}:
            left = machine.whole(audio) - (at - tracks.CREATED)
            told = estimate(record, report, QueueState(None, pace), "spleeter-2stems", at)
            off = abs(told.get("eta_seconds", 10**6) - left)
            counts = report.progress >= 20.0 and (not measured or report.step_seconds)
            if counts and off > max(1.0, 0.02 * machine.whole(audio), 0.25 * left):
                found.append(f"{report.progress} %: {told} instead of {left:.1f}")
    return found


@pytest.mark.parametrize("audio", [10.0, 240.0, 3600.0])
@pytest.mark.parametrize("machine", [GPU, CPU, SLOW_START])
@pytest.mark.parametrize("history", [MIXED, [240.0], [3600.0, 240.0], [200.0, 300.0, 180.0]])
def test_from_a_fifth_on_an_estimate_is_within_a_quarter(
    audio: float, machine: Machine, history: Sequence[float]
) -> None:
    assert wrong(machine, audio, machine.learned(history)) == []


@pytest.mark.parametrize("audio", [10.0, 240.0, 3600.0])
@pytest.mark.parametrize("other", [Machine(25.0, 0.001), Machine(1.0, 1.0)])
def test_its_own_pace_counts_most_on_another_machine_than_that_learned_from(audio: float, other: Machine) -> None:
    assert wrong(CPU, audio, other.learned(MIXED), measured=True) == []


@pytest.mark.parametrize("audio", [10.0, 240.0, 3600.0])
def test_its_own_pace_is_enough(audio: float) -> None:
    assert wrong(Machine(2.0, 0.035, 0.0001), audio, NOTHING, measured=True) == []


def test_a_long_song_after_short_ones_with_a_long_start() -> None:
    # a 59-minute song at 35 % after 107 s took 184 s in all; start-up learned as pace made that another 1,136 s
    pace = SLOW_START.learned([10.0, 12.0, 20.0, 10.0])
    record = tracks.record(phase=Phase.SEPARATING, duration=3540.0)
    share = 0.25 / 0.93
    progress = tracks.progress(
        progress=35.0, at=NOW, step_progress=13.7, step_seconds=(107 - 82) * (share - 0.001) / share
    )
    told = estimate(record, progress, QueueState(None, pace), "spleeter-2stems", NOW)
    assert told["eta_seconds"] == pytest.approx(184 - 107, rel=0.25)
