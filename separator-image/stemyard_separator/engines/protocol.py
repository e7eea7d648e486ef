"""Interface of the engines: blocks of the mix in, blocks of stems out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stemyard_contract.findings import Stem

Samples = npt.NDArray[np.float32]
"""Audio as (channels, samples), full scale 1.0."""
StemBlock = dict[Stem, Samples]
"""The same time range of every stem."""


@dataclass(frozen=True, slots=True)
class MixStatistics:
    """Measurements of the whole mix, known before its first sample is read, in the mix's own scale.

    Attributes:
        samples: length per channel.
        mean: mean of the mono mix.
        standard_deviation: of the mono mix, with n - 1.
        level: square root of the mean of both channels' variances; None if it was not measured.
    """

    samples: int
    mean: float
    standard_deviation: float
    level: float | None = None


class BlockEngine(Protocol):
    """What separates a mix, block by block."""

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        """As `SeparationEngine.separate`."""


class SeparationEngine(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """Name of the engine in the contract."""

    @property
    def digest(self) -> str:
        """Digest of the weights, `sha256:<hex>`."""

    @property
    def device(self) -> str:
        """Device it runs on."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that affect its output."""

    @property
    def parameters(self) -> dict[str, float | str]:
        """Parameters, besides the weights, that affect its output or speed."""

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        """Yield the stems of `mix` in blocks of any length, `statistics.samples` samples in total.

        Memory does not grow with the track. Vocals and instrumental sum to the mix; so do all sources of a network,
        unless the engine was loaded without `residual`.
        """
