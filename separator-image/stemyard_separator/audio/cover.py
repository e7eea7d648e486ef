"""Cover images: read from a source, embedded into stems."""

import base64
import io
import struct
from pathlib import Path
from typing import Final

import av
import av.error
from av.container import OutputContainer
from av.stream import Disposition

from stemyard_separator.audio.source_media import open_media

_MAX_BYTES: Final = 4 << 20
"""Larger covers are left out: every stem would repeat them."""
_MAX_PACKETS: Final = 64
_PICTURE_STREAMS: Final = frozenset({"mp3", "flac", "mp4"})
"""Muxers that store the packets of a picture stream; Opus has a comment instead, WAV nothing."""
_FRONT_COVER: Final = 3


def read_cover(path: Path) -> bytes | None:
    """Return the first JPEG or PNG cover of a media file; a file without one, or a broken one, is None."""
    try:
        with open_media(path) as file:
            pictures = [stream for stream in file.streams.video if stream.disposition & Disposition.attached_pic]
            for count, packet in enumerate(file.demux(pictures) if pictures else ()):
                content = bytes(packet)
                if _kind(content) is not None and len(content) <= _MAX_BYTES:
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
    demuxer, media_type = kind
    if container == "opus":
        file.metadata["METADATA_BLOCK_PICTURE"] = base64.b64encode(_flac_picture(cover, media_type)).decode()
    if container in _PICTURE_STREAMS:
        with av.open(io.BytesIO(cover), "r", format=demuxer) as image:
            [source] = image.streams.video
            stream = file.add_stream_from_template(source)
            stream.disposition = Disposition.attached_pic
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            file.mux(packet)


def _kind(content: bytes) -> tuple[str, str] | None:
    """Return FFmpeg's demuxer and the media type of an image."""
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg_pipe", "image/jpeg"
    return ("png_pipe", "image/png") if content.startswith(b"\x89PNG") else None


def _flac_picture(cover: bytes, media_type: str) -> bytes:
    """Return a picture block of FLAC (RFC 9639, section 8.8) whose dimensions are left for the reader to find."""
    name = media_type.encode()
    head = struct.pack(">II", _FRONT_COVER, len(name)) + name + struct.pack(">I", 0)
    return head + bytes(16) + struct.pack(">I", len(cover)) + cover
