"""Decodes any media file to 24-bit FLAC at 44.1 kHz stereo, scaled by 2^-k against clipping, and measures it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, frexp
from pathlib import Path
from typing import Final

import numpy as np

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.audio.formats import CARRIED_TAGS
from stemyard_separator.audio.measurements import FULL_SCALE, Measurements, PcmMeter
from stemyard_separator.audio.media import FlacWriter, Pcm24
from stemyard_separator.audio.source_media import SourceMedia
from stemyard_separator.engines.protocol import Samples
from stemyard_separator.errors import SourceError

MIN_SECONDS: Final = 0.1
_MAX_SAMPLE: Final = FULL_SCALE - 1
_MAX_EXPONENT: Final = 64
_MAX_INVALID_SHARE: Final = 0.001
"""Share of samples that may be silenced before the file counts as damaged."""
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
        invalid_samples: samples of the source that were no plausible numbers and are silent.
        is_cut: whether the source is damaged, so that its end is missing.
        title: tag of the source.
        artist: tag of the source.
        tags: other tags for the stems.
        source_rate: sample rate of the source in Hz.
    """

    path: Path
    exponent: int
    measured: Measurements
    invalid_samples: int
    is_cut: bool
    title: str | None
    artist: str | None
    tags: dict[str, str] = field(default_factory=dict)
    source_rate: int = SAMPLE_RATE


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
        for block in _limited_blocks(media, max_seconds):
            peak = max(peak, float(np.abs(block).max()))
            pcm = _quantise(block, exponent)
            meter.update(pcm)
            writer.write_pcm(pcm)
            on_progress(media.fraction)
    measured = meter.result()
    if measured.samples < ceil(MIN_SECONDS * SAMPLE_RATE):
        raise _too_short(measured.samples)
    _check_invalid(media)
    tags = {name: value for name in CARRIED_TAGS if (value := media.tag(name))}
    title, artist = media.tag("title"), media.tag("artist")
    return DecodedAudio(
        target, exponent, measured, media.invalid_values, media.is_cut, title, artist, tags, media.rate
    ), peak


def _check_invalid(media: SourceMedia) -> None:
    if media.invalid_values > _MAX_INVALID_SHARE * media.values:
        detail = f"{media.invalid_values} of its {media.values} samples are not numbers."
        raise SourceError(FailureCode.SOURCE_UNDECODABLE, detail)


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


def _limited_blocks(media: SourceMedia, max_seconds: float) -> Iterator[Samples]:
    """Yield non-empty blocks of about a second; refuse tracks that are too long."""
    limit, samples = int(max_seconds * SAMPLE_RATE), 0
    for block in _coalesce(media.blocks()):
        samples += block.shape[1]
        if samples > limit:
            raise SourceError(FailureCode.SOURCE_TOO_LONG, f"At most {max_seconds:g} s are accepted.")
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
