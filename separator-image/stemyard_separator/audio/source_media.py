"""Decodes source files of unknown format with PyAV (FFmpeg)."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import av
import av.error
from av.audio.stream import AudioStream
from av.codec import Codec, codecs_available
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import SAMPLE_RATE
from stemyard_separator.audio.file_kinds import HEAD_BYTES, IMAGE, explain
from stemyard_separator.audio.frames import (
    float_blocks,
    silence_invalid,
    silent_blocks,
    to_stereo,
    undecodable,
)
from stemyard_separator.audio.resampling import Resampler
from stemyard_separator.audio.tag_text import decode_tags
from stemyard_separator.audio.timeline import Timeline
from stemyard_separator.engines.protocol import Samples
from stemyard_separator.errors import SourceError

_CONTAINERS: Final = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,iff,ircam,loas,matroska,webm,mlp,mov,mp3,mp4,"
    "mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,opus,shn,sox,tak,truehd,tta,voc,w64,wav,wsd,wv"
)
"""Demuxers of single files. Playlists (hls, dash, concat) could make the service read other URLs or files."""
_ESTIMATED: Final = frozenset(
    {"aac", "ac3", "dts", "dtshd", "eac3", "gsm", "loas", "mlp", "mp3", "mpeg", "mpegts", "truehd"}
)
"""Formats without a declared length: FFmpeg's estimate from the bit rate is often wrong."""
_TIMED: Final = frozenset({"asf", "flac", "flv", "matroska", "mov", "mpeg", "mpegts", "mxf", "nut", "wv"})
"""Formats whose frames have timestamps of their own."""
_DISCONTINUOUS: Final = frozenset({"mpeg", "mpegts"})
"""Formats whose timestamps may jump, since recordings are joined without rewriting them."""
_DISCONTINUITY: Final = 10.0
"""Longest hole in such a format, in seconds: FFmpeg's own threshold."""
_TAGGED_STREAMS: Final = frozenset({"ogg"})
"""Formats whose tags belong to the stream; elsewhere a stream's title is a label such as `Stereo`."""
_SECONDARY: Final = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired
_COMMENTARY: Final = re.compile(r"comment|descri(bed|ption)", re.IGNORECASE)
_ENCRYPTED: Final = frozenset({"drms", "enca"})
"""Sample entries of mp4 whose samples need a key."""
_AV_TIME_BASE: Final = 1_000_000
_MAX_TAG: Final = 256


def _audio_decoders() -> str:
    """Return the names of FFmpeg's audio decoders, comma-separated."""
    names = []
    for name in sorted(codecs_available):
        with suppress(UnknownCodecError):  # it has an encoder only
            if Codec(name, "r").type == "audio":
                names.append(name)
    return ",".join(names)


_DECODER_OPTIONS: Final = MappingProxyType(
    {
        "format_whitelist": _CONTAINERS,
        "protocol_whitelist": "file",
        # to find out what a file is, FFmpeg decodes something of each stream: here no pictures
        "codec_whitelist": _audio_decoders(),
    }
)


class SourceMedia:
    """A media file of unknown format; one of its audio streams is used.

    Raises:
        SourceError: SOURCE_UNDECODABLE if it is not a media file or has no audio stream; SOURCE_DRM.
    """

    def __init__(self, path: Path) -> None:
        self._size = max(1, path.stat().st_size)
        self.fraction = 0.0
        """Share of the file that has been decoded."""
        self.is_cut = False
        """Whether the file could not be read to its end."""
        self.values = self.invalid_values = 0
        """Decoded samples of all channels, and those that were not plausible numbers and are silent."""
        try:
            self._file = open_media(path)
        except (av.error.FFmpegError, ValueError) as error:
            raise undecodable(_explanation(path)) from error
        self._tags = decode_tags(self._file.metadata)
        try:
            self._stream = _main_stream(self._file, path)
        except SourceError:
            self._file.close()
            raise
        if self._stream.codec_context.name == "wavpack":
            self._stream.codec_context.options = {"err_detect": "crccheck"}  # or damaged blocks are decoded to noise
        if self._file.format.name in _TAGGED_STREAMS:
            self._tags = decode_tags(self._stream.metadata) | self._tags

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def tag(self, name: str) -> str | None:
        """Return a tag of the recording, such as `title`."""
        for key, value in self._tags.items():
            if key.lower() == name and value.strip():
                return value.strip()[:_MAX_TAG]
        return None

    @property
    def rate(self) -> int:
        """Sample rate of the audio stream in Hz."""
        return self._stream.codec_context.sample_rate or SAMPLE_RATE

    @property
    def declared_seconds(self) -> float | None:
        """Length declared by the file; None if it declares none and FFmpeg only estimates it."""
        stream = self._stream
        if stream.duration is None or stream.time_base is None or _ESTIMATED & self._formats:
            return None
        declared = float(stream.duration * stream.time_base)
        # recorders and pipes leave any number in the header
        bit_rate = stream.codec_context.bit_rate if stream.codec_context.name.startswith("pcm_") else None
        return min(declared, 8 * self._size / bit_rate) if bit_rate else declared

    @property
    def _formats(self) -> frozenset[str]:
        return frozenset(self._file.format.name.split(","))

    def blocks(self) -> Iterator[Samples]:
        """Yield the audio as stereo at `SAMPLE_RATE`, with silence where the timestamps leave a hole."""
        resampler: Resampler | None = None
        timeline = self._timeline()
        for frame in self._frames():
            if resampler is None or resampler.rate != frame.sample_rate:
                if resampler is not None:
                    yield resampler.finish()
                resampler = Resampler(frame.sample_rate)
            if timeline is not None:
                silence = timeline.silence_before(frame.time, frame.samples / frame.sample_rate)
                yield from map(resampler.convert, silent_blocks(round(silence * frame.sample_rate)))
            for block in float_blocks(frame):
                self.values += block.size
                self.invalid_values += silence_invalid(block)
                yield resampler.convert(to_stereo(block, frame))
        if resampler is not None:
            yield resampler.finish()

    def _timeline(self) -> Timeline | None:
        """Return the timeline of a format with timestamps, None for formats in which frames simply follow."""
        if not _TIMED & self._formats:
            return None
        is_film = any(not stream.disposition & Disposition.attached_pic for stream in self._file.streams.video)
        start, length = self._file.start_time, self._file.duration
        longest = _DISCONTINUITY if _DISCONTINUOUS & self._formats or not length else length / _AV_TIME_BASE
        return Timeline(start / _AV_TIME_BASE if is_film and start is not None else None, longest)

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Yield decoded frames; broken packets are skipped, as players do, and so is what follows a broken container.

        Raises:
            SourceError: SOURCE_UNDECODABLE if most packets, or the very beginning, cannot be read.
        """
        decoded = broken = 0
        try:
            for packet in self._packets():
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    broken += 1
                    continue
                decoded += len(frames)
                yield from frames
        except av.error.FFmpegError as error:
            if not decoded:
                raise undecodable("The file is damaged.") from error
            self.is_cut = True
        if broken > decoded:
            raise undecodable("Most of its audio is damaged.")

    def _packets(self) -> "Iterator[Packet[AudioStream]]":
        for packet in self._file.demux(self._stream):
            if packet.pos is not None and packet.pos > 0:
                self.fraction = min(1.0, packet.pos / self._size)
            yield packet


def open_media(path: Path) -> InputContainer:
    """Open a file of unknown format; raises what PyAV raises."""
    options = dict(_DECODER_OPTIONS)
    try:
        # tags in other encodings than UTF-8 must not refuse the file
        return av.open(str(path.absolute()), "r", options=options, metadata_errors="surrogateescape")
    except TypeError:  # PyAV newer than 18 has no such option and always reads tags this way
        return av.open(str(path.absolute()), "r", options=options)


def _explanation(path: Path) -> str:
    with path.open("rb") as file:
        return explain(file.read(HEAD_BYTES))


def _main_stream(file: InputContainer, path: Path) -> AudioStream:
    """Return the first audio stream that is no commentary, one marked as default before others.

    Raises:
        SourceError: SOURCE_UNDECODABLE if there is none, or if no audio stream has a decoder; SOURCE_DRM if it is
            encrypted.
    """
    if not file.streams.audio:
        explanation = _explanation(path)
        raise undecodable(explanation if explanation == IMAGE else "The file has no audio track.")
    # FFmpeg has no decoder for some tracks, such as the spatial audio beside the stereo track of a phone's film
    streams = [stream for stream in file.streams.audio if stream.codec_context is not None]
    if not streams:
        raise undecodable("The codec of its audio track is not supported.")
    chosen = min(streams, key=lambda stream: (_is_secondary(stream), not stream.disposition & Disposition.default))
    if _is_encrypted(chosen):
        raise SourceError(FailureCode.SOURCE_DRM, "Its audio track is encrypted.")
    return chosen


def _is_encrypted(stream: AudioStream) -> bool:
    try:
        return stream.codec_context.codec_tag in _ENCRYPTED
    except UnicodeDecodeError:  # PyAV decodes tags as ASCII, and they may be any four bytes
        return False


def _is_secondary(stream: AudioStream) -> bool:
    labels = (value for key, value in stream.metadata.items() if key.lower() in ("title", "handler_name"))
    return bool(stream.disposition & _SECONDARY) or any(_COMMENTARY.search(label) for label in labels)
