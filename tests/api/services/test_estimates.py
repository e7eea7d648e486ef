"""Queue positions and estimates, from what was learned and told to Redis."""

import pytest

from stemyard_api.services.estimates import QueueState, estimate
from stemyard_contract.mirror import PACE_AUDIO, PACE_FETCH, PACE_SLOTS, pace_factor
from stemyard_contract.separationjob import Phase
from tests.api import tracks

PACE = {PACE_SLOTS: 2.0, PACE_FETCH: 20.0, PACE_AUDIO: 200.0, pace_factor("default", "spleeter-2stems"): 0.1}


@pytest.mark.parametrize(
    ("phase", "position", "duration", "progress", "seconds"),
    [
        (Phase.SEPARATING, None, 300.0, 10.0, 30),
        (Phase.SEPARATING, None, 300.0, 54.5, 15),
        (Phase.SEPARATING, None, 300.0, 99.0, 0),
        (Phase.QUEUED, 1, 300.0, 10.0, 10 + 30),
        (Phase.QUEUED, 5, 300.0, 10.0, 50 + 30),
        (Phase.FETCHING, 1, None, 0.0, 20 + 20),
        (Phase.PENDING, 11, None, 0.0, 100 + 20),
        (Phase.QUEUED, None, 300.0, 10.0, None),
    ],
)
def test_the_work_of_those_before_is_shared_and_its_own_comes_on_top(
    phase: Phase, position: int | None, duration: float | None, progress: float, seconds: int | None
) -> None:
    record = tracks.record(phase=phase, duration=duration, model="auto")
    found = estimate(record, progress, QueueState(position, PACE), "spleeter-2stems")
    assert found.get("eta_seconds") == seconds
    assert found.get("queue_position") == position


def test_nothing_is_made_up() -> None:
    record = tracks.record(phase=Phase.QUEUED, duration=300.0, model="another")
    assert estimate(record, 10.0, QueueState(3, PACE), "spleeter-2stems") == {"queue_position": 3}
    assert estimate(record, 10.0, QueueState(3, {}), "spleeter-2stems") == {"queue_position": 3}
