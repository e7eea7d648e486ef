"""FFmpeg's own decoding of a file, as its command line does it: damaged packets are skipped, timestamps ignored.

Mono goes to both sides at its own level; FFmpeg's downmix would put it there at -3 dB.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import av.error
import numpy as np

from tests.support.audio import RATE, Audio


def reference(path: Path) -> Audio | None:
    """Return the first audio stream at 44.1 kHz in stereo; None if FFmpeg refuses the file or finds no sound in it."""
    try:
        with av.open(path.absolute(), metadata_errors="ignore") as file:
            if not file.streams.audio:
                return None
            blocks = list(_blocks(_frames(file)))
    except (av.error.FFmpegError, OSError):
        return None
    return np.concatenate(blocks, axis=1) if blocks else None


def _frames(file: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    packets = file.demux(file.streams.audio[0])
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
        except av.error.FFmpegError:
            return  # the rest cannot be read
        with suppress(av.error.FFmpegError):
            yield from packet.decode()


def _blocks(frames: Iterator[av.AudioFrame]) -> Iterator[Audio]:
    """Yield the samples frame by frame; a change of rate or channels starts another resampler."""
    resampler, form = None, None
    for frame in frames:
        if (frame.rate, frame.layout.name, frame.format.name) != form:
            yield from _resampled(resampler, None)
            form = (frame.rate, frame.layout.name, frame.format.name)
            resampler = av.AudioResampler("fltp", "mono" if len(frame.layout.channels) == 1 else "stereo", RATE)
        frame.pts = None
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _resampled(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> Iterator[Audio]:
    for each in resampler.resample(frame) if resampler is not None else ():
        yield np.broadcast_to(each.to_ndarray().astype(np.float64), (2, each.samples))
