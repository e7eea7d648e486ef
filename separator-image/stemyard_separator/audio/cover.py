"""Cover images: read from a source, embedded into stems."""

import base64
import io
import struct
from pathlib import Path
from typing import Final, NamedTuple

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

from stemyard_separator.audio.source_media import open_media

_MAX_BYTES: Final = 4 << 20
"""Larger covers are left out: every stem would repeat them."""
_MAX_PIXELS: Final = 40_000_000
"""FFmpeg decodes a cover to find out what it is: one of 0.5 MB may take gigabytes."""
_MAX_PACKETS: Final = 64
_PICTURE_STREAMS: Final = frozenset({"mp3", "flac", "mp4"})
"""Muxers that store the packets of a picture stream; Opus has a comment instead, WAV nothing."""
_FRONT_COVER: Final = 3


class _ImageKind(NamedTuple):
    """FFmpeg's demuxer and the media type of an image."""

    demuxer: str
    media_type: str


_JPEG: Final = _ImageKind("jpeg_pipe", "image/jpeg")
_PNG: Final = _ImageKind("png_pipe", "image/png")


def read_cover(path: Path) -> bytes | None:
    """Return the first JPEG or PNG cover of a media file that is not broken; None if it has none."""
    try:
        with open_media(path) as file:
            pictures = [stream for stream in file.streams.video if stream.disposition & Disposition.attached_pic]
            for count, packet in enumerate(file.demux(pictures) if pictures else ()):
                content = bytes(packet)
                if len(content) <= _MAX_BYTES and _has_size(content):
                    return content
                if count >= _MAX_PACKETS:
                    break
    except (av.error.FFmpegError, ValueError):
        return None
    return None


def embed_cover(file: OutputContainer, container: str, cover: bytes) -> None:
    """Add a cover to a file, before its first sample is written."""
    kind = _kind(cover)
    if kind is None:
        return
    if container == "opus":
        file.metadata["METADATA_BLOCK_PICTURE"] = base64.b64encode(_flac_picture(cover, kind.media_type)).decode()
    if container in _PICTURE_STREAMS:
        with _open_image(cover, kind) as image:
            [source] = image.streams.video
            stream = file.add_stream_from_template(source)
            stream.disposition = Disposition.attached_pic
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            file.mux(packet)


def _has_size(content: bytes) -> bool:
    """Return whether a file is an image with a size that FFmpeg finds: without one its muxers refuse the whole stem."""
    kind = _kind(content)
    if kind is None:
        return False
    try:
        with _open_image(content, kind) as image:
            [stream] = image.streams.video
            return stream.width > 0 and stream.height > 0
    except (av.error.FFmpegError, ValueError):
        return False


def _open_image(content: bytes, kind: _ImageKind) -> InputContainer:
    options = {"max_pixels": str(_MAX_PIXELS)}
    return av.open(io.BytesIO(content), "r", format=kind.demuxer, options=options)


def _kind(content: bytes) -> _ImageKind | None:
    if content.startswith(b"\xff\xd8\xff"):
        return _JPEG
    return _PNG if content.startswith(b"\x89PNG") else None


def _flac_picture(cover: bytes, media_type: str) -> bytes:
    """Return a picture block of FLAC (RFC 9639, section 8.8) whose dimensions are left for the reader to find."""
    name = media_type.encode()
    head = struct.pack(">II", _FRONT_COVER, len(name)) + name + struct.pack(">I", 0)
    return head + bytes(16) + struct.pack(">I", len(cover)) + cover
