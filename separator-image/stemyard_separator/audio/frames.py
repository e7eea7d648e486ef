"""Decoded frames of PyAV as float32 stereo at any sample rate."""

from collections.abc import Iterator
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from stemyard_contract.failures import FailureCode
from stemyard_separator.audio.channels import stereo_matrix
from stemyard_separator.engines.protocol import Samples
from stemyard_separator.errors import SourceError

_MAX_PLAUSIBLE: Final = 2.0**32
"""Floats above this are damaged: some programs write 32-bit integers as floats, and nothing is louder."""
_MAX_BLOCK: Final = 1 << 18
"""Samples converted at once: a container may have all of its audio in a single frame."""


def undecodable(detail: str) -> SourceError:
    """Return the error that a source cannot be decoded."""
    return SourceError(FailureCode.SOURCE_UNDECODABLE, detail)


_FULL_SCALE: Final = MappingProxyType(
    {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}
)


@lru_cache(maxsize=64)
def _matrix(layout: str, channels: tuple[str, ...]) -> npt.NDArray[np.float32]:
    return stereo_matrix(channels)


def to_stereo(block: Samples, frame: av.AudioFrame) -> Samples:
    """Return a block of a frame of any layout as (2, samples)."""
    names = tuple(channel.name for channel in frame.layout.channels) or ("NONE",) * frame.layout.nb_channels
    matrix = _matrix(frame.layout.name, names)
    return block if matrix.shape[1] == 2 else np.ascontiguousarray(matrix @ block)


def silence_invalid(block: Samples) -> int:
    """Set values that are NaN, infinite or implausible to zero, in place; return how many there were.

    To be called before a filter spreads them. A comparison with NaN is false.
    """
    plausible = np.abs(block) <= np.float32(_MAX_PLAUSIBLE)
    if plausible.all():
        return 0
    block[~plausible] = 0
    return int(plausible.size - np.count_nonzero(plausible))


def silent_blocks(samples: int) -> Iterator[Samples]:
    """Yield stereo silence of a length."""
    for start in range(0, samples, _MAX_BLOCK):
        yield np.zeros((2, min(_MAX_BLOCK, samples - start)), np.float32)


def float_blocks(frame: av.AudioFrame) -> Iterator[Samples]:
    """Yield a frame as (channels, samples) of float32, full scale 1.0."""
    sample_format = frame.format.name.removesuffix("p")
    if sample_format not in _FULL_SCALE:
        raise undecodable(f"Its sample format is {frame.format.name}.")
    values = _values(frame)
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    for start in range(0, values.shape[1], _MAX_BLOCK):
        with np.errstate(over="ignore"):  # doubles too large for single precision become infinite
            floats = np.ascontiguousarray(values[:, start : start + _MAX_BLOCK], np.float32)
        if sample_format == "u8":
            floats -= np.float32(128)
        if _FULL_SCALE[sample_format] != 1.0:
            floats /= np.float32(_FULL_SCALE[sample_format])
        yield floats


def _values(frame: av.AudioFrame) -> npt.NDArray[Any]:
    if frame.format.name != "s64":
        return frame.to_ndarray()
    # PyAV converts no integers of 64 bits, which only PCM has, never in planes
    return np.frombuffer(bytes(frame.planes[0]), np.int64)[: frame.samples * frame.layout.nb_channels]
