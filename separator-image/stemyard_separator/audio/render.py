"""Encodes stems while they are separated: one gain for all, and a spool to encode again with a smaller gain."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.handover import SAMPLE_RATE, peaks_file
from stemyard_contract.output import Output
from stemyard_separator.audio.decode import OnProgress
from stemyard_separator.audio.encode import StemEncoder, StemPlan
from stemyard_separator.audio.formats import encoding_for
from stemyard_separator.audio.loudness import Levels
from stemyard_separator.audio.media import declared_samples
from stemyard_separator.audio.spool import SPOOL_PEAK, StemSpool
from stemyard_separator.engines.protocol import StemBlock
from stemyard_separator.errors import ModelError, StageError

HEADROOM_PEAK: Final = 0.89
"""Maximum peak of source and stems: -1 dBFS, headroom for the overshoot of lossy codecs."""


def gain_for(peak: float) -> float:
    """Return the gain, at most 1, that keeps a signal of this peak within the headroom."""
    return min(1.0, HEADROOM_PEAK / peak) if peak > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Rendering:
    """Encoded stems, their waveform files and levels, and their common gain."""

    files: Mapping[Stem, Path]
    peaks: Mapping[Stem, Path]
    levels: Mapping[Stem, Levels]
    gain: float


Tags = Mapping[Stem, Mapping[str, str]]
_NO_TAGS: Final[Tags] = MappingProxyType({})
_NO_SPOOLS: Final[Mapping[Stem, StemSpool]] = MappingProxyType({})


class Renderer:
    """Encodes the requested stems of one track to a folder."""

    def __init__(
        self,
        folder: Path,
        stems: Sequence[Stem],
        output: Output,
        samples: int,
        tags: Tags = _NO_TAGS,
        cover: bytes | None = None,
        source_rate: int = SAMPLE_RATE,
        *,
        is_mono: bool = False,
    ) -> None:
        encoding = encoding_for(output, source_rate, is_mono=is_mono)
        self._is_mono = encoding.channels == 1
        self._plans = {
            stem: StemPlan(
                folder / f"{stem}.{output.format}",
                folder / peaks_file(stem),
                samples,
                encoding,
                tags.get(stem, {}),
                cover,
            )
            for stem in stems
        }
        self._folder = folder
        self._samples = samples
        self._tolerance = encoding.frame

    def render(
        self, blocks: Iterable[StemBlock], gain: float, on_progress: OnProgress, *, silent: bool = False
    ) -> Rendering:
        """Encode all blocks with `gain`, or with a smaller one if a stem clips at it.

        Args:
            blocks: the stems, in order.
            gain: at most 1.
            on_progress: called with the progress, 0 to 1.
            silent: whether the source is silent; otherwise all-zero stems are an error.

        Raises:
            ModelError: SEPARATION_INVALID if the engine returns NaN or infinity, too few samples, or only zeros.
            StageError: ARTIFACT_MISMATCH if a file's length differs from the track's.
        """
        with ExitStack() as stack:
            spools = {stem: stack.enter_context(StemSpool(self._folder / f"{stem}.spool.flac")) for stem in self._plans}
            peaks: list[float] = []
            equal = map(_with_equal_channels, blocks) if self._is_mono else blocks
            levels = self._encode(self._checked(equal, peaks, on_progress), gain, spools)
            peak = max(peaks, default=0.0)
            if not peak and not silent:
                raise ModelError(FailureCode.SEPARATION_INVALID, "All its stems are silent.")
            if peak * gain > SPOOL_PEAK:
                raise ModelError(FailureCode.SEPARATION_INVALID, "Its stems are far louder than the song.")
            if peak * gain > 1.0:
                levels = self._encode(_replay(spools), gain_for(peak) / gain)
                gain = gain_for(peak)
        self._check_lengths()
        return Rendering(
            files={stem: plan.path for stem, plan in self._plans.items()},
            peaks={stem: plan.peaks for stem, plan in self._plans.items()},
            levels=levels,
            gain=gain,
        )

    def _encode(
        self, blocks: Iterable[StemBlock], gain: float, spools: Mapping[Stem, StemSpool] = _NO_SPOOLS
    ) -> Mapping[Stem, Levels]:
        """Encode the blocks; the spools receive them with the gain applied."""
        encoders = {stem: StemEncoder(plan, gain, spools.get(stem)) for stem, plan in self._plans.items()}
        with ExitStack() as stack:
            for encoder in encoders.values():
                stack.enter_context(encoder)
            for block in blocks:
                for stem, encoder in encoders.items():
                    encoder.put(block[stem])
        return {stem: encoder.levels for stem, encoder in encoders.items()}

    def _checked(self, blocks: Iterable[StemBlock], peaks: list[float], on_progress: OnProgress) -> Iterator[StemBlock]:
        """Check the blocks and collect their peaks while passing them on."""
        done = 0
        for block in blocks:
            for stem in self._plans:
                if not np.isfinite(block[stem]).all():
                    raise ModelError(FailureCode.SEPARATION_INVALID, f"Its {stem} contain values that are not numbers.")
            peaks.append(max(float(np.abs(block[stem]).max(initial=0.0)) for stem in self._plans))
            done += next(iter(block.values())).shape[1]
            yield block
            on_progress(done / self._samples)
        if done != self._samples:
            raise ModelError(FailureCode.SEPARATION_INVALID, f"It returned {done} of {self._samples} samples.")

    def _check_lengths(self) -> None:
        for plan in self._plans.values():
            samples = declared_samples(plan.path)
            if abs(samples - self._samples) > self._tolerance:
                detail = f"{plan.path.name} has {samples} samples instead of {self._samples}."
                raise StageError(FailureCode.ARTIFACT_MISMATCH, detail)


def _with_equal_channels(block: StemBlock) -> StemBlock:
    """Return the mean of both channels in both: networks treat equal channels almost, but not quite, the same."""
    return {stem: np.repeat(samples.mean(axis=0, keepdims=True), 2, axis=0) for stem, samples in block.items()}


def _replay(spools: Mapping[Stem, StemSpool]) -> Iterator[StemBlock]:
    for blocks in zip(*(spool.blocks() for spool in spools.values()), strict=True):
        yield dict(zip(spools, blocks, strict=True))
