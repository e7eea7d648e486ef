"""Separates fetched audio with an engine and renders the stems: undoes fetch's scaling, sets the gain."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.handover import SAMPLE_RATE, MediaMetadata
from stemyard_contract.output import Output
from stemyard_separator.audio.decode import OnProgress
from stemyard_separator.audio.formats import stem_tags
from stemyard_separator.audio.media import Readable, read_flac
from stemyard_separator.audio.read_ahead import ReadAhead
from stemyard_separator.audio.render import Renderer, Rendering, gain_for
from stemyard_separator.engines.protocol import BlockEngine, MixStatistics, Samples
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


class Mix:
    """Fetched audio that is decoded in a background thread from the start of the context, ahead of the engine."""

    def __init__(self, audio: FetchedAudio) -> None:
        self.audio = audio
        self._digest = hashlib.sha256() if audio.sha256 is not None else None
        self._ahead = ReadAhead(read_flac(audio.flac, audio.exponent, self._digest))

    def __enter__(self) -> Self:
        self._ahead.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ahead.__exit__(kind, error, at)

    @property
    def statistics(self) -> MixStatistics:
        """Measurements of the mix."""
        audio, scale = self.audio, self.scale
        level = None if audio.level is None else audio.level * scale
        return MixStatistics(audio.samples, audio.mean * scale, audio.standard_deviation * scale, level)

    @property
    def scale(self) -> float:
        """The factor that fetch has divided the mix by."""
        return 2.0**self.audio.exponent

    def blocks(self) -> Iterable[Samples]:
        """Return the samples; to be iterated once."""
        return self._ahead

    def check(self) -> None:
        """Raise ARTIFACT_MISMATCH if the samples, all of which have been read, are not those of the mark."""
        if self._digest is not None and self._digest.hexdigest() != self.audio.sha256:
            raise StageError(FailureCode.ARTIFACT_MISMATCH, "The audio does not have the samples that its mark states.")


def render_stems(
    engine: BlockEngine, mix: Mix, folder: Path, options: RenderOptions, on_progress: OnProgress
) -> Rendering:
    """Separate a track and encode the requested stems to `folder`.

    Raises:
        StageError: SEPARATION_INVALID, OUT_OF_MEMORY or ARTIFACT_MISMATCH.
    """
    audio = mix.audio
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
    blocks = engine.separate(mix.blocks(), mix.statistics)
    rendering = renderer.render(blocks, gain_for(audio.peak * mix.scale), on_progress, silent=not audio.peak)
    mix.check()
    return rendering
