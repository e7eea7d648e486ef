"""How long to pause after failures: longer each time, and never all at the same moment. Pure but for chance."""

import random
from typing import Final

_DOUBLINGS: Final = 30


def pause_after(failures: int, base: float, most: float) -> float:
    """Return the seconds to pause: `base`, doubled with each failure up to `most`, less up to a half by chance."""
    return min(most, base * 2.0 ** min(failures, _DOUBLINGS)) * random.uniform(0.5, 1)
