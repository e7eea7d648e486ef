"""Decodes source files, encodes stems and reads FLAC, with PyAV (FFmpeg); only this module imports PyAV."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Protocol, Self, cast

import av
import av.error
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.stream import AudioStream
from av.packet import Packet

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import SAMPLE_RATE
from stemyard_contract.output import Output
from stemyard_separator.audio.channels import stereo_matrix
from stemyard_separator.audio.formats import Encoding, encoding_for
from stemyard_separator.audio.lame import lame_version
from stemyard_separator.engines.protocol import Samples
from stemyard_separator.errors import SourceError

Pcm24 = npt.NDArray[np.int32]
"""24-bit samples in int32, (channels, samples)."""

_CONTAINERS: Final = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,loas,matroska,webm,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,"
    "ogg,opus,tta,w64,wav,wv"
)
"""Demuxers of single files. Playlists (hls, dash, concat) could make the service read other URLs or files."""
_ESTIMATED: Final = frozenset({"aac", "ac3", "dts", "eac3", "loas", "mp3", "mpeg", "mpegts"})
"""Formats without a declared length: FFmpeg's estimate from the bit rate is often wrong."""
_SAMPLE_RATES: Final = range(4_000, 768_001)
_MAX_BLOCK: Final = 1 << 18
"""Samples converted at once: a container may have all of its audio in a single frame."""
_MAX_TAG: Final = 256
_DECODER_OPTIONS: Final = MappingProxyType({"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"})


class SourceMedia:
    """A media file of unknown format; only its first audio stream is used.

    Raises:
        SourceError: SOURCE_UNDECODABLE if it is not a media file or has no audio stream.
    """

    def __init__(self, path: Path) -> None:
        self._size = max(1, path.stat().st_size)
        self.fraction = 0.0
        """Share of the file that has been decoded."""
        try:
            self._file = av.open(str(path), options=dict(_DECODER_OPTIONS))
        except (av.error.FFmpegError, ValueError) as error:
            raise _undecodable("The file's format is not a known audio or video format.") from error
        if not self._file.streams.audio:
            self._file.close()
            raise _undecodable("The file has no audio track.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def tag(self, name: str) -> str | None:
        """Return a tag such as `title` of the file or of its audio stream."""
        for tags in (self._file.metadata, self._file.streams.audio[0].metadata):
            for key, value in tags.items():
                if key.lower() == name and value.strip():
                    return value.strip()[:_MAX_TAG]
        return None

    @property
    def declared_seconds(self) -> float | None:
        """Length declared by the file; None if it declares none and FFmpeg only estimates it."""
        stream = self._file.streams.audio[0]
        if stream.duration is None or stream.time_base is None or _ESTIMATED & set(self._file.format.name.split(",")):
            return None
        return float(stream.duration * stream.time_base)

    def blocks(self) -> Iterator[Samples]:
        """Yield the audio as stereo at `SAMPLE_RATE`."""
        resampler: _Resampler | None = None
        for frame in self._frames():
            if resampler is None or resampler.rate != frame.sample_rate:
                if resampler is not None:
                    yield resampler.finish()
                resampler = _Resampler(frame.sample_rate)
            for block in _stereo_blocks(frame):
                yield resampler.convert(block)
        if resampler is not None:
            yield resampler.finish()

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Yield decoded frames; broken packets are skipped, as players do."""
        decoded = broken = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                broken += 1
                continue
            decoded += len(frames)
            yield from frames
        if broken > decoded:
            raise _undecodable("Most of its audio is damaged.")

    def _packets(self) -> "Iterator[Packet[AudioStream]]":
        try:
            for packet in self._file.demux(self._file.streams.audio[0]):
                if packet.pos is not None and packet.pos > 0:
                    self.fraction = min(1.0, packet.pos / self._size)
                yield packet
        except av.error.FFmpegError as error:
            raise _undecodable("The file is damaged.") from error


class _Resampler:
    """Resamples stereo from one sample rate to another."""

    def __init__(self, rate: int, target: int = SAMPLE_RATE) -> None:
        if rate not in _SAMPLE_RATES:
            raise _undecodable(f"Its sample rate is {rate} Hz.")
        self.rate = rate
        self._stream = None if rate == target else soxr.ResampleStream(rate, target, 2, dtype="float32")

    def convert(self, samples: Samples) -> Samples:
        return samples if self._stream is None else self._run(samples, last=False)

    def finish(self) -> Samples:
        empty = np.zeros((2, 0), np.float32)
        return empty if self._stream is None else self._run(empty, last=True)

    def _run(self, samples: Samples, *, last: bool) -> Samples:
        assert self._stream is not None  # noqa: S101 - narrows the type
        return np.ascontiguousarray(self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=last).T)


_FULL_SCALE: Final = MappingProxyType({"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "flt": 1.0, "dbl": 1.0})


@lru_cache(maxsize=64)
def _matrix(layout: str, channels: tuple[str, ...]) -> npt.NDArray[np.float32]:
    return stereo_matrix(channels)


def _stereo_blocks(frame: av.AudioFrame) -> Iterator[Samples]:
    names = tuple(channel.name for channel in frame.layout.channels) or ("NONE",) * frame.layout.nb_channels
    matrix = _matrix(frame.layout.name, names)
    for block in _float_blocks(frame):
        yield block if matrix.shape[1] == 2 else np.ascontiguousarray(matrix @ block)


def _float_blocks(frame: av.AudioFrame) -> Iterator[Samples]:
    """Yield a frame as (channels, samples) of float32, full scale 1.0."""
    sample_format = frame.format.name.removesuffix("p")
    if sample_format not in _FULL_SCALE:
        raise _undecodable(f"Its sample format is {frame.format.name}.")
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    for start in range(0, values.shape[1], _MAX_BLOCK):
        floats = np.ascontiguousarray(values[:, start : start + _MAX_BLOCK], np.float32)
        if sample_format == "u8":
            floats -= np.float32(128)
        if _FULL_SCALE[sample_format] != 1.0:
            floats /= np.float32(_FULL_SCALE[sample_format])
        yield floats


def _undecodable(detail: str) -> SourceError:
    return SourceError(FailureCode.SOURCE_UNDECODABLE, detail)


class StemWriter:
    """Encodes stereo at `SAMPLE_RATE` to a seekable file; its header is completed when the context exits.

    Args:
        path: file to write.
        encoding: codec, container and their options.
        tags: tags of the file.
    """

    def __init__(self, path: Path, encoding: Encoding, tags: Mapping[str, str] = MappingProxyType({})) -> None:
        self._encoding = encoding
        options = dict(encoding.container_options)
        self._file = av.open(str(path), "w", format=encoding.container, container_options=options)
        self._file.metadata.update(tags)
        stream = self._file.add_stream(encoding.codec, rate=encoding.rate, options=dict(encoding.options))
        self._stream = cast(AudioStream, stream)
        self._stream.layout = "stereo"
        self._stream.format = encoding.sample_format
        if encoding.bit_rate:
            self._stream.bit_rate = encoding.bit_rate
        self._resampler = _Resampler(SAMPLE_RATE, encoding.rate)
        self._time_base = Fraction(1, encoding.rate)
        self._written = 0

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
        sample_format = self._encoding.sample_format
        planes = values if sample_format.endswith("p") else values.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format=sample_format, layout="stereo")
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


def read_flac(source: Path | Readable, exponent: int) -> Iterator[Samples]:
    """Yield the samples of a FLAC written by `FlacWriter`, multiplied by 2^exponent; raises what `source` raises."""
    scale = np.float32(2.0**exponent)
    file_or_path = str(source) if isinstance(source, Path) else source
    with av.open(file_or_path, "r", options={"format_whitelist": "flac"}) as file:
        for frame in file.decode(audio=0):
            for block in _float_blocks(frame):
                yield block * scale


def declared_samples(path: Path) -> int:
    """Return the samples per channel that the file's header declares, at `SAMPLE_RATE`; 0 if it declares none."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        if stream.duration is None or stream.time_base is None:
            return 0
        return round(stream.duration * stream.time_base * SAMPLE_RATE)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decode and encode."""
    codec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return {"av": av.__version__, "libavcodec": codec, "soxr": soxr.__version__, **lame_version()}
