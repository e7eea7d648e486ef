"""Keeps the samples of a stem on disk, so that it can be encoded again with a smaller gain."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from stemyard_separator.audio.media import FlacWriter, read_flac
from stemyard_separator.engines.protocol import Samples

_HEADROOM_EXPONENT: Final = 4
SPOOL_PEAK: Final = 2.0**_HEADROOM_EXPONENT
"""Largest absolute sample that a spool can hold: 24 dB above full scale; 20 bits are left below full scale."""


class StemSpool:
    """A temporary FLAC file of one stem, which takes a third of the space of floats; deleted when the context exits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: FlacWriter | None = FlacWriter(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._close(kind, error, at)
        finally:
            self._path.unlink(missing_ok=True)

    def _close(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        at: TracebackType | None = None,
    ) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.__exit__(kind, error, at)

    def append(self, samples: Samples) -> None:
        """Append the next samples; what exceeds `SPOOL_PEAK` is clipped."""
        if self._writer is not None:
            self._writer.write(samples * np.float32(1 / SPOOL_PEAK))

    def blocks(self) -> Iterator[Samples]:
        """Yield all samples from the start; nothing can be appended afterwards."""
        self._close()
        yield from read_flac(self._path, _HEADROOM_EXPONENT)
