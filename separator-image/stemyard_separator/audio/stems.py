"""One fetched track on its way through an engine: undoes fetch's scaling, fixes the gain, renders the stems."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stemyard_contract.findings import Stem
from stemyard_contract.handover import MediaMetadata
from stemyard_contract.output import Output
from stemyard_separator.audio.decode import Watch
from stemyard_separator.audio.formats import stem_tags
from stemyard_separator.audio.media import Readable, read_flac
from stemyard_separator.audio.render import Renderer, Rendering, gain_for
from stemyard_separator.engines.protocol import Engine, MixStatistics


@dataclass(frozen=True, slots=True)
class FetchedAudio:
    """A FLAC that holds `mix x 2^-exponent`, here or still on its way, with its measurements as written."""

    flac: Path | Readable
    exponent: int
    samples: int
    peak: float
    mean: float
    standard_deviation: float
    media: MediaMetadata = field(default_factory=MediaMetadata)


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What to make of a track.

    Attributes:
        stems: which of them.
        output: how they are encoded.
        model: name of the model, for the tags.
    """

    stems: Sequence[Stem]
    output: Output
    model: str


def render_stems(engine: Engine, audio: FetchedAudio, folder: Path, wanted: RenderOptions, watch: Watch) -> Rendering:
    """Separate a track and encode the wanted stems into `folder`; `watch` hears how far it is, 0 to 1.

    Raises:
        StageError: SEPARATION_INVALID, OUT_OF_MEMORY or ARTIFACT_MISMATCH.
    """
    scale = 2.0**audio.exponent
    track = MixStatistics(audio.samples, audio.mean * scale, audio.standard_deviation * scale)
    blocks = engine.separate(read_flac(audio.flac, audio.exponent), track)
    tags = {stem: stem_tags(audio.media, stem, wanted.model) for stem in wanted.stems}
    renderer = Renderer(folder, wanted.stems, wanted.output, audio.samples, tags)
    return renderer.render(blocks, gain_for(audio.peak * scale), watch, silent=not audio.peak)
