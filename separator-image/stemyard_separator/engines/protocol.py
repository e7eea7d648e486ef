"""What every engine is to the rest of the separator: blocks of the mix in, blocks of stems out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stemyard_contract.findings import Stem

Samples = npt.NDArray[np.float32]
"""Audio as (channels, samples), full scale being 1.0."""
StemBlock = dict[Stem, Samples]
"""The same stretch of time of every stem."""


@dataclass(frozen=True, slots=True)
class MixStatistics:
    """What is known of the whole mix before its first sample is read, in the mix's own scale.

    Attributes:
        samples: length per channel.
        mean: mean of the mono mix.
        standard_deviation: of the mono mix, with n - 1.
    """

    samples: int
    mean: float
    standard_deviation: float


class Engine(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """Engine of the catalogue."""

    @property
    def digest(self) -> str:
        """Digest of the weights, `sha256:<hex>`."""

    @property
    def device(self) -> str:
        """What it computes on."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that shape its output."""

    @property
    def parameters(self) -> dict[str, float | str]:
        """What shapes its output or speed beyond the weights."""

    def separate(self, mix: Iterable[Samples], track: MixStatistics) -> Iterator[StemBlock]:
        """Yield the stems of `mix`, as many samples in all as `track` says, in blocks of any length.

        Memory held does not grow with the track. The stems sum to the mix.
        """
