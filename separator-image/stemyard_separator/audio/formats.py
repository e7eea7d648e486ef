"""Maps output formats to encodings: codec, container, sample format, sample rate, options. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, assert_never

from stemyard_contract.findings import Stem
from stemyard_contract.handover import SAMPLE_RATE, MediaMetadata
from stemyard_contract.output import Output
from stemyard_contract.validation import printable
from stemyard_separator.audio.lame import constant_rate_options, variable_rate_options

_OPUS_RATE: Final = 48_000
_MAX_TAG: Final = 256


@dataclass(frozen=True, slots=True)
class Encoding:
    """How float samples are encoded to a file; all names are FFmpeg's.

    Attributes:
        codec: encoder.
        container: muxer.
        sample_format: sample format of the encoder.
        rate: sample rate of the encoder in Hz.
        channels: 2, or 1 for the first of two equal ones.
        bits: integer bits to round samples to, 0 for floats.
        bit_rate: bits per second, 0 for the codec's choice.
        frame: samples by which the decoded length may differ from the source's, at `SAMPLE_RATE`.
        options: options of the encoder.
        container_options: options of the muxer.
    """

    codec: str
    container: str
    sample_format: str
    rate: int = SAMPLE_RATE
    channels: int = 2
    bits: int = 0
    bit_rate: int = 0
    frame: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)


def encoding_for(output: Output, source_rate: int = SAMPLE_RATE, *, is_mono: bool = False) -> Encoding:
    """Return the encoding of an output format for a source of a sample rate, mono or not."""
    encoding = _encoding_for(output)
    if output.makes_mono(is_mono):
        encoding = replace(encoding, channels=1, bit_rate=encoding.bit_rate // 2)
    rate = output.rate_for(source_rate)
    if rate == encoding.rate:
        return encoding
    # resampling rounds the length
    return replace(encoding, rate=rate, frame=max(1, encoding.frame))


def _encoding_for(output: Output) -> Encoding:
    match output.format:
        case "flac":
            return _flac(output.sample_bits or 24)
        case "wav":
            return _wav(output.sample_bits or 24)
        case "m4a":
            # the index at the front lets browsers play while loading
            options = {"movflags": "+faststart", "brand": "M4A "}  # FFmpeg's own muxer for M4A takes no cover
            return Encoding("aac", "mp4", "fltp", bit_rate=_bits(output), frame=1024, container_options=options)
        case "opus":
            return Encoding("libopus", "opus", "flt", rate=_OPUS_RATE, bit_rate=_bits(output), frame=882)
        case "mp3":
            return _mp3(output)
        case _:
            assert_never(output.format)


def _bits(output: Output) -> int:
    return output.bitrate * 1000


def _mp3(output: Output) -> Encoding:
    if output.vbr_quality is not None:
        return Encoding("libmp3lame", "mp3", "fltp", options=variable_rate_options(output.vbr_quality))
    options = constant_rate_options(output.bitrate)
    return Encoding("libmp3lame", "mp3", "fltp", bit_rate=_bits(output), options=options)


_FLAC_LEVEL: Final = MappingProxyType({"compression_level": "3"})
"""Within 2 % of the size of level 8 on music, in a fraction of the time."""


def _flac(bits: int) -> Encoding:
    sample_format = "s16" if bits == 16 else "s32"
    return Encoding("flac", "flac", sample_format, bits=bits, options=_FLAC_LEVEL)


def _wav(bits: int) -> Encoding:
    codec, sample_format = {16: ("pcm_s16le", "s16"), 24: ("pcm_s24le", "s32"), 32: ("pcm_f32le", "flt")}[bits]
    # RF64 above 4 GiB, where the lengths no longer fit the header
    options = {"rf64": "auto"}
    return Encoding(codec, "wav", sample_format, bits=0 if bits == 32 else bits, container_options=options)


CARRIED_TAGS: Final = ("album", "album_artist", "composer", "date", "disc", "genre", "track")
"""Tags of the source that its stems keep, by FFmpeg's names."""


def stem_tags(
    media: MediaMetadata, stem: Stem, model: str, carried: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the tags of a stem; `comment` repeats source and model for containers without custom tags."""
    source = media.media_id or media.webpage_url or ""
    comment = f"{stem} separated by Stemyard, model {model}" + (f", source {source}" if source else "")
    tags = {
        **{name: carried.get(name, "") for name in CARRIED_TAGS},
        "title": f"{media.title} ({stem})" if media.title else str(stem),
        "artist": media.artist or media.channel or "",
        "comment": comment,
        "source": source,
        "model": model,
    }
    return {name: printable(value)[:_MAX_TAG] for name, value in tags.items() if value}
