"""Scores by which the mirror counts tracks: a band for each state, sorted by time."""

from itertools import pairwise
from typing import Any

import pytest

from stemyard_contract.activity import ENDED, Band, band_at, band_of, score_of, scores, time_at
from stemyard_contract.separationjob import Phase
from tests.api.tracks import record

CREATED, ENDED_AT = 1_790_000_000.0, 1_790_000_123.456


@pytest.mark.parametrize(
    ("phase", "changes", "band", "at"),
    [
        ("Pending", {}, Band.PENDING, CREATED),
        ("Queued", {}, Band.QUEUED, CREATED),
        ("Fetching", {}, Band.FETCHING, CREATED),
        ("Separating", {}, Band.SEPARATING, CREATED),
        ("Suspended", {}, Band.SUSPENDED, CREATED),
        ("Completed", {"ended_at": ENDED_AT}, Band.COMPLETED, ENDED_AT),
        ("Failed", {"ended_at": ENDED_AT}, Band.FAILED, ENDED_AT),
        ("Cancelled", {"ended_at": ENDED_AT}, Band.FAILED, ENDED_AT),
        ("Failed", {"ended_at": None}, Band.FAILED, CREATED),
        ("Failed", {"ended_at": ENDED_AT, "run": 2}, Band.PENDING, CREATED),  # asked for again
    ],
)
def test_a_score_says_state_and_time(phase: str, changes: dict[str, Any], band: Band, at: float) -> None:
    one = record(phase=phase, created=CREATED, **changes)
    assert band_of(one) is band
    score = score_of(one)
    assert band_at(score) is band
    assert time_at(score) == pytest.approx(at, abs=0.001)
    assert (band in ENDED) == one.finished
    lowest, end = scores(band)
    assert lowest <= score < end
    assert scores(band, at - 1).lowest <= score < scores(band, at - 1, at + 1).end
    assert not scores(band, at + 1).lowest <= score


def test_bands_do_not_overlap_and_every_phase_has_one() -> None:
    ranges = [scores(band) for band in Band]
    assert all(one.end <= later.lowest for one, later in pairwise(ranges))
    assert {band_of(record(phase=phase)) for phase in Phase} == set(Band)
