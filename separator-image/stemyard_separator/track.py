"""One fetched track on its way through an engine: undoes fetch's scaling, fixes the gain, renders the stems."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stemyard_contract.separationjob import Output, Stem
from stemyard_separator.decode import Watch
from stemyard_separator.engines.protocol import Engine, Track
from stemyard_separator.media import read_flac
from stemyard_separator.render import Renderer, Rendering, gain_for


@dataclass(frozen=True, slots=True)
class FetchedAudio:
    """A FLAC that holds `mix x 2^-exponent`, with its measurements as written."""

    path: Path
    exponent: int
    samples: int
    peak: float
    mean: float
    standard_deviation: float


def render_stems(
    engine: Engine, audio: FetchedAudio, folder: Path, stems: Sequence[Stem], output: Output, watch: Watch
) -> Rendering:
    """Separate a track and encode the wanted stems into `folder`; `watch` hears how far it is, 0 to 1.

    Raises:
        StageError: SEPARATION_INVALID, OUT_OF_MEMORY or ARTIFACT_MISMATCH.
    """
    scale = 2.0**audio.exponent
    track = Track(audio.samples, audio.mean * scale, audio.standard_deviation * scale)
    blocks = engine.separate(read_flac(audio.path, audio.exponent), track)
    return Renderer(folder, stems, output, audio.samples).render(blocks, gain_for(audio.peak * scale), watch)
