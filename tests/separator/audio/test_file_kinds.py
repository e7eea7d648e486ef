"""Files that contain no audio: the message says what they are and what to send instead."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from stemyard_contract.failures import FailureCode
from stemyard_separator.audio.decode import decode
from stemyard_separator.errors import SourceError
from tests.support.audio import tone
from tests.support.films import film
from tests.support.nasty_tags import encoded


def image(codec: str, container: str, pixels: str) -> bytes:
    content = io.BytesIO()
    with av.open(content, "w", format=container) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=1))
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode(None))
    return content.getvalue()


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("song.mp3", bytes(5000))
    return content.getvalue()


def mp4() -> bytes:
    return encoded(tone(2), "mp4", "aac")


def heic() -> bytes:
    return struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(300)


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "The file is empty."),
    "a web page": (lambda: b"<html><body>404 Not Found</body></html>\n" * 50, "It is a web page."),
    "a web page with a byte order mark": (
        lambda: b"\xef\xbb\xbf\n<!DOCTYPE html><p>x" + bytes(900),
        "It is a web page.",
    ),
    "XHTML": (lambda: b"<?xml version='1.0'?>\n<html xmlns='x'/>", "It is a web page."),
    "an answer of an API": (lambda: b'{"error": "not found"}\n', "It is a text file."),
    "an mp4 without its end": (lambda: mp4()[: len(mp4()) * 6 // 10], "It is an incomplete mp4 file"),
    "JPEG": (lambda: image("mjpeg", "image2pipe", "yuvj420p"), "It is an image."),
    "PNG": (lambda: image("png", "image2pipe", "rgb24"), "It is an image."),
    "GIF": (lambda: image("gif", "gif", "rgb8"), "It is an image."),
    "WebP": (lambda: b"RIFF\x24\0\0\0WEBPVP8 " + bytes(400), "It is an image."),
    "HEIC": (heic, "It is an image."),
    "a zip archive": (archive, "It is an archive."),
    "a PDF": (lambda: b"%PDF-1.7\n" + bytes(range(256)) * 8, "It is a PDF document."),
    "MIDI": (lambda: b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0", "It is a MIDI file"),
    "a playlist": (lambda: b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/a.ts\n", "It is a playlist."),
    "a film without sound": (lambda: film("mp4", "aac", [], pictures=1.0), "The file has no audio track."),
    "noise": (lambda: b"\0" + np.random.default_rng(3).bytes(300_000), "not a known audio or video format."),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_without_audio_is_explained(tmp_path: Path, kind: str) -> None:
    make, words = FILES[kind]

    error = refused(make(), tmp_path)

    assert error.code is FailureCode.SOURCE_UNDECODABLE
    assert words in error.message


@pytest.mark.parametrize("entry", [b"drms", b"enca"])
def test_an_encrypted_track_is_refused_as_such(tmp_path: Path, entry: bytes) -> None:
    content = encoded(tone(1), "ipod", "aac")
    assert content.count(b"mp4a") == 1

    assert refused(content.replace(b"mp4a", entry), tmp_path).code is FailureCode.SOURCE_DRM


def refused(content: bytes, folder: Path) -> SourceError:
    path = folder / "source"
    path.write_bytes(content)
    with pytest.raises(SourceError) as error:
        decode(path, folder / "audio.flac", 3600, lambda _: None)
    return error.value
