"""Encodes stems and reads FLAC, with PyAV (FFmpeg)."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Protocol, Self, cast

import av
import av.error
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.stream import AudioStream

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_contract.output import Output
from stemyard_separator.audio.cover import embed_cover
from stemyard_separator.audio.formats import Encoding, encoding_for
from stemyard_separator.audio.frames import float_blocks
from stemyard_separator.audio.lame import lame_version
from stemyard_separator.audio.resampling import Resampler
from stemyard_separator.engines.protocol import Samples

Pcm24 = npt.NDArray[np.int32]
"""24-bit samples in int32, (channels, samples)."""


class StemWriter:
    """Encodes stereo at `SAMPLE_RATE`, or its first channel, to a file; exiting the context completes the header.

    Args:
        path: file to write.
        encoding: codec, container and their options.
        tags: tags of the file.
        cover: a JPEG or PNG image, left out where the container has no place for it.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        tags: Mapping[str, str] = MappingProxyType({}),
        cover: bytes | None = None,
    ) -> None:
        self._encoding = encoding
        options = dict(encoding.container_options)
        self._file = av.open(str(path.absolute()), "w", format=encoding.container, container_options=options)
        self._file.metadata.update(tags)
        stream = self._file.add_stream(encoding.codec, rate=encoding.rate, options=dict(encoding.options))
        self._stream = cast(AudioStream, stream)
        self._layout = "mono" if encoding.channels == 1 else "stereo"
        self._stream.layout = self._layout
        self._stream.format = encoding.sample_format
        if encoding.bit_rate:
            self._stream.bit_rate = encoding.bit_rate
        self._resampler = Resampler(SAMPLE_RATE, encoding.rate)
        self._time_base = Fraction(1, encoding.rate)
        self._written = 0
        if cover is not None:
            embed_cover(self._file, encoding.container, cover)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._encode(self._resampler.finish())
            self._file.mux(self._stream.encode(None))
            self._file.close()
            return
        with suppress(av.error.FFmpegError):  # do not mask the first error
            self._file.close()

    def write(self, samples: Samples) -> None:
        """Append samples, full scale 1.0; integer formats round them and clip at full scale."""
        self._encode(self._resampler.convert(samples))

    def write_pcm(self, samples: Pcm24) -> None:
        """Append 24-bit samples unchanged; for encodings of 24 bits."""
        self._mux(samples << _PAD_24_BITS)

    def _encode(self, samples: Samples) -> None:
        self._mux(samples if not self._encoding.bits else _quantise(samples, self._encoding.bits))

    def _mux(self, values: npt.NDArray[Any]) -> None:
        if not values.shape[1]:
            return
        sample_format, values = self._encoding.sample_format, values[: self._encoding.channels]
        planes = values if sample_format.endswith("p") else values.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format=sample_format, layout=self._layout)
        frame.sample_rate, frame.time_base, frame.pts = self._encoding.rate, self._time_base, self._written
        self._written += values.shape[1]
        self._file.mux(self._stream.encode(frame))


_PAD_24_BITS: Final = 8
"""FFmpeg stores 24 bits in the upper bits of 32."""


def _quantise(samples: Samples, bits: int) -> npt.NDArray[np.int16 | np.int32]:
    largest = (1 << (bits - 1)) - 1
    scaled = np.clip(np.round(samples * np.float32(largest + 1)), -largest - 1, largest)
    return scaled.astype(np.int16) if bits == 16 else scaled.astype(np.int32) << _PAD_24_BITS


class FlacWriter(StemWriter):
    """Writes the 24-bit FLAC that fetch passes to separate."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding_for(Output(format="flac", bit_depth=24)))


class Readable(Protocol):
    """A binary stream that is read once, from the start."""

    def read(self, size: int) -> bytes:
        """Return the next bytes, empty at the end."""


class Digest(Protocol):
    """A hash object of the standard library."""

    def update(self, data: bytes, /) -> None:
        """Hash the next bytes."""


def read_flac(source: Path | Readable, exponent: int, digest: Digest | None = None) -> Iterator[Samples]:
    """Yield the samples of a FLAC written by `FlacWriter`, multiplied by 2^exponent; raises what `source` raises.

    `digest` is updated with the interleaved little-endian 24-bit samples.
    """
    scale = np.float32(2.0**exponent)
    file_or_path = str(source.absolute()) if isinstance(source, Path) else source
    with av.open(file_or_path, "r", options={"format_whitelist": "flac"}) as file:
        for frame in file.decode(audio=0):
            if digest is not None:
                digest.update(_bytes_of_24_bits(frame))
            for block in float_blocks(frame):
                yield block * scale


def _bytes_of_24_bits(frame: av.AudioFrame) -> bytes:
    """Return the upper three bytes of each 32-bit sample; two channels interleaved."""
    values = frame.to_ndarray()
    if values.dtype != np.int32:
        return b""
    return values.astype("<i4", copy=False).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()


def declared_samples(path: Path) -> int:
    """Return the samples per channel that the file's header declares, at `SAMPLE_RATE`; 0 if it declares none."""
    with av.open(str(path.absolute())) as file:
        stream = file.streams.audio[0]
        if stream.duration is None or stream.time_base is None:
            return 0
        return round(stream.duration * stream.time_base * SAMPLE_RATE)


def stored_codec(path: Path) -> str:
    """Return FFmpeg's name of the codec that a file's audio is stored in, whichever decoder reads it."""
    with av.open(str(path.absolute())) as file:
        return file.streams.audio[0].codec_context.codec.canonical_name


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decode and encode."""
    codec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return {"av": av.__version__, "libavcodec": codec, "soxr": soxr.__version__, **lame_version()}
