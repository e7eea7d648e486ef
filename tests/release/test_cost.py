"""The computations of `bench.cost`: a queue by hand, and a cache by its extremes."""

import numpy as np
import pytest

from bench.cost.day import DAY, Assumptions, cards_for, simulated, waits
from bench.cost.song import Held

SMALL = Assumptions(submissions=20_000, songs=1000)


def test_waits_are_those_of_a_queue_in_order() -> None:
    at, held = np.array([0.0, 1.0, 2.0, 30.0]), np.array([10.0, 10.0, 10.0, 10.0])
    assert waits(at, held, 1).tolist() == [0, 9, 18, 0]
    assert waits(at, held, 2).tolist() == [0, 0, 8, 0]


def test_the_fewest_cards_are_found() -> None:
    at, held = np.zeros(20), np.full(20, 10.0)
    assert cards_for(at, held, 0) == 20
    assert cards_for(at, held, 10) == 10
    assert cards_for(at, held, 200) == 1


@pytest.mark.parametrize(("kept", "least", "most"), [(0.0, 0.0, 0.0), (1e9, 1.0, 1.0), (30.0, 0.9, 0.999)])
def test_the_hit_rate_follows_the_time_that_results_are_kept(kept: float, least: float, most: float) -> None:
    found = simulated(Assumptions(submissions=20_000, songs=1000, kept_days=kept))
    assert least <= found.hit_rate <= most
    assert found.at.size == found.lengths.size == round(SMALL.submissions * (1 - found.hit_rate))


def test_requests_come_at_the_rate_of_the_day() -> None:
    at = simulated(Assumptions(submissions=200_000, songs=10, kept_days=0)).at
    hours = np.histogram(at, bins=24, range=(0, DAY))[0] / at.size * 24
    assert hours.min() < 0.05
    assert hours.max() == pytest.approx(2, abs=0.05)
    assert (np.diff(at) >= 0).all()


def test_a_song_is_held_as_measured() -> None:
    figures = {"demucs.separate_3_min": 15.0, "demucs.separate_10_min": 20.0, "demucs.cuda_two_stems_speed": 500.0}
    held = Held.of(figures, "two_stems")
    assert held.seconds(180) == pytest.approx(12)
    assert held.seconds(600) == pytest.approx(30)
    assert held.busy(500) == pytest.approx(1)
    day = simulated(SMALL)
    assert held.seconds(day.lengths) == pytest.approx([held.seconds(length) for length in day.lengths])
