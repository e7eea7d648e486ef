"""Catalogue of separation models: the stems of each, and the engine and image that run it."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, assert_never

from stemyard_contract.findings import Stem
from stemyard_contract.quality import DEFAULT_QUALITY, Quality

AUTO_MODEL: Final = "auto"
"""Alias of the deployment's default model."""


class Engine(StrEnum):
    """Inference engine of a family of models. It determines the image, independently of the device."""

    SPLEETER = "spleeter"
    DEMUCS = "demucs"

    @property
    def qualities(self) -> tuple[Quality, ...]:
        """Values of `spec.quality` that have an effect of their own."""
        match self:
            case Engine.DEMUCS:
                return tuple(Quality)
            case Engine.SPLEETER:
                return (Quality.BALANCED, Quality.BEST)
            case _:
                assert_never(self)

    def supported(self, quality: Quality) -> Quality:
        """Return the quality, or the default if this engine gives the same for both."""
        return quality if quality in self.qualities else DEFAULT_QUALITY


class Flavour(StrEnum):
    """Build target of the separator image."""

    CPU = "cpu"
    CUDA = "cuda"


_FLAVOURS: Final = MappingProxyType({Engine.SPLEETER: Flavour.CPU, Engine.DEMUCS: Flavour.CUDA})


@dataclass(frozen=True, slots=True)
class Model:
    """A separation model.

    Attributes:
        name: what users write in `spec.model`.
        engine: engine that runs it.
        stems: stems it can produce.
    """

    name: str
    engine: Engine
    stems: frozenset[Stem]

    @property
    def flavour(self) -> Flavour:
        """Image that contains the engine of this model."""
        return _FLAVOURS[self.engine]


_TWO: Final = frozenset({Stem.VOCALS, Stem.INSTRUMENTAL})
_FOUR: Final = _TWO | {Stem.DRUMS, Stem.BASS, Stem.OTHER}
_SIX: Final = _FOUR | {Stem.GUITAR, Stem.PIANO}

MODELS: Final = MappingProxyType(
    {
        model.name: model
        for model in (
            Model("spleeter-2stems", Engine.SPLEETER, _TWO),
            Model("htdemucs", Engine.DEMUCS, _FOUR),
            Model("htdemucs_ft", Engine.DEMUCS, _FOUR),
            Model("htdemucs_6s", Engine.DEMUCS, _SIX),
        )
    }
)
"""Every known model by name."""


def resolve_model(name: str, default: str) -> Model | None:
    """Return the model of this name (`auto` is the default model), or None if it does not exist."""
    return MODELS.get(default if name == AUTO_MODEL else name)
