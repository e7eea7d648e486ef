"""Any media file to 24-bit FLAC at 44.1 kHz stereo, scaled by a power of two so that nothing clips, and measured."""

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
_LARGEST: Final = FULL_SCALE - 1
_LARGEST_EXPONENT: Final = 64
_BLOCK: Final = SAMPLE_RATE
Watch = Callable[[float], None]
"""Told how far decoding is, 0 to 1."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """A FLAC and what is known of it.

    Attributes:
        path: the FLAC; it holds `source x 2^-exponent`.
        exponent: at least 1.
        measured: of the samples as written.
        title: tag of the source.
        artist: tag of the source.
    """

    path: Path
    exponent: int
    measured: Measurements
    title: str | None
    artist: str | None


def decode(source: Path, target: Path, max_seconds: float, watch: Watch) -> DecodedAudio:
    """Decode `source` into the FLAC `target`; memory held does not grow with its length.

    Raises:
        SourceError: SOURCE_UNDECODABLE, SOURCE_TOO_LONG or SOURCE_TOO_SHORT.
    """
    exponent = 1
    while True:
        with SourceMedia(source) as media:
            _check_stated(media, max_seconds)
            audio, peak = _write(media, target, exponent, max_seconds, watch)
        needed = exponent_for(peak)
        if needed <= exponent:
            return audio
        exponent = needed  # rare: decoded above twice full scale, so write it again with more room


def exponent_for(peak: float) -> int:
    """Return the least k >= 1 for which `peak x 2^-k` fits 24 bits.

    Raises:
        SourceError: SOURCE_UNDECODABLE if the peak is no sensible level.
    """
    exponent = max(1, frexp(peak * FULL_SCALE / _LARGEST)[1])
    if exponent > _LARGEST_EXPONENT:
        raise SourceError(FailureCode.SOURCE_UNDECODABLE, "Its samples are far beyond full scale.")
    return exponent


def _write(
    media: SourceMedia, target: Path, exponent: int, max_seconds: float, watch: Watch
) -> tuple[DecodedAudio, float]:
    meter, peak = PcmMeter(), 0.0
    with FlacWriter(target) as writer:
        for block in _bounded(media, max_seconds):
            peak = max(peak, float(np.abs(block).max()))
            pcm = _quantised(block, exponent)
            meter.update(pcm)
            writer.write_pcm(pcm)
            watch(media.fraction)
    measured = meter.result()
    if measured.samples < ceil(MIN_SECONDS * SAMPLE_RATE):
        raise _too_short(measured.samples)
    return DecodedAudio(target, exponent, measured, media.tag("title"), media.tag("artist")), peak


def _check_stated(media: SourceMedia, max_seconds: float) -> None:
    """Refuse what says that it is too long before an hour of it is decoded; what says less is counted anyway."""
    stated = media.declared_seconds
    if stated is not None and stated > max_seconds:
        raise _too_long(max_seconds, f"It lasts {stated:.0f} s; ")


def _too_long(max_seconds: float, lasts: str = "") -> SourceError:
    detail = f"{lasts}at most {max_seconds:g} s are accepted."
    return SourceError(FailureCode.SOURCE_TOO_LONG, detail[0].upper() + detail[1:])


def _too_short(samples: int) -> SourceError:
    if not samples:
        return SourceError(FailureCode.SOURCE_UNDECODABLE, "Its audio track is empty.")
    return SourceError(
        FailureCode.SOURCE_TOO_SHORT, f"It lasts {samples / SAMPLE_RATE:.3f} s; at least {MIN_SECONDS} s are needed."
    )


def _bounded(media: SourceMedia, max_seconds: float) -> Iterator[Samples]:
    """Yield non-empty blocks of about a second until the track is over or too long."""
    limit, samples = int(max_seconds * SAMPLE_RATE), 0
    for block in _gathered(media.blocks()):
        samples += block.shape[1]
        if samples > limit:
            raise _too_long(max_seconds)
        if not np.isfinite(block).all():
            raise SourceError(FailureCode.SOURCE_UNDECODABLE, "Some of its samples are not numbers.")
        yield block


def _gathered(blocks: Iterator[Samples]) -> Iterator[Samples]:
    """Join small blocks: per-call costs outweigh the work on a codec's single frames."""
    parts: list[Samples] = []
    held = 0
    for block in blocks:
        parts.append(block)
        held += block.shape[1]
        if held >= _BLOCK:
            yield np.concatenate(parts, axis=1)
            parts, held = [], 0
    if held:
        yield np.concatenate(parts, axis=1)


def _quantised(block: Samples, exponent: int) -> Pcm24:
    with np.errstate(over="ignore"):  # senseless levels are told apart once the peak is known
        scaled = np.round(block * np.float32(FULL_SCALE * 2.0**-exponent))
    return np.clip(scaled, -FULL_SCALE, _LARGEST).astype(np.int32)
