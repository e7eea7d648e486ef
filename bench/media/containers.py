"""Inputs in the containers and codecs that people have."""

import struct
from collections.abc import Iterator
from functools import partial

import numpy as np
from av.stream import Disposition

from bench.media.case import Case
from bench.media.song import float_wav, mono, mp3, ogg, pcm_wav, resampled, song, surround
from tests.support.audio import RATE, Audio, tone, with_cover_art
from tests.support.films import Track, film
from tests.support.nasty_tags import encoded
from tests.support.rare_formats import DSD_RATE, dff, dsf, gsm, shorten

_RESAMPLER = "FFmpeg's resampler leaves images above half the rate of the source, soxr does not"
_TIMED = "silence where the film has no sound"

_PLAIN = (
    ("cbr.mp3", "mp3", "libmp3lame"),
    ("adts.aac", "adts", "aac"),
    ("aac.m4a", "ipod", "aac"),
    ("alac.m4a", "ipod", "alac"),
    ("vorbis.ogg", "ogg", "vorbis"),
    ("flac.oga", "ogg", "flac"),
    ("flac-matroska.mka", "matroska", "flac"),
    ("24-bit-big-endian.aiff", "aiff", "pcm_s24be"),
    ("wma.wma", "asf", "wmav2"),
    ("ac3.ac3", "ac3", "ac3"),
    ("wavpack.wv", "wv", "wavpack"),
    ("tta.tta", "tta", "tta"),
    ("alac-caf.caf", "caf", "alac"),
    ("wave64.w64", "w64", "pcm_s16le"),
    ("ima.wav", "wav", "adpcm_ima_wav"),
    ("mp2.ts", "mpegts", "mp2"),
    ("nut.nut", "nut", "pcm_s16le"),
    ("creative.voc", "voc", "pcm_s16le"),
)


def plain() -> Iterator[Case]:
    for name, container, codec in _PLAIN:
        yield Case(name, partial(encoded, song(), container, codec))
    no_header = {"write_xing": "0", "id3v2_version": "0"}
    yield Case("without-length.mp3", lambda: encoded(song(), "mp3", "libmp3lame", no_header))
    yield Case("rf64.wav", lambda: encoded(song(), "wav", "pcm_f64le", {"rf64": "always"}))


def resampled_codecs() -> Iterator[Case]:
    yield Case("opus.opus", lambda: _at("opus", "libopus", song(), 48_000), reason=_RESAMPLER)
    yield Case("opus-webm.webm", lambda: _at("webm", "libopus", song(), 48_000), reason=_RESAMPLER)
    yield Case("mulaw.au", lambda: _at("au", "pcm_mulaw", song(), 8000), reason=_RESAMPLER)
    yield Case("amr.amr", lambda: _at("amr", "libopencore_amrnb", mono(), 8000), reason=_RESAMPLER)
    yield Case("eac3-5.1.mka", lambda: encoded(surround(), "matroska", "eac3"))
    yield Case("gsm.gsm", lambda: gsm(500), reason=_RESAMPLER)
    one_bit = np.stack([tone(0.5, DSD_RATE)[0]] * 2)
    yield Case("dsd.dsf", lambda: dsf(one_bit), reason=_RESAMPLER)
    yield Case("dsd-dff.dff", lambda: dff(one_bit), reason=_RESAMPLER)
    yield Case("shorten.shn", _shorten)


def _at(container: str, codec: str, audio: Audio, rate: int) -> bytes:
    return encoded(resampled(audio, rate), container, codec, rate=rate)


def _shorten() -> bytes:
    # whole blocks only
    return shorten(float_to_pcm(song()[:, : 256 * 400]))


def float_to_pcm(audio: Audio) -> bytes:
    data = np.round(audio.T * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 2, RATE, 4 * RATE, 4, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + (struct.pack("<I", len(data)) + data)
    )


def films() -> Iterator[Case]:
    late = Track(song(), start=3.0)
    hole = Track(song(), hole=(3.0, 7.0))
    second = Track(song(), label="Song", disposition=Disposition.default)
    commentary = Track(tone(10), label="Commentary")
    yield Case("film.mp4", lambda: film("mp4", "aac", [Track(song())], pictures=11, title="Film"))
    yield Case("sound-begins-late.mp4", lambda: film("mp4", "aac", [late], pictures=14), reason=_TIMED)
    yield Case("hole-in-film.mkv", lambda: film("matroska", "flac", [hole], pictures=11), reason=_TIMED)
    default = "the default track, not the first"
    yield Case("song-is-second.mkv", lambda: film("matroska", "flac", [commentary, second]), reason=default)
    yield Case("no-sound.mp4", lambda: film("mp4", "aac", [], pictures=2), "SOURCE_UNDECODABLE")
    yield Case("cover.mp3", lambda: with_cover_art(mp3()))


def streams() -> Iterator[Case]:
    """Yield files whose streams change or whose headers lie."""
    rates = "each part at its own rate"
    other = resampled(song(), 22_050)
    yield Case("chained.ogg", lambda: ogg() + encoded(song(), "ogg", "vorbis", title="Second"), reason=rates)
    yield Case("chained-of-other-rate.ogg", lambda: ogg() + encoded(other, "ogg", "vorbis", rate=22_050), reason=rates)
    plain = {"write_xing": "0", "id3v2_version": "0"}
    yield Case(
        "rate-changes.mp3",
        lambda: _mp3(song(), RATE, plain) + _mp3(resampled(mono(), 48_000), 48_000, plain),
        reason=rates,
    )
    yield Case("channels-change.aac", lambda: encoded(mono(), "adts", "aac") + encoded(song(), "adts", "aac"))
    yield Case("piped.wav", lambda: pcm_wav(0xFFFFFFFF))
    yield Case("half-of-two-gigabytes.wav", lambda: pcm_wav(0x7FFFFFFF))
    yield Case("length-zero.wav", lambda: pcm_wav(0))


def _mp3(audio: Audio, rate: int, options: dict[str, str]) -> bytes:
    return encoded(audio, "mp3", "libmp3lame", options, rate)


def containers() -> Iterator[Case]:
    yield from plain()
    yield from resampled_codecs()
    yield from films()
    yield from streams()
    yield Case("flac-called.mp3", lambda: encoded(song(), "flac", "flac"))
    yield Case("float-called.flac", lambda: float_wav(song()))
