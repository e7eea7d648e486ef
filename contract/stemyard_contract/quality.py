"""Quality: the trade-off between speed and separation quality."""

from enum import StrEnum
from typing import Final


class Quality(StrEnum):
    """Trade-off between speed and quality; the separator's presets define each level."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


DEFAULT_QUALITY: Final = Quality.BALANCED
