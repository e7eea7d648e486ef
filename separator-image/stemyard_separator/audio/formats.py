"""What each output format means for an encoder: codec, container, sample format, rate, options. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from stemyard_contract.findings import Stem
from stemyard_contract.handover import SAMPLE_RATE, MediaMetadata
from stemyard_contract.output import Output

_BITS_TO_SPARE: Final = 320
_OPUS_RATE: Final = 48_000
_TAG_LIMIT: Final = 256


@dataclass(frozen=True, slots=True)
class Encoding:
    """How stereo floats become a file, in FFmpeg's names.

    Attributes:
        codec: encoder.
        container: muxer.
        sample_format: what the encoder takes.
        rate: samples per second that it takes.
        bits: integer bits to round samples to, 0 for floats.
        bit_rate: bits per second, 0 where the codec decides.
        frame: samples by which the decoded length may differ from the source's, at `SAMPLE_RATE`.
        options: of the encoder.
        container_options: of the muxer.
    """

    codec: str
    container: str
    sample_format: str
    rate: int = SAMPLE_RATE
    bits: int = 0
    bit_rate: int = 0
    frame: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)


def encoding_for(output: Output) -> Encoding:
    """Return how `output` is made."""
    match output.format:
        case "flac":
            return _flac(output.sample_bits or 24)
        case "wav":
            return _wav(output.sample_bits or 24)
        case "m4a":
            # a fast start puts the index first, so that browsers play while loading
            options = {"movflags": "+faststart"}
            return Encoding("aac", "ipod", "fltp", bit_rate=_bits(output), frame=1024, container_options=options)
        case "opus":
            return Encoding("libopus", "opus", "flt", rate=_OPUS_RATE, bit_rate=_bits(output), frame=882)
        case _:
            return _mp3(output)


def _bits(output: Output) -> int:
    return output.bitrate * 1000


def _mp3(output: Output) -> Encoding:
    if output.vbr_quality is not None:
        options = {"compression_level": "5", "global_quality": str(output.vbr_quality * 118), "flags": "+qscale"}
        return Encoding("libmp3lame", "mp3", "fltp", options=options)
    return Encoding(
        "libmp3lame", "mp3", "fltp", bit_rate=_bits(output), options={"compression_level": _effort(output.bitrate)}
    )


def _effort(kilobits_per_second: int) -> str:
    """Return LAME's quality, 0 slow to 9 fast.

    At 320 kbit/s there are bits to spare: without noise shaping (7) the noise stays 13 dB below the masking threshold,
    as it does at the default (2), in a third of the time. Below that, shaping is audible and 5 keeps all of it.
    """
    return "7" if kilobits_per_second >= _BITS_TO_SPARE else "5"


FLAC_LEVEL: Final = MappingProxyType({"compression_level": "3"})
"""Within 2 % of the size of level 8 on music at a fraction of its time."""


def _flac(bits: int) -> Encoding:
    kind = "s16" if bits == 16 else "s32"
    return Encoding("flac", "flac", kind, bits=bits, options=FLAC_LEVEL)


def _wav(bits: int) -> Encoding:
    codec, kind = {16: ("pcm_s16le", "s16"), 24: ("pcm_s24le", "s32"), 32: ("pcm_f32le", "flt")}[bits]
    # beyond 4 GiB the header's lengths no longer fit and RF64 takes over
    options = {"rf64": "auto"}
    return Encoding(codec, "wav", kind, bits=0 if bits == 32 else bits, container_options=options)


def stem_tags(media: MediaMetadata, stem: Stem, model: str) -> dict[str, str]:
    """Return the tags of a stem; `comment` says again what containers without free tags cannot."""
    source = media.media_id or media.webpage_url or ""
    comment = f"{stem} separated by Stemyard, model {model}" + (f", source {source}" if source else "")
    tags = {
        "title": f"{media.title} ({stem})" if media.title else str(stem),
        "artist": media.artist or media.channel or "",
        "comment": comment,
        "source": source,
        "model": model,
    }
    return {name: _printable(value) for name, value in tags.items() if value}


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:_TAG_LIMIT]
