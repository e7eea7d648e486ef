"""Presets that trade speed for quality: overlap and precision."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Precision(StrEnum):
    """Floating-point type of the network."""

    FP32 = "float32"
    BF16 = "bfloat16"
    FP16 = "float16"


@dataclass(frozen=True, slots=True)
class Preset:
    """One preset.

    Attributes:
        name: name in the API and on the command line.
        overlap: share of a segment that overlaps the next one.
        gpu_precision: precision on a GPU; on a CPU it is always float32, which is also fastest there.
        wide: whether spleeter separates up to 16 kHz instead of 11.
    """

    name: str
    overlap: float
    gpu_precision: Precision
    wide: bool = False

    def precision_on(self, device: str) -> Precision:
        """Return the precision on `cpu` or `cuda`."""
        return self.gpu_precision if device == "cuda" else Precision.FP32


PRESETS: Final = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset("fast", 0.1, Precision.BF16),
            Preset("balanced", 0.25, Precision.BF16),
            Preset("best", 0.5, Precision.FP32, wide=True),
        )
    }
)
DEFAULT_PRESET: Final = "balanced"
