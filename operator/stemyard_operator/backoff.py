"""Exponential backoff with jitter."""

import random
from typing import Final

_DOUBLINGS: Final = 30


def pause_after(failures: int, base: float, most: float) -> float:
    """Return the seconds to pause: `base`, doubled with each failure up to `most`, with jitter over the upper half."""
    return min(most, base * 2.0 ** min(failures, _DOUBLINGS)) * random.uniform(0.5, 1)
