"""The only module that knows PyAV: decodes what the internet calls audio, writes and reads FLAC, writes mp3."""

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self, cast

import av
import av.error
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.stream import AudioStream
from av.packet import Packet

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.channels import stereo_matrix
from stemyard_separator.engines.protocol import Samples
from stemyard_separator.errors import SourceError

Pcm24 = npt.NDArray[np.int32]
"""24-bit samples as (channels, samples) of int32."""

_CONTAINERS: Final = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,loas,matroska,webm,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,"
    "ogg,opus,tta,w64,wav,wv"
)
"""Demuxers that read one file. Playlists (hls, dash, concat) could make the service read other addresses or files."""
_BITS_TO_SPARE: Final = 320
_RATES: Final = range(4_000, 768_001)
_DECODER: Final = MappingProxyType({"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"})


class SourceMedia:
    """A media file of unknown kind; its first audio stream is what counts.

    Raises:
        SourceError: SOURCE_UNDECODABLE if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._size = max(1, path.stat().st_size)
        self.fraction = 0.0
        """How far into the file decoding is."""
        try:
            self._file = av.open(str(path), options=dict(_DECODER))
        except (av.error.FFmpegError, ValueError) as error:
            raise _undecodable("The file is of no known audio or video format.") from error
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
                    return value.strip()
        return None

    def blocks(self) -> Iterator[Samples]:
        """Yield the audio in stereo at `SAMPLE_RATE`."""
        resampler: _Resampler | None = None
        for frame in self._frames():
            if resampler is None or resampler.rate != frame.sample_rate:
                if resampler is not None:
                    yield resampler.finish()
                resampler = _Resampler(frame.sample_rate)
            yield resampler.convert(_stereo(frame))
        if resampler is not None:
            yield resampler.finish()

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Yield decoded frames; single broken packets are skipped, as players do."""
        good = broken = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                broken += 1
                continue
            good += len(frames)
            yield from frames
        if broken > good:
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
    """Takes stereo of one rate to `SAMPLE_RATE`."""

    def __init__(self, rate: int) -> None:
        if rate not in _RATES:
            raise _undecodable(f"Its sample rate is {rate} Hz.")
        self.rate = rate
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 2, dtype="float32")

    def convert(self, samples: Samples) -> Samples:
        return samples if self._stream is None else self._run(samples, last=False)

    def finish(self) -> Samples:
        nothing = np.zeros((2, 0), np.float32)
        return nothing if self._stream is None else self._run(nothing, last=True)

    def _run(self, samples: Samples, *, last: bool) -> Samples:
        assert self._stream is not None  # noqa: S101 - narrows the type
        return np.ascontiguousarray(self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=last).T)


_FULL_SCALE: Final = MappingProxyType({"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "flt": 1.0, "dbl": 1.0})


@lru_cache(maxsize=64)
def _matrix(layout: str, channels: tuple[str, ...]) -> npt.NDArray[np.float32]:
    return stereo_matrix(channels)


def _stereo(frame: av.AudioFrame) -> Samples:
    names = tuple(channel.name for channel in frame.layout.channels) or ("NONE",) * frame.layout.nb_channels
    matrix = _matrix(frame.layout.name, names)
    planes = _planes(frame)
    if matrix.shape[1] == 2:
        return planes
    return np.ascontiguousarray(matrix @ planes)


def _planes(frame: av.AudioFrame) -> Samples:
    """Return a frame as (channels, samples) of float32, full scale 1.0."""
    kind = frame.format.name.removesuffix("p")
    if kind not in _FULL_SCALE:
        raise _undecodable(f"Its sample format is {frame.format.name}.")
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    floats = np.ascontiguousarray(values, np.float32)
    if kind == "u8":
        floats -= np.float32(128)
    if _FULL_SCALE[kind] != 1.0:
        floats /= np.float32(_FULL_SCALE[kind])
    return floats


def _undecodable(detail: str) -> SourceError:
    return SourceError(FailureCode.SOURCE_UNDECODABLE, detail)


class _Writer:
    """Encodes stereo at `SAMPLE_RATE` into a seekable file, whose header is completed on closing."""

    def __init__(self, path: Path, codec: str, sample_format: str, options: dict[str, str], bit_rate: int) -> None:
        self._file = av.open(str(path), "w")
        self._stream = cast(AudioStream, self._file.add_stream(codec, rate=SAMPLE_RATE, options=options))
        self._stream.layout = "stereo"
        self._stream.format = sample_format
        if bit_rate:
            self._stream.bit_rate = bit_rate
        self._format = sample_format

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._file.mux(self._stream.encode(None))
            self._file.close()
            return
        with suppress(av.error.FFmpegError):  # what went wrong before matters more
            self._file.close()

    def _encode(self, values: Samples | Pcm24) -> None:
        frame = av.AudioFrame.from_ndarray(values, format=self._format, layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        self._file.mux(self._stream.encode(frame))


class FlacWriter(_Writer):
    """Writes 24-bit FLAC."""

    def __init__(self, path: Path) -> None:
        # level 3 is within 2 % of the size of level 8 on music at a fraction of its time
        super().__init__(path, "flac", "s32", {"compression_level": "3"}, 0)

    def write(self, samples: Pcm24) -> None:
        """Append samples."""
        if samples.shape[1]:
            self._encode(np.ascontiguousarray((samples << 8).T).reshape(1, -1))


def _lame_quality(kilobits_per_second: int) -> str:
    """Return LAME's quality, 0 slow to 9 fast.

    At 320 kbit/s there are bits to spare: without noise shaping (7) the noise stays 13 dB below the masking threshold,
    as it does at the default (2), in a third of the time. Below that, shaping is audible and 5 keeps all of it.
    """
    return "7" if kilobits_per_second >= _BITS_TO_SPARE else "5"


class Mp3Writer(_Writer):
    """Writes mp3 of a constant bit rate; its header tells decoders how much padding to drop."""

    def __init__(self, path: Path, kilobits_per_second: int) -> None:
        options = {"compression_level": _lame_quality(kilobits_per_second)}
        super().__init__(path, "libmp3lame", "fltp", options, kilobits_per_second * 1000)

    def write(self, samples: Samples) -> None:
        """Append samples."""
        if samples.shape[1]:
            self._encode(np.ascontiguousarray(samples, np.float32))


def read_flac(path: Path, exponent: int) -> Iterator[Samples]:
    """Yield the samples of a FLAC made by `FlacWriter`, multiplied by 2^exponent."""
    scale = np.float32(2.0**exponent)
    with av.open(str(path), options={"format_whitelist": "flac"}) as file:
        for frame in file.decode(audio=0):
            yield _planes(frame) * scale


def stated_samples(path: Path) -> int:
    """Return how many samples per channel a decoder will give, as the file's header says."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        if stream.duration is None or stream.time_base is None:
            return 0
        return round(stream.duration * stream.time_base * SAMPLE_RATE)


def library_versions() -> dict[str, str]:
    """Return the versions of what decodes and encodes."""
    codec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return {"av": av.__version__, "libavcodec": codec, "soxr": soxr.__version__}
