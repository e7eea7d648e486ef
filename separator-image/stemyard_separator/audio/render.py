"""Encodes stems while they are separated, from spools: one gain for all, or again with a smaller one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from stemyard_separator.audio.spool import StemSpool
from stemyard_separator.engines.protocol import StemBlock
from stemyard_separator.errors import ModelError, StageError

HEADROOM_PEAK: Final = 0.89
"""Maximum peak of source and stems: -1 dBFS, headroom for the overshoot of lossy codecs."""
_MAX_PEAK: Final = 16.0
"""Peak of a stem, relative to its encoded song's full scale, that only a failed network has: 24 dB above it."""
_LOOK_SECONDS: Final = 1.0


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
        equal = map(_with_equal_channels, blocks) if self._is_mono else blocks
        checked = self._checked(equal, on_progress)
        with ExitStack() as stack:
            spools = {stem: stack.enter_context(StemSpool(self._folder, stem)) for stem in self._plans}
            with self._encoders(spools, gain) as encoders:
                peak = _spool(checked, spools, encoders)
                self._check_peak(peak, gain, silent=silent)
                if peak * gain > 1.0:
                    _abandon(spools)
                else:
                    _wait(encoders, on_progress)
            if peak * gain > 1.0:
                gain = gain_for(peak)
                with self._encoders(spools, gain) as encoders:
                    _wait(encoders, on_progress)
        self._check_lengths()
        return Rendering(
            files={stem: plan.path for stem, plan in self._plans.items()},
            peaks={stem: plan.peaks for stem, plan in self._plans.items()},
            levels={stem: encoder.levels for stem, encoder in encoders.items()},
            gain=gain,
        )

    @contextmanager
    def _encoders(self, spools: Mapping[Stem, StemSpool], gain: float) -> Iterator[Mapping[Stem, StemEncoder]]:
        """Encode the spools' stems; the files are complete when the context exits."""
        with ExitStack() as stack:
            yield {
                stem: stack.enter_context(StemEncoder(plan, gain, spools[stem])) for stem, plan in self._plans.items()
            }

    def _check_peak(self, peak: float, gain: float, *, silent: bool) -> None:
        if not peak and not silent:
            raise ModelError(FailureCode.SEPARATION_INVALID, "All its stems are silent.")
        if peak * gain > _MAX_PEAK:
            raise ModelError(FailureCode.SEPARATION_INVALID, "Its stems are far louder than the song.")

    def _checked(self, blocks: Iterable[StemBlock], on_progress: OnProgress) -> Iterator[StemBlock]:
        """Check the blocks' values and lengths while passing on the requested stems."""
        done = 0
        for block in blocks:
            for stem in self._plans:
                if not np.isfinite(block[stem]).all():
                    raise ModelError(FailureCode.SEPARATION_INVALID, f"Its {stem} contain values that are not numbers.")
            done += next(iter(block.values())).shape[1]
            yield {stem: block[stem] for stem in self._plans}
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


def _spool(
    blocks: Iterable[StemBlock], spools: Mapping[Stem, StemSpool], encoders: Mapping[Stem, StemEncoder]
) -> float:
    """Append all blocks to the spools, which are encoded meanwhile; return the largest absolute sample."""
    peak = 0.0
    for block in blocks:
        for stem, samples in block.items():
            encoders[stem].check()
            spools[stem].append(samples)
            peak = max(peak, float(np.abs(samples).max(initial=0.0)))
    for spool in spools.values():
        spool.end()
    return peak


def _abandon(spools: Mapping[Stem, StemSpool]) -> None:
    for spool in spools.values():
        spool.abandon()


def _wait(encoders: Mapping[Stem, StemEncoder], on_progress: OnProgress) -> None:
    """Wait for the encoders; `on_progress` is called meanwhile, which may end the rendering."""
    for encoder in encoders.values():
        while not encoder.is_done(_LOOK_SECONDS):
            on_progress(1.0)
