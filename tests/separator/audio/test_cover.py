"""Covers: broken ones are left out, whatever reads or writes them, and never refuse the audio."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stemyard_contract.output import Output
from stemyard_separator.audio.cover import read_cover
from stemyard_separator.audio.formats import encoding_for
from stemyard_separator.audio.media import StemWriter
from tests.support.audio import COVER, read, tone
from tests.support.nasty_tags import with_id3v2

JPEG = b"\xff\xd8\xff"
NOISE = np.random.default_rng(1).bytes(3000)


def png(width: int, height: int) -> bytes:
    """Return a transparent PNG."""
    rows = zlib.compressobj(9)
    pixels = b"".join(rows.compress(bytes(4 * width + 1)) for _ in range(height)) + rows.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


BROKEN = {
    "only the first bytes of a JPEG": JPEG,
    "noise called JPEG": JPEG + NOISE,
    "a JPEG without a picture": JPEG + b"\xe0" + bytes(500),
    "only the first bytes of a PNG": COVER[:8],
    "noise called PNG": COVER[:4] + NOISE,
    "a PNG without a size": COVER[:16] + bytes(8) + COVER[24:],
    "a PNG of 60,000 x 60,000": COVER[:16] + struct.pack(">II", 60_000, 60_000) + COVER[24:],
    "a PNG that takes half a gigabyte": png(11_000, 11_000),
    "a WebP": b"RIFF\x24\0\0\0WEBPVP8 " + bytes(24),
    "nothing": b"",
}


def song(folder: Path, *covers: bytes) -> Path:
    """Return an mp3 file with these covers."""
    path = folder / "song.mp3"
    path.write_bytes(with_id3v2([(b"APIC", b"\0image/png\0\3\0" + cover) for cover in covers], 3))
    return path


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_cover_is_no_cover(tmp_path: Path, kind: str) -> None:
    assert read_cover(song(tmp_path, BROKEN[kind])) is None


def test_the_first_cover_that_is_not_broken_is_taken(tmp_path: Path) -> None:
    assert read_cover(song(tmp_path, BROKEN["noise called JPEG"], COVER)) == COVER


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG of noise."""
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj420p", Fraction(1, 25)
    pixels = np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)
    [packet] = codec.encode(av.VideoFrame.from_ndarray(pixels).reformat(format="yuvj420p"))
    return bytes(packet)


@pytest.mark.parametrize("kind", ["mp3", "flac", "m4a", "opus"])
def test_a_cover_whose_second_half_is_missing_can_be_embedded(tmp_path: Path, kind: str) -> None:
    whole = jpeg(300, 200)
    cover = read_cover(song(tmp_path, whole[: len(whole) // 2]))
    stem = tmp_path / f"stem.{kind}"

    assert cover is not None
    with StemWriter(stem, encoding_for(Output(format=kind)), cover=cover) as writer:
        writer.write(tone(1).astype(np.float32))

    assert read(stem).shape[1] > 40_000
