"""Decodes any media file to 24-bit FLAC at 44.1 kHz stereo, scaled by 2^-k against clipping, and measures it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, frexp
from pathlib import Path
from typing import Final

import numpy as np

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.audio.measurements import FULL_SCALE, Measurements, PcmMeter
from stemyard_separator.audio.media import FlacWriter, Pcm24, SourceMedia
from stemyard_separator.engines.protocol import Samples
from stemyard_separator.errors import SourceError

MIN_SECONDS: Final = 0.1
_MAX_SAMPLE: Final = FULL_SCALE - 1
_MAX_EXPONENT: Final = 64
_BLOCK_SAMPLES: Final = SAMPLE_RATE
OnProgress = Callable[[float], None]
"""Called with the progress, 0 to 1."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """A FLAC file, its measurements and the tags of its source.

    Attributes:
        path: the FLAC; it contains `source x 2^-exponent`.
        exponent: at least 1.
        measured: measurements of the samples as written.
        title: tag of the source.
        artist: tag of the source.
    """

    path: Path
    exponent: int
    measured: Measurements
    title: str | None
    artist: str | None


def decode(source: Path, target: Path, max_seconds: float, on_progress: OnProgress) -> DecodedAudio:
    """Decode `source` to the FLAC file `target`, in constant memory.

    Raises:
        SourceError: SOURCE_UNDECODABLE, SOURCE_TOO_LONG or SOURCE_TOO_SHORT.
    """
    exponent = 1
    while True:
        with SourceMedia(source) as media:
            _check_declared_length(media, max_seconds)
            audio, peak = _write(media, target, exponent, max_seconds, on_progress)
        required = exponent_for(peak)
        if required <= exponent:
            return audio
        exponent = required  # rare: the peak exceeds twice full scale, decode again with more headroom


def exponent_for(peak: float) -> int:
    """Return the smallest k >= 1 for which `peak x 2^-k` fits 24 bits.

    Raises:
        SourceError: SOURCE_UNDECODABLE if the peak is not a plausible level.
    """
    exponent = max(1, frexp(peak * FULL_SCALE / _MAX_SAMPLE)[1])
    if exponent > _MAX_EXPONENT:
        raise SourceError(FailureCode.SOURCE_UNDECODABLE, "Its samples are far beyond full scale.")
    return exponent


def _write(
    media: SourceMedia, target: Path, exponent: int, max_seconds: float, on_progress: OnProgress
) -> tuple[DecodedAudio, float]:
    """Write the FLAC; return it and the peak of the source."""
    meter, peak = PcmMeter(), 0.0
    with FlacWriter(target) as writer:
        for block in _checked_blocks(media, max_seconds):
            peak = max(peak, float(np.abs(block).max()))
            pcm = _quantise(block, exponent)
            meter.update(pcm)
            writer.write_pcm(pcm)
            on_progress(media.fraction)
    measured = meter.result()
    if measured.samples < ceil(MIN_SECONDS * SAMPLE_RATE):
        raise _too_short(measured.samples)
    return DecodedAudio(target, exponent, measured, media.tag("title"), media.tag("artist")), peak


def _check_declared_length(media: SourceMedia, max_seconds: float) -> None:
    """Refuse a file by its declared length before decoding an hour of it; decoded samples are counted anyway."""
    declared = media.declared_seconds
    if declared is not None and declared > max_seconds:
        raise SourceError(
            FailureCode.SOURCE_TOO_LONG, f"It lasts {declared:.0f} s; at most {max_seconds:g} s are accepted."
        )


def _too_short(samples: int) -> SourceError:
    if not samples:
        return SourceError(FailureCode.SOURCE_UNDECODABLE, "Its audio track is empty.")
    return SourceError(
        FailureCode.SOURCE_TOO_SHORT, f"It lasts {samples / SAMPLE_RATE:.3f} s; at least {MIN_SECONDS} s are needed."
    )


def _checked_blocks(media: SourceMedia, max_seconds: float) -> Iterator[Samples]:
    """Yield non-empty blocks of about a second; refuse tracks that are too long or contain NaN or infinity."""
    limit, samples = int(max_seconds * SAMPLE_RATE), 0
    for block in _coalesce(media.blocks()):
        samples += block.shape[1]
        if samples > limit:
            raise SourceError(FailureCode.SOURCE_TOO_LONG, f"At most {max_seconds:g} s are accepted.")
        if not np.isfinite(block).all():
            raise SourceError(FailureCode.SOURCE_UNDECODABLE, "Some of its samples are not numbers.")
        yield block


def _coalesce(blocks: Iterator[Samples]) -> Iterator[Samples]:
    """Join small blocks: for single codec frames the overhead per call exceeds the work."""
    parts: list[Samples] = []
    buffered = 0
    for block in blocks:
        parts.append(block)
        buffered += block.shape[1]
        if buffered >= _BLOCK_SAMPLES:
            yield np.concatenate(parts, axis=1)
            parts, buffered = [], 0
    if buffered:
        yield np.concatenate(parts, axis=1)


def _quantise(block: Samples, exponent: int) -> Pcm24:
    with np.errstate(over="ignore"):  # implausible levels are refused once the peak is known
        scaled = np.round(block * np.float32(FULL_SCALE * 2.0**-exponent))
    return np.clip(scaled, -FULL_SCALE, _MAX_SAMPLE).astype(np.int32)
