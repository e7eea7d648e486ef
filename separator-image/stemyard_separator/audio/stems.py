"""Separates fetched audio with an engine and renders the stems: undoes fetch's scaling, sets the gain."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.handover import SAMPLE_RATE, MediaMetadata
from stemyard_contract.output import Output
from stemyard_separator.audio.decode import OnProgress
from stemyard_separator.audio.formats import stem_tags
from stemyard_separator.audio.media import Readable, read_flac
from stemyard_separator.audio.render import Renderer, Rendering, gain_for
from stemyard_separator.engines.protocol import BlockEngine, MixStatistics
from stemyard_separator.errors import StageError


@dataclass(frozen=True, slots=True)
class FetchedAudio:
    """A FLAC file or stream that contains `mix x 2^-exponent`, with its measurements as written.

    `tags`, `cover` (an image), `source_rate` in Hz and `is_mono` (both channels are the same) are those of the source.
    """

    flac: Path | Readable
    exponent: int
    samples: int
    peak: float
    mean: float
    standard_deviation: float
    media: MediaMetadata = field(default_factory=MediaMetadata)
    sha256: str | None = None
    """SHA-256 that its interleaved little-endian 24-bit samples must have; None if it is not verified."""
    tags: Mapping[str, str] = field(default_factory=dict)
    cover: bytes | None = None
    source_rate: int = SAMPLE_RATE
    level: float | None = None
    is_mono: bool = False


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What to render.

    Attributes:
        stems: stems to encode.
        output: output format.
        model: name of the model, for the tags.
    """

    stems: Sequence[Stem]
    output: Output
    model: str


def render_stems(
    engine: BlockEngine, audio: FetchedAudio, folder: Path, options: RenderOptions, on_progress: OnProgress
) -> Rendering:
    """Separate a track and encode the requested stems to `folder`.

    Raises:
        StageError: SEPARATION_INVALID, OUT_OF_MEMORY or ARTIFACT_MISMATCH.
    """
    scale = 2.0**audio.exponent
    level = None if audio.level is None else audio.level * scale
    statistics = MixStatistics(audio.samples, audio.mean * scale, audio.standard_deviation * scale, level)
    digest = hashlib.sha256() if audio.sha256 is not None else None
    blocks = engine.separate(read_flac(audio.flac, audio.exponent, digest), statistics)
    tags = {stem: stem_tags(audio.media, stem, options.model, audio.tags) for stem in options.stems}
    renderer = Renderer(
        folder,
        options.stems,
        options.output,
        audio.samples,
        tags,
        audio.cover,
        audio.source_rate,
        is_mono=audio.is_mono,
    )
    rendering = renderer.render(blocks, gain_for(audio.peak * scale), on_progress, silent=not audio.peak)
    if digest is not None and digest.hexdigest() != audio.sha256:
        raise StageError(FailureCode.ARTIFACT_MISMATCH, "The audio does not have the samples that its mark states.")
    return rendering
