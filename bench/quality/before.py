"""The Spleeter engine as it was at first: no context, the level of the mono mix, silent channels as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from stemyard_separator.engines import spleeter
from stemyard_separator.engines.protocol import MixStatistics

_LEAST_LEVEL = 0.05
_SILENCE = 1e-5


def _gain(statistics: MixStatistics) -> np.float32:
    """Return the gain that brought a quiet mono mix up, and no mix down."""
    return np.float32(max(1.0, _LEAST_LEVEL / max(statistics.standard_deviation, _SILENCE)))


def _unchanged(magnitude: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return magnitude


@contextmanager
def as_before() -> Iterator[None]:
    """Let engines separate as they did before these changes."""
    with patch.multiple(spleeter, _CONTEXT=0, _input_gain=_gain, _without_silent_channel=_unchanged):
        yield
