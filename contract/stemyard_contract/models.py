"""The catalogue of separation models: what each makes and which engine, hence which image, runs it."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from stemyard_contract.findings import Stem

AUTO_MODEL: Final = "auto"
"""Stands for the model that the deployment configured as its default."""


class Engine(StrEnum):
    """Runs a family of models. The image follows the engine, never the device."""

    SPLEETER = "spleeter"
    DEMUCS = "demucs"

    @property
    def has_presets(self) -> bool:
        """Whether the quality that is asked for makes a difference."""
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
        engine: what runs it.
        stems: every stem it can give.
    """

    name: str
    engine: Engine
    stems: frozenset[Stem]

    @property
    def flavour(self) -> Flavour:
        """Image that holds this model's engine."""
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
    """Return the model a request means, `auto` being the default, or None when there is no such model."""
    return MODELS.get(default if name == AUTO_MODEL else name)
