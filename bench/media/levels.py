"""Inputs with odd levels, channels, lengths and rates."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from bench.media.case import Case
from bench.media.song import float_wav, mono, resampled, song, surround
from tests.support.audio import RATE, Audio
from tests.support.nasty_tags import encoded

_RESAMPLER = "FFmpeg's resampler leaves images above half the rate of the source, soxr does not"
_SILENCED = "samples that are not numbers are silent"


def levels() -> Iterator[Case]:
    left = np.stack([mono()[0], np.zeros_like(mono()[0])])
    named: dict[str, tuple[Audio, str, str]] = {
        "mono.wav": (mono(), "ok", ""),
        "direct-current.wav": (song() / 2 + 0.3, "ok", ""),
        "silence.wav": (np.zeros((2, 10 * RATE)), "ok", ""),
        "a-tenth-of-a-second.wav": (song()[:, RATE : RATE + 4410], "ok", ""),
        "one-sample.wav": (song()[:, :1], "SOURCE_TOO_SHORT", ""),
        "two-seconds.wav": (song()[:, : 2 * RATE], "ok", ""),
        "20-dB-above-full-scale.wav": (song() * 10, "ok", ""),
        "120-dB-above-full-scale.wav": (song() * 1e6, "ok", ""),
        "one-nan.wav": (_with(song(), np.nan), "ok", _SILENCED),
        "one-infinity.wav": (_with(song(), np.inf), "ok", _SILENCED),
        "one-click.wav": (_with(song() * 1e-3, 1.0), "ok", ""),
        "70-dB-below-full-scale.wav": (song() * 3e-4, "ok", "24 bits are 60 dB below the song"),
        "opposite-channels.wav": (np.concatenate([mono(), -mono()]), "ok", ""),
        "left-only.wav": (left, "ok", ""),
        "mostly-silent.wav": (_after_silence(), "ok", ""),
        "denormal.wav": (song() * 1e-39, "ok", "below 24 bits"),
        "brickwall.wav": (0.999 * np.sign(song()), "ok", ""),
        "noise.wav": (np.random.default_rng(1).normal(0, 0.2, (2, 8 * RATE)), "ok", ""),
        "16-channels.wav": (np.repeat(song(), 8, axis=0) / 8, "ok", "unlabelled channels go to both sides"),
    }
    for name, (audio, expected, reason) in named.items():
        yield Case(name, partial(float_wav, audio), expected, reason)
    yield Case("5.1.flac", lambda: encoded(surround(), "flac", "flac"))


def rates() -> Iterator[Case]:
    for rate, reason in ((192_000, _RESAMPLER), (48_000, _RESAMPLER), (384_000, _RESAMPLER)):
        yield Case(f"{rate}-Hz.wav", partial(_at, rate), reason=reason)
    yield Case("8000-Hz-mono.wav", lambda: float_wav(resampled(mono(), 8000), 8000), reason=_RESAMPLER)
    yield Case("11025-Hz-8-bit.wav", partial(_pcm, "pcm_u8", 11_025), reason=_RESAMPLER)
    yield Case("3999-Hz.wav", partial(_at, 3999), "SOURCE_UNDECODABLE")
    for codec in ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f64le"):
        yield Case(f"{codec}.wav", partial(_pcm, codec, RATE))


def _at(rate: int) -> bytes:
    return float_wav(resampled(song()[:, : 4 * RATE], rate), rate)


def _pcm(codec: str, rate: int) -> bytes:
    return encoded(song() if rate == RATE else resampled(song(), rate), "wav", codec, rate=rate)


def _with(audio: Audio, value: float) -> Audio:
    changed = audio.copy()
    changed[0, RATE] = value
    return changed


def _after_silence() -> Audio:
    audio = np.zeros((2, 60 * RATE))
    audio[:, 30 * RATE : 30 * RATE + song().shape[1]] = song()
    return audio
