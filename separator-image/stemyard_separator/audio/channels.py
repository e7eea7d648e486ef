"""Stereo downmix of any channel layout after ITU-R BS.775: centre and surrounds at -3 dB, no LFE, not normalised."""

from collections.abc import Sequence
from math import sqrt
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

_MINUS_3_DB: Final = sqrt(0.5)
_LEFT: Final = frozenset({"BL", "SL", "FLC", "WL", "TFL", "TBL", "SDL"})
_RIGHT: Final = frozenset({"BR", "SR", "FRC", "WR", "TFR", "TBR", "SDR"})
_MIDDLE: Final = frozenset({"FC", "BC", "TC", "TFC", "TBC"})
_SILENT: Final = frozenset({"LFE", "LFE2"})
_DEFAULT_LAYOUTS: Final = MappingProxyType(
    {
        3: ("FL", "FR", "FC"),
        4: ("FL", "FR", "BL", "BR"),
        5: ("FL", "FR", "FC", "BL", "BR"),
        6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
        7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
        8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
    }
)
"""Most likely layout of an unlabelled file, by number of channels."""


def _column(channel: str) -> tuple[float, float]:
    if channel in ("FL", "DL"):
        return 1.0, 0.0
    if channel in ("FR", "DR"):
        return 0.0, 1.0
    if channel in _LEFT:
        return _MINUS_3_DB, 0.0
    if channel in _RIGHT:
        return 0.0, _MINUS_3_DB
    if channel in _SILENT:
        return 0.0, 0.0
    return (_MINUS_3_DB, _MINUS_3_DB) if channel in _MIDDLE else (0.5, 0.5)


def stereo_matrix(channels: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the (2, n) matrix that mixes the named channels (FFmpeg's names) down to left and right.

    Mono goes to both sides unchanged; two channels stay as they are, whatever their names. Sums may exceed 1.
    """
    if len(channels) == 1:
        return np.ones((2, 1), np.float32)
    if len(channels) == 2:
        return np.eye(2, dtype=np.float32)
    is_labelled = any(_column(name) != (0.5, 0.5) for name in channels)
    names = channels if is_labelled else _DEFAULT_LAYOUTS.get(len(channels), channels)
    return np.array([_column(name) for name in names], np.float32).T
