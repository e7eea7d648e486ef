"""Files and links that try to exhaust memory, disk or time: each fails with its code, soon and in bounded memory."""

import io
import itertools
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.separationjob import Source
from tests.support import separator_process as separator
from tests.support.audio import CLIP, RATE, tone, write_encoded, write_float_wav, write_wav
from tests.support.desk_double import DeskDouble
from tests.support.http_server import Exchange, HttpServer

MAX_MEBIBYTES = 320.0
"""Maximum resident memory of a fetch; about 95 is normal."""
pytestmark = pytest.mark.timeout(240)


def fetched(desk: DeskDouble, upload: Source, content: bytes, folder: Path, **limits: float) -> separator.Ended:
    desk.files["input"] = content
    ended = separator.run(separator.assignment(desk, upload, **limits), folder, True)  # type: ignore[arg-type]
    assert ended.peak_mebibytes < MAX_MEBIBYTES
    return ended


def assert_failed(ended: separator.Ended, code: FailureCode, desk: DeskDouble) -> str:
    assert ended.outcome is not None, ended.output
    assert ended.outcome.code is code, ended.outcome
    assert ended.exit_code == FAILURES[code].exit_code
    assert not desk.order, "nothing is published"
    return ended.outcome.message or ""


def mp3_of_hours(hours: float) -> bytes:
    """Return silence at 8 kbit/s and 8 kHz: 3.6 MB an hour, in frames that follow each other without any header."""
    frame = bytes((0xFF, 0xE3, 0x18, 0xC4)) + bytes(68)
    return frame * int(hours * 3600 / 0.072)


def wav_that_claims(size: int, content: bytes = b"") -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, 4000, 4000, 1, 8)
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + (struct.pack("<I", size) + content)
    )


def silent_flac(seconds: int, rate: int, channels: int) -> bytes:
    """Return silence, which compresses to almost nothing."""
    content = io.BytesIO()
    with av.open(content, "w", format="flac") as file:
        stream = file.add_stream("flac", rate=rate)
        stream.layout = {2: "stereo", 8: "7.1"}[channels]
        silence = np.zeros((1, channels * rate), np.int16)
        for second in range(seconds):
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout=stream.layout)
            frame.sample_rate, frame.pts = rate, second * rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


def flac_that_claims(seconds: int) -> bytes:
    """Return two seconds whose header declares more."""
    content = flac()
    declared = int.from_bytes(content[18:26]) >> 36 << 36 | seconds * RATE
    return corrupted(content, 18, declared.to_bytes(8))


def matroska_of_one_frame(samples: int) -> bytes:
    """Return 8-bit audio in a single packet, so that it is decoded at once."""
    content = io.BytesIO()
    with av.open(content, "w", format="matroska") as file:
        stream = file.add_stream("pcm_u8", rate=RATE)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.full((1, samples), 130, np.uint8), format="u8", layout="mono")
        frame.sample_rate = RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


def with_picture(side: int) -> bytes:
    """Return the clip with a cover picture of side x side pixels, 3 bytes each when decompressed."""
    packer, rows = zlib.compressobj(1), []
    for _ in range(side):
        rows.append(packer.compress(bytes(1 + 3 * side)))
    packed = b"".join(rows) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return with_frame(b"APIC", b"\x00image/png\x00\x03\x00" + png)


def with_frame(name: bytes, content: bytes) -> bytes:
    frame = name + len(content).to_bytes(4, "big") + b"\x00\x00" + content
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame + CLIP.read_bytes()


def test_a_declared_length_over_the_limit_is_refused_before_decoding(
    desk: DeskDouble, upload: Source, tmp_path: Path
) -> None:
    content = flac_that_claims(10 * 3600)

    message = assert_failed(fetched(desk, upload, content, tmp_path), FailureCode.SOURCE_TOO_LONG, desk)

    assert "It lasts 36000 s; at most 3600 s are accepted." in message
    assert not [each for each in desk.progress if each.step == "decode"], "nothing is decoded"


def test_an_undeclared_length_over_the_limit_is_refused_while_decoding(
    desk: DeskDouble, upload: Source, tmp_path: Path
) -> None:
    content = mp3_of_hours(10)
    assert len(content) < 50 << 20, "a file of ordinary size"

    ended = fetched(desk, upload, content, tmp_path, max_seconds=300)

    assert_failed(ended, FailureCode.SOURCE_TOO_LONG, desk)


def test_an_estimated_length_is_no_reason_to_refuse(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    # FFmpeg extrapolates the first frame's 8 kbit/s and estimates that the clip lasts minutes
    content = mp3_of_hours(0.001) + CLIP.read_bytes()

    ended = fetched(desk, upload, content, tmp_path, max_seconds=60)

    assert ended.exit_code == 0, ended.output


BOMBS: dict[str, tuple[Callable[[], bytes], FailureCode]] = {
    "silence that unpacks 2,000-fold": (lambda: silent_flac(60, 192_000, 8), FailureCode.SOURCE_TOO_LONG),
    "all samples in one frame": (lambda: matroska_of_one_frame(40 << 20), FailureCode.SOURCE_TOO_LONG),
    "a header that claims 4 GiB": (lambda: wav_that_claims(0xFFFFFFFE, bytes(40)), FailureCode.SOURCE_TOO_SHORT),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_they_are_unpacked(
    desk: DeskDouble, upload: Source, tmp_path: Path, kind: str
) -> None:
    make, code = BOMBS[kind]

    assert_failed(fetched(desk, upload, make(), tmp_path, max_seconds=30), code, desk)


def test_a_single_frame_of_minutes_is_split(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    ended = fetched(desk, upload, matroska_of_one_frame(20 << 20), tmp_path)

    assert ended.exit_code == 0, ended.output
    assert separator.fetched_mark(desk).samples == 20 << 20


def test_a_large_picture_is_not_decompressed(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    content = with_picture(19_000)
    assert len(content) < 10 << 20

    ended = fetched(desk, upload, content, tmp_path)

    assert ended.exit_code == 0, ended.output


def test_a_title_of_megabytes_is_truncated(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    ended = fetched(desk, upload, with_frame(b"TIT2", b"\x00" + b"la " * (1 << 20)), tmp_path)

    assert ended.exit_code == 0, ended.output
    assert len(separator.fetched_mark(desk).media.title or "") <= 256


def corrupted(content: bytes, at: int, with_: bytes) -> bytes:
    return content[:at] + with_ + content[at + len(with_) :]


def flac() -> bytes:
    return silent_flac(2, RATE, 2)


def mp4(folder: Path) -> bytes:
    return write_encoded(folder / "x.m4a", tone(1), "aac").read_bytes()


def mp4_with_wrong_table(folder: Path) -> bytes:
    """Return an mp4 whose table of sample sizes claims four billion entries."""
    content = mp4(folder)
    return corrupted(content, content.index(b"stsz") + 12, b"\xff\xff\xff\xf0")


HEADERS: dict[str, Callable[[Path], bytes]] = {
    "wav of 65,535 channels": lambda folder: corrupted(wav_that_claims(4000, bytes(4000)), 22, b"\xff\xff"),
    "wav of no channels": lambda folder: corrupted(wav_that_claims(4000, bytes(4000)), 22, b"\0\0"),
    "wav at 1 Hz": lambda folder: corrupted(wav_that_claims(900, bytes(900)), 24, b"\1\0\0\0"),
    "wav at 4 GHz": lambda folder: corrupted(wav_that_claims(4000, bytes(4000)), 24, b"\xff\xff\xff\xff"),
    "wav of no known codec": lambda folder: corrupted(wav_that_claims(4000, bytes(4000)), 20, b"\xfe\xca"),
    "flac without a header": lambda folder: corrupted(flac(), 0, bytes(42)),
    "flac truncated in its header": lambda folder: flac()[:30],
    "mp4 with a wrong table": mp4_with_wrong_table,
    "mp4 cut before its table": lambda folder: mp4(folder)[:2000],
    "matroska of endless nesting": lambda folder: b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff" * 1000,
    "ogg of empty pages": lambda folder: (b"OggS\0\2" + bytes(20) + b"\0") * 5000,
}


@pytest.mark.parametrize("kind", HEADERS)
def test_corrupt_headers(desk: DeskDouble, upload: Source, tmp_path: Path, kind: str) -> None:
    ended = fetched(desk, upload, HEADERS[kind](tmp_path), tmp_path)

    assert_failed(ended, FailureCode.SOURCE_UNDECODABLE, desk)


def film_without_sound(folder: Path) -> bytes:
    path = folder / "film.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path.read_bytes()


EMPTY: dict[str, Callable[[Path], bytes]] = {
    "a wav of no samples": lambda folder: wav_that_claims(0),
    "a float wav of no samples": lambda folder: write_float_wav(folder / "x.wav", np.zeros((2, 0))).read_bytes(),
    "a flac of no samples": lambda folder: flac()[:42],
    "an mp3 with only tags": lambda folder: with_frame(b"TIT2", b"\x00Song")[:30],
    "a film without sound": film_without_sound,
}


@pytest.mark.parametrize("kind", EMPTY)
def test_files_without_audio(desk: DeskDouble, upload: Source, tmp_path: Path, kind: str) -> None:
    ended = fetched(desk, upload, EMPTY[kind](tmp_path), tmp_path)

    assert_failed(ended, FailureCode.SOURCE_UNDECODABLE, desk)


NOT_AUDIO: dict[str, bytes] = {
    "a picture": with_picture(8)[40 : -CLIP.stat().st_size],
    "a zip": b"PK\x03\x04" + bytes(range(256)) * 100,
    "a pdf": b"%PDF-1.7\n" + b"1 0 obj << >> endobj\n" * 500,
    "a program": Path("/bin/true").read_bytes()[:100_000],
    "a gzip": b"\x1f\x8b\x08" + bytes(range(256)) * 100,
    "subtitles": b"1\n00:00:01,000 --> 00:00:02,000\nla la la\n\n" * 200,
    "a list of addresses": b"[playlist]\nFile1=http://169.254.169.254/\n" * 20,
}


@pytest.mark.parametrize("kind", NOT_AUDIO)
def test_files_that_are_not_audio(desk: DeskDouble, upload: Source, tmp_path: Path, kind: str) -> None:
    assert_failed(fetched(desk, upload, NOT_AUDIO[kind], tmp_path), FailureCode.SOURCE_UNDECODABLE, desk)


def linked(desk: DeskDouble, route: Callable[[Exchange], None], folder: Path, **environment: str) -> separator.Ended:
    with HttpServer(route) as server:
        assignment = separator.assignment(desk, Source(url=f"{server.url}/song.mp3"))
        ended = separator.run(assignment, folder, True, **environment)
    assert ended.peak_mebibytes < MAX_MEBIBYTES
    return ended


def test_an_endless_body_is_stopped_at_the_limit(desk: DeskDouble, tmp_path: Path) -> None:
    def route(exchange: Exchange) -> None:
        exchange.answer_chunked(bytes(1 << 16) for _ in itertools.count())

    assert_failed(linked(desk, route, tmp_path), FailureCode.SOURCE_TOO_LARGE, desk)


def test_a_slow_drip_is_stopped_at_the_deadline(desk: DeskDouble, tmp_path: Path) -> None:
    def drops() -> Iterator[bytes]:
        for _ in itertools.count():
            time.sleep(0.05)
            yield b"x"

    ended = linked(desk, lambda it: it.answer_chunked(drops()), tmp_path, STEMYARD_LINK_DEADLINE_SECONDS="2")

    assert "longer than 2 s" in assert_failed(ended, FailureCode.SOURCE_NETWORK, desk)


def test_a_compressed_body_is_not_decompressed(desk: DeskDouble, tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(200 << 20), 9, wbits=31)

    ended = linked(desk, lambda it: it.answer(200, bomb, Content_Encoding="gzip"), tmp_path)

    assert "gzip" in assert_failed(ended, FailureCode.SOURCE_UNDECODABLE, desk)


def test_an_endless_audio_stream_is_refused(desk: DeskDouble, tmp_path: Path) -> None:
    def station(exchange: Exchange) -> None:
        exchange.answer_chunked(itertools.cycle([CLIP.read_bytes()[2000:60_000]]))

    assert_failed(linked(desk, station, tmp_path), FailureCode.SOURCE_TOO_LARGE, desk)


def test_unusual_sample_rates_are_accepted(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    for name, rate in (("low", 4000), ("high", 384_000)):
        content = write_wav(tmp_path / f"{name}.wav", tone(1, rate), rate).read_bytes()
        ended = fetched(desk, upload, content, tmp_path / name)
        assert ended.exit_code == 0, ended.output
        assert separator.fetched_mark(desk).samples == RATE
