"""Segments and overlap-add of a stream against those of a whole track."""

import numpy as np
import pytest

from stemyard_separator.engines.overlap import OverlapAdd, Segmentation
from stemyard_separator.engines.protocol import Samples

GENERATOR = np.random.default_rng(11)
SEGMENT, STRIDE = 1000, 750


def whole_segments(mix: Samples, segment: int, stride: int) -> list[Samples]:
    """Return the padded segments of a track in memory."""
    samples = mix.shape[1]
    zeros = np.zeros((2, segment), np.float32)
    padded = np.concatenate((zeros, mix, zeros), axis=1)
    segments = []
    for offset in range(0, samples, stride):
        start = offset - (segment - min(segment, samples - offset)) // 2 + segment
        segments.append(padded[:, start : start + segment])
    return segments


LENGTHS = [1, 2, 499, 750, 751, 1000, 1001, 1749, 1750, 1751, 5003]


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("block", [1, 97, 10_000])
def test_streamed_segments_equal_those_of_the_whole_track(samples: int, block: int) -> None:
    mix = GENERATOR.standard_normal((2, samples)).astype(np.float32)
    blocks = (mix[:, start : start + block] for start in range(0, samples, block))

    segments = [segment for _, segment in Segmentation(samples, SEGMENT, STRIDE).segments(blocks)]

    expected = whole_segments(mix, SEGMENT, STRIDE)
    assert len(segments) == len(expected)
    assert all(np.array_equal(one, other) for one, other in zip(segments, expected, strict=True))


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("stride", [500, 750, 900, 1000])
def test_consistent_estimates_sum_to_the_track(samples: int, stride: int) -> None:
    mix = GENERATOR.standard_normal((2, samples)).astype(np.float32)
    segmentation = Segmentation(samples, SEGMENT, stride)
    overlap_add = OverlapAdd(segmentation, 3)

    done = [
        overlap_add.add(position, np.stack((segment, -segment, 2 * segment)))
        for position, segment in segmentation.segments([mix])
    ]

    result = np.concatenate(done, axis=2)
    assert result.shape == (3, 2, samples)
    assert np.abs(result - np.stack((mix, -mix, 2 * mix))).max() < 1e-5


def test_overlapping_estimates_are_weighted_by_a_triangle() -> None:
    segmentation = Segmentation(1750, SEGMENT, STRIDE)
    overlap_add = OverlapAdd(segmentation, 1)
    estimates = [np.full((1, 2, SEGMENT), value, np.float32) for value in (1.0, 3.0, 3.0)]

    positions = list(segmentation.positions())
    done = np.concatenate([overlap_add.add(*pair) for pair in zip(positions, estimates, strict=True)], axis=2)[0, 0]

    assert np.all(done[:750] == 1)
    falling, rising = np.arange(250, 0, -1), np.arange(1, 251)
    assert np.allclose(done[750:1000], (falling + 3 * rising) / (falling + rising), atol=1e-5)
    assert np.allclose(done[1000:], 3)
