"""Speed against quality, as three named choices of overlap and precision."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Precision(StrEnum):
    """What the network computes in."""

    FP32 = "float32"
    BF16 = "bfloat16"
    FP16 = "float16"


@dataclass(frozen=True, slots=True)
class Preset:
    """One choice.

    Attributes:
        name: what users write.
        overlap: share of a segment that the next one computes again.
        gpu_precision: on a GPU; on a processor it is always float32, which is faster there as well.
    """

    name: str
    overlap: float
    gpu_precision: Precision

    def precision_on(self, device: str) -> Precision:
        """Return the precision on `cpu` or `cuda`."""
        return self.gpu_precision if device == "cuda" else Precision.FP32


PRESETS: Final = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset("fast", 0.1, Precision.BF16),
            Preset("balanced", 0.25, Precision.BF16),
            Preset("best", 0.5, Precision.FP32),
        )
    }
)
DEFAULT_PRESET: Final = "balanced"
