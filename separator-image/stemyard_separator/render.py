"""Stems to files while they are being separated: one gain for all of them, a spool in case it has to be smaller."""

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from stemyard_contract.failures import FailureCode
from stemyard_contract.separationjob import Output, Stem
from stemyard_separator.decode import Watch
from stemyard_separator.engines.protocol import Samples, StemBlock
from stemyard_separator.errors import ModelError, StageError
from stemyard_separator.media import Mp3Writer, stated_samples

HEADROOM_PEAK: Final = 0.89
"""Peak that the loudest of source and stems is brought down to: -1 dBFS, room for what lossy codecs overshoot."""
_BLOCK_SAMPLES: Final = 1 << 18
_QUEUED_BLOCKS: Final = 2


def gain_for(peak: float) -> float:
    """Return the gain, at most 1, that keeps a signal of this peak within the headroom."""
    return min(1.0, HEADROOM_PEAK / peak) if peak > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Rendering:
    """Encoded stems, and the gain they all have."""

    files: Mapping[Stem, Path]
    gain: float


class StemSpool:
    """The float samples of one stem on disk, and their peak."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self.peak = 0.0

    def append(self, samples: Samples) -> None:
        """Add the next samples."""
        if samples.shape[1]:
            self.peak = max(self.peak, float(np.abs(samples).max()))
            self._file.write(np.ascontiguousarray(samples.T).data)

    def blocks(self) -> Iterator[Samples]:
        """Yield all samples from the beginning."""
        self._file.flush()
        with self._path.open("rb") as file:
            while raw := file.read(_BLOCK_SAMPLES * 8):
                yield np.frombuffer(raw, np.float32).reshape(-1, 2).T

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class _StemEncoder:
    """Encodes one stem in a thread of its own, while the network works on what follows."""

    def __init__(self, path: Path, output: Output, gain: float) -> None:
        self._path, self._output, self._gain = path, output, np.float32(gain)
        self._queue: queue.Queue[Samples | None] = queue.Queue(_QUEUED_BLOCKS)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"encode {path.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def put(self, samples: Samples) -> None:
        """Encode the next samples, soon."""
        if self._failure is not None:
            raise self._failure
        self._queue.put(samples)

    def _run(self) -> None:
        blocks = self._queued()
        try:
            with Mp3Writer(self._path, self._output.bitrate) as writer:
                for samples in blocks:
                    writer.write(samples * self._gain)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            self._failure = error
            for _ in blocks:  # so that nobody waits for room in the queue
                pass

    def _queued(self) -> Iterator[Samples]:
        while (samples := self._queue.get()) is not None:
            yield samples


class Renderer:
    """Writes the wanted stems of one track into a folder."""

    def __init__(self, folder: Path, stems: Sequence[Stem], output: Output, samples: int) -> None:
        self._files = {stem: folder / f"{stem}.{output.format}" for stem in stems}
        self._folder = folder
        self._output = output
        self._samples = samples

    def render(self, blocks: Iterable[StemBlock], gain: float, watch: Watch) -> Rendering:
        """Encode all blocks with `gain`, or with a smaller one if a stem turns out louder than the source.

        Raises:
            ModelError: SEPARATION_INVALID if the engine gives no numbers or too few.
            StageError: ARTIFACT_MISMATCH if a file is not as long as the track.
        """
        with ExitStack() as stack:
            spools = {stem: StemSpool(self._folder / f"{stem}.f32") for stem in self._files}
            for spool in spools.values():
                stack.callback(spool.close)
            self._encode(self._spooled(blocks, spools, watch), gain)
            peak = max(spool.peak for spool in spools.values())
            if peak * gain > 1.0:
                gain = gain_for(peak)
                self._encode(_side_by_side(spools), gain)
        self._check_lengths()
        return Rendering(files=self._files, gain=gain)

    def _encode(self, blocks: Iterable[StemBlock], gain: float) -> None:
        with ExitStack() as stack:
            encoders = {
                stem: stack.enter_context(_StemEncoder(path, self._output, gain)) for stem, path in self._files.items()
            }
            for block in blocks:
                for stem, encoder in encoders.items():
                    encoder.put(block[stem])

    def _spooled(
        self, blocks: Iterable[StemBlock], spools: Mapping[Stem, StemSpool], watch: Watch
    ) -> Iterator[StemBlock]:
        done = 0
        for block in blocks:
            for stem, spool in spools.items():
                if not np.isfinite(block[stem]).all():
                    raise ModelError(FailureCode.SEPARATION_INVALID, f"Its {stem} hold values that are not numbers.")
                spool.append(block[stem])
            done += next(iter(block.values())).shape[1]
            yield block
            watch(done / self._samples)
        if done != self._samples:
            raise ModelError(FailureCode.SEPARATION_INVALID, f"It gave {done} of {self._samples} samples.")

    def _check_lengths(self) -> None:
        for path in self._files.values():
            if (stated := stated_samples(path)) != self._samples:
                detail = f"{path.name} has {stated} samples instead of {self._samples}."
                raise StageError(FailureCode.ARTIFACT_MISMATCH, detail)


def _side_by_side(spools: Mapping[Stem, StemSpool]) -> Iterator[StemBlock]:
    for blocks in zip(*(spool.blocks() for spool in spools.values()), strict=True):
        yield dict(zip(spools, blocks, strict=True))
