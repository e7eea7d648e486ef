"""Separates fetched audio with an engine and renders the stems: undoes fetch's scaling, sets the gain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stemyard_contract.findings import Stem
from stemyard_contract.handover import MediaMetadata
from stemyard_contract.output import Output
from stemyard_separator.audio.decode import OnProgress
from stemyard_separator.audio.formats import stem_tags
from stemyard_separator.audio.media import Readable, read_flac
from stemyard_separator.audio.render import Renderer, Rendering, gain_for
from stemyard_separator.engines.protocol import MixStatistics, SeparationEngine


@dataclass(frozen=True, slots=True)
class FetchedAudio:
    """A FLAC file or stream that contains `mix x 2^-exponent`, with its measurements as written."""

    flac: Path | Readable
    exponent: int
    samples: int
    peak: float
    mean: float
    standard_deviation: float
    media: MediaMetadata = field(default_factory=MediaMetadata)


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
    engine: SeparationEngine, audio: FetchedAudio, folder: Path, options: RenderOptions, on_progress: OnProgress
) -> Rendering:
    """Separate a track and encode the requested stems to `folder`.

    Raises:
        StageError: SEPARATION_INVALID, OUT_OF_MEMORY or ARTIFACT_MISMATCH.
    """
    scale = 2.0**audio.exponent
    statistics = MixStatistics(audio.samples, audio.mean * scale, audio.standard_deviation * scale)
    blocks = engine.separate(read_flac(audio.flac, audio.exponent), statistics)
    tags = {stem: stem_tags(audio.media, stem, options.model) for stem in options.stems}
    renderer = Renderer(folder, options.stems, options.output, audio.samples, tags)
    return renderer.render(blocks, gain_for(audio.peak * scale), on_progress, silent=not audio.peak)
