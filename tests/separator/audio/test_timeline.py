"""Silence that keeps sound and picture together."""

import pytest

from stemyard_separator.audio.timeline import Timeline


def silences(start: float | None, *times: float | None, longest: float = 60.0) -> list[float]:
    """Return the silence before frames of one second with these timestamps."""
    timeline = Timeline(start, longest)
    return [round(timeline.silence_before(time, 1.0), 3) for time in times]


@pytest.mark.parametrize(
    ("start", "times", "expected"),
    [
        (0.0, (0.0, 1.0, 2.0), [0, 0, 0]),
        (0.0, (3.0, 4.0), [3, 0]),
        (None, (3.0, 4.0), [0, 0]),
        (1.4, (1.4, 2.4), [0, 0]),
        (0.0, (0.0, 1.0, 6.0, 7.0), [0, 0, 4, 0]),
        (0.0, (0.0, 1.05, 1.95), [0, 0, 0]),
        (0.0, (None, None, 3.0), [0, 0, 1]),
        (0.0, (0.0, 1000.0, 1001.0), [0, 0, 0]),
        (0.0, (5.0, 0.0, 1.0, 4.0), [5, 0, 0, 2]),
        (0.0, (-0.02, 0.98), [0, 0]),
    ],
)
def test_silence(start: float | None, times: tuple[float | None, ...], expected: list[float]) -> None:
    assert silences(start, *times) == expected
