"""Files whose tags are in undeclared, wrong or broken encodings."""

import io
import struct
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream

from tests.support.audio import RATE, Audio, tone

Frames = list[tuple[bytes, bytes]]


def mp3(audio: Audio | None = None) -> bytes:
    """Return an mp3 without any tag."""
    return encoded(tone(1) if audio is None else audio, "mp3", "libmp3lame", {"id3v2_version": "0", "write_xing": "0"})


def encoded(
    audio: Audio, container: str, codec: str, options: dict[str, str] | None = None, rate: int = RATE, **tags: str
) -> bytes:
    """Return audio in any container that FFmpeg writes; `options` are the container's."""
    content, layout = io.BytesIO(), {1: "mono", 2: "stereo", 6: "5.1"}[audio.shape[0]]
    with av.open(content, "w", format=container, container_options=options or {}) as file:
        file.metadata.update(tags)
        stream = cast(AudioStream, file.add_stream(codec, rate=rate, options={"strict": "experimental"}))
        stream.layout = layout
        stream.bit_rate = 192_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


def with_id3v1(title: bytes, artist: bytes = b"") -> bytes:
    fields = (title.ljust(30, b"\0"), artist.ljust(30, b"\0"), bytes(30), b"1999", bytes(30))
    return mp3() + b"TAG" + b"".join(field[:30] for field in fields) + b"\x11"


def with_id3v2(frames: Frames, version: int = 4) -> bytes:
    """Return an mp3 with frames whose bytes may lie about their encoding."""
    body = b""
    for name, content in frames:
        size = synchsafe(len(content)) if version == 4 else struct.pack(">I", len(content))
        body += name + size + b"\0\0" + content
    return b"ID3" + bytes((version, 0, 0)) + synchsafe(len(body)) + body + mp3()


def synchsafe(size: int) -> bytes:
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))


def with_info(chunks: Frames) -> bytes:
    """Return a WAV with a LIST INFO chunk, in which Windows programs write their own code page."""
    info = b"INFO"
    for name, content in chunks:
        info += name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    data = np.round(tone(1).T * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 2, RATE, 4 * RATE, 4, 16)
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(content)) + content
        for name, content in ((b"fmt ", form), (b"LIST", info), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_vorbis_comment(title: bytes) -> bytes:
    """Return a FLAC whose title has these bytes."""
    placeholder = "x" * len(title)
    content = encoded(tone(1), "flac", "flac", title=placeholder)
    assert placeholder.encode() in content
    return content.replace(placeholder.encode(), title)


def with_handler_name(name: bytes) -> bytes:
    """Return an m4a whose sound handler has a name with these bytes."""
    default = b"SoundHandler"
    content = encoded(tone(1), "ipod", "aac", title="Song")
    assert default in content
    return content.replace(default, name[: len(default)].ljust(len(default)))
