"""Encodes and measures one stem in background threads while the network separates the next segments."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from stemyard_separator.audio.formats import Encoding
from stemyard_separator.audio.loudness import LevelMeter, Levels
from stemyard_separator.audio.media import StemWriter
from stemyard_separator.audio.peaks import Waveform
from stemyard_separator.audio.spool import AbandonedError, StemSpool
from stemyard_separator.engines.protocol import Samples
from stemyard_separator.process import yield_to_other_threads


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
    """Encodes and measures a stem while its spool grows, in two threads; its files are complete when the context exits.

    Args:
        plan: what to write.
        gain: factor for its samples.
        spool: the stem's samples.
    """

    def __init__(self, plan: StemPlan, gain: float, spool: StemSpool) -> None:
        self._plan, self._gain, self._spool = plan, np.float32(gain), spool
        self._failure: Exception | None = None
        self._levels = Levels(None, None)
        self._threads = [self._thread("encode", self._encode), self._thread("measure", self._measure)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self._spool.abandon()
        for thread in self._threads:
            thread.join()
        if kind is None:
            self.check()

    @property
    def levels(self) -> Levels:
        """Levels of the whole stem; valid once the context has exited."""
        return self._levels

    def check(self) -> None:
        """Raise what has failed so far."""
        if self._failure is not None:
            raise self._failure

    def is_done(self, timeout: float) -> bool:
        """Wait for so many seconds at most; return whether the end has come."""
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _thread(self, name: str, work: Callable[[Iterator[Samples]], None]) -> threading.Thread:
        blocks = self._spool.blocks()

        def run() -> None:
            # a device waits for the decoder and the network; nothing waits for the encoders until the end
            yield_to_other_threads()
            try:
                work(samples * self._gain for samples in blocks)
            except AbandonedError:
                return
            except Exception as error:  # noqa: BLE001 - re-raised by the calling thread
                self._failure = error

        return threading.Thread(target=run, name=f"{name} {self._plan.path.name}", daemon=True)

    def _encode(self, blocks: Iterator[Samples]) -> None:
        plan = self._plan
        with StemWriter(plan.path, plan.encoding, plan.tags, plan.cover) as writer:
            for samples in blocks:
                writer.write(samples)

    def _measure(self, blocks: Iterator[Samples]) -> None:
        meter, waveform = LevelMeter(), Waveform(self._plan.samples)
        for samples in blocks:
            meter.update(samples)
            waveform.update(samples)
        self._levels = meter.result()
        self._plan.peaks.write_text(waveform.json())
