"""Quality: how much work a model puts into a separation."""

from enum import StrEnum
from typing import Final


class Quality(StrEnum):
    """Speed against quality, as three named choices; the separator's presets say what each means."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


DEFAULT_QUALITY: Final = Quality.BALANCED
