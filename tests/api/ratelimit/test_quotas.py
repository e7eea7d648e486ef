"""What counts against the minutes of a key."""

import pytest

from stemyard_api.ratelimit.quotas import used_minutes
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.separationjob import Phase
from tests.api import tracks


@pytest.mark.parametrize(
    ("record", "minutes"),
    [
        (tracks.completed(duration=180.0), 3.0),
        (tracks.failed(duration=180.0), 0.0),
        (tracks.completed(duration=180.0, phase=Phase.CANCELLED), 0.0),
        (tracks.known(duration=180.0, phase=Phase.SEPARATING, progress=50), 1.5),
        (tracks.known(duration=None), 0.0),
    ],
)
def test_minutes_are_used_by_what_was_separated_and_not_by_failed_tracks(record: MirrorRecord, minutes: float) -> None:
    assert used_minutes(record) == minutes
