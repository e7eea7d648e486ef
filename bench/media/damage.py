"""Inputs with odd tags and names, damaged ones, and files that are no audio."""

import io
from collections.abc import Iterator
from functools import partial

import numpy as np

from bench.media.case import Case
from bench.media.song import flac, m4a, mp3, ogg, pcm_wav
from tests.support.audio import COVER
from tests.support.nasty_tags import with_handler_name, with_id3v1, with_id3v2, with_info, with_vorbis_comment

_DAMAGED = "what is damaged is silent and the rest in its place; FFmpeg leaves it out"


def tags() -> Iterator[Case]:
    latin, cyrillic = "Café".encode("latin-1"), "Кино".encode("cp1251")
    japanese = "音楽".encode("shift_jis")
    yield Case("id3v1-latin-1.mp3", partial(with_id3v1, latin))
    yield Case("id3v1-cp1251.mp3", partial(with_id3v1, cyrillic))
    yield Case("id3v2-says-utf-8.mp3", partial(with_id3v2, [(b"TIT2", b"\x03" + latin), (b"TPE1", b"\x03" + latin)]))
    yield Case("12-MB-of-tags.mp3", partial(with_id3v2, [(b"TIT2", b"\x03Big"), (b"PRIV", b"x\0" + bytes(12 << 20))]))
    yield Case("info-latin-1.wav", partial(with_info, [(b"INAM", latin), (b"IART", latin)]))
    yield Case("info-shift-jis.wav", partial(with_info, [(b"INAM", japanese)]))
    yield Case("comment-is-no-utf-8.flac", partial(with_vorbis_comment, b"\xff\xfe\xe9\x80\x81"))
    yield Case("handler-is-no-utf-8.m4a", partial(with_handler_name, latin))


def names() -> Iterator[Case]:
    for name in (
        "n" * 245 + ".mp3",
        " leading space & ' \" $(x) `y` ; 🎵 歌.mp3",
        "no-extension",
        "dots.in.name.v1.2.mp3",
        "caf\udce9.mp3",
        "-dash.mp3",
    ):
        yield Case(name, mp3)


def damaged() -> Iterator[Case]:
    yield Case("cut-mp3.mp3", lambda: _cut(mp3()), reason="the last frame is not whole")
    yield Case("cut-flac.flac", lambda: _cut(flac()), reason="the last frame is not whole")
    yield Case("cut-ogg.ogg", lambda: _cut(ogg()), reason="the last page is not whole")
    yield Case("cut-wav.wav", lambda: pcm_wav(share=0.6))
    yield Case("cut-m4a.m4a", lambda: _cut(m4a()), "SOURCE_UNDECODABLE")
    yield Case("hole-in-flac.flac", lambda: _overwritten(flac(), bytes(2000)), reason=_DAMAGED)
    yield Case("hole-in-mp3.mp3", lambda: _overwritten(mp3(), np.random.default_rng(1).bytes(6000)), reason=_DAMAGED)


def no_audio() -> Iterator[Case]:
    random = np.random.default_rng(2)
    for name, content in (
        ("empty.mp3", b""),
        ("web-page.mp3", b"<html><body>404 Not Found</body></html>\n" * 50),
        ("archive.mp3", b"PK\3\4" + random.bytes(20_000)),
        ("picture.png", COVER),
        ("playlist.m3u8", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/a.ts\n"),
        ("notes.mid", b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0"),
        ("random.bin", random.bytes(300_000)),
    ):
        yield Case(name, io.BytesIO(content).getvalue, "SOURCE_UNDECODABLE")


def _cut(content: bytes) -> bytes:
    return content[: int(0.6 * len(content))]


def _overwritten(content: bytes, part: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + part + content[middle + len(part) :]
