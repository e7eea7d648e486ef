"""Seconds for which a card is held and busy for one song, from the figures of `bench.separation`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Length = TypeVar("Length", float, Floats)

_SHORT, _LONG = 180.0, 600.0
"""Lengths in seconds of the two songs that `bench.separation` measures with a GPU."""
MODES: Final = ("four_stems", "two_stems")


@dataclass(frozen=True, slots=True)
class Held:
    """Card-seconds of a song: a start that is the same for every song, and a part that grows with its length.

    Attributes:
        start: seconds for which the card is held whatever the length.
        per_second: further seconds for each second of audio.
        network: seconds for each second of audio in which the network computes.
    """

    start: float
    per_second: float
    network: float

    @classmethod
    def of(cls, figures: Mapping[str, float], mode: str) -> Self:
        """Return the line through the measured times of both songs, with one Job for each separation.

        Args:
            figures: values of `bench/results/separation-demucs-gpu.txt`; its two songs are separated into four stems.
            mode: one of MODES, for the speed of the network.
        """
        short, long = (seconds / figures[f"demucs.separate_{seconds / 60:.0f}_min"] for seconds in (_SHORT, _LONG))
        per_second = (long - short) / (_LONG - _SHORT)
        return cls(short - per_second * _SHORT, per_second, 1 / figures[f"demucs.cuda_{mode}_speed"])

    def seconds(self, length: Length) -> Length:
        """Return the card-seconds of a song of this length in seconds, or of several."""
        return self.start + self.per_second * length

    def busy(self, length: Length) -> Length:
        """Return the seconds in which the network computes."""
        return self.network * length
