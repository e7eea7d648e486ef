"""Catalogue of separation models: the stems of each, and the engine and image that run it."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from stemyard_contract.findings import Stem

AUTO_MODEL: Final = "auto"
"""Alias of the deployment's default model."""


class Engine(StrEnum):
    """Inference engine of a family of models. It determines the image, independently of the device."""

    SPLEETER = "spleeter"
    DEMUCS = "demucs"

    @property
    def has_presets(self) -> bool:
        """Whether `spec.quality` has an effect."""
        return self is Engine.DEMUCS


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
