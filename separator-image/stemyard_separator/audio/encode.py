"""Encodes and measures one stem in a background thread while the network separates the next segments."""

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from stemyard_separator.audio.formats import Encoding
from stemyard_separator.audio.loudness import LevelMeter, Levels
from stemyard_separator.audio.media import StemWriter
from stemyard_separator.audio.peaks import Waveform
from stemyard_separator.audio.spool import StemSpool
from stemyard_separator.engines.protocol import Samples

_QUEUED_BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class StemPlan:
    """Files, length, encoding and tags of one stem.

    Attributes:
        path: the encoded file.
        peaks: the waveform file.
        samples: length of the track per channel.
        encoding: codec and container.
        tags: tags of the file.
        cover: image for the file.
    """

    path: Path
    peaks: Path
    samples: int
    encoding: Encoding
    tags: Mapping[str, str] = field(default_factory=dict)
    cover: bytes | None = None


class StemEncoder:
    """Applies the gain to a stem, measures, spools and encodes it; the files are complete when the context exits."""

    def __init__(self, plan: StemPlan, gain: float, spool: StemSpool | None = None) -> None:
        self._plan, self._gain, self._spool = plan, np.float32(gain), spool
        self._queue: queue.Queue[Samples | None] = queue.Queue(_QUEUED_BLOCKS)
        self._failure: Exception | None = None
        self._levels: Levels | None = None
        self._thread = threading.Thread(target=self._run, name=f"encode {plan.path.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    @property
    def levels(self) -> Levels:
        """Levels of the whole stem; valid once the context has exited."""
        return self._levels or Levels(None, None)

    def put(self, samples: Samples) -> None:
        """Queue the next samples; blocks while the queue is full."""
        if self._failure is not None:
            raise self._failure
        self._queue.put(samples)

    def _run(self) -> None:
        blocks = self._queued()
        try:
            self._encode(blocks)
        except Exception as error:  # noqa: BLE001 - re-raised by the calling thread
            self._failure = error
            for _ in blocks:  # drain the queue, so that `put` does not block
                pass

    def _encode(self, blocks: Iterator[Samples]) -> None:
        plan = self._plan
        meter, waveform = LevelMeter(), Waveform(plan.samples)
        with StemWriter(plan.path, plan.encoding, plan.tags, plan.cover) as writer:
            for samples in blocks:
                scaled = samples * self._gain
                writer.write(scaled)
                meter.update(scaled)
                waveform.update(scaled)
                if self._spool is not None:
                    self._spool.append(scaled)
        self._levels = meter.result()
        plan.peaks.write_text(waveform.json())

    def _queued(self) -> Iterator[Samples]:
        while (samples := self._queue.get()) is not None:
            yield samples
