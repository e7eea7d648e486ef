"""Encoding of stems: format, bit rate, bit depth."""

from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from stemyard_contract.resource import Value, rule

AudioFormat = Literal["mp3", "flac", "wav", "m4a", "opus"]
BITRATES: Final = (128, 192, 256, 320)
"""Bit rates of lossy formats, in kbit/s."""
DEFAULT_BITRATE: Final = 320
_HIGHEST_MP3_BITRATE: Final = 320
"""Highest bit rate of a frame of mp3 (ISO/IEC 11172-3), and so of a variable one, in kbit/s."""
BIT_DEPTHS: Final = MappingProxyType[AudioFormat, tuple[int, ...]]({"flac": (16, 24), "wav": (16, 24, 32)})
"""Bits per sample of lossless formats."""
_LOSSLESS: Final = list(BIT_DEPTHS)
ALL_BIT_DEPTHS: Final = tuple(sorted({depth for depths in BIT_DEPTHS.values() for depth in depths}))
SampleRate = Literal["source", "44100", "48000"]
Channels = Literal["source", "stereo"]
_OPUS_RATE: Final = 48_000
_SOURCE_RATES: Final = (44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
"""Sample rates that stems may take from their source, in Hz."""
_MAX_RATES: Final = MappingProxyType[AudioFormat, int](
    {"mp3": 48_000, "flac": _SOURCE_RATES[-1], "wav": _SOURCE_RATES[-1], "m4a": 96_000, "opus": _OPUS_RATE}
)
"""Highest sample rate of each format, in Hz."""
_DEFAULT_BIT_DEPTH: Final = 24
_CONTENT_TYPES: Final = MappingProxyType[AudioFormat, str](
    {"mp3": "audio/mpeg", "flac": "audio/flac", "wav": "audio/wav", "m4a": "audio/mp4", "opus": "audio/ogg"}
)


class Output(Value):
    """How stems are encoded."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    f"!has(self.bitDepth) || self.format in {_LOSSLESS}",
                    f"bitDepth is for {', '.join(_LOSSLESS[:-1])} and {_LOSSLESS[-1]} only",
                ),
                rule(
                    "!has(self.bitDepth) || self.bitDepth != 32 || self.format == 'wav'",
                    "bitDepth 32 (floating point) is for wav only",
                ),
                rule("!has(self.sampleRate) || self.format != 'opus'", "sampleRate is not for opus, which has 48 kHz"),
                rule("!has(self.vbrQuality) || self.format == 'mp3'", "vbrQuality is for mp3 only"),
            ]
        }
    )

    format: AudioFormat = "mp3"
    """Container and codec, and the file extension. m4a contains AAC."""
    bitrate: Annotated[int, Field(json_schema_extra={"enum": list(BITRATES)})] = DEFAULT_BITRATE
    """Bit rate of mp3, m4a and opus, in kbit/s; ignored for flac and wav."""
    bit_depth: Annotated[int, Field(json_schema_extra={"enum": list(ALL_BIT_DEPTHS)})] | None = None
    """Bits per sample of flac and wav, 24 by default; 32 is floating point, for wav only."""
    vbr_quality: Annotated[int, Field(ge=0, le=9)] | None = None
    """Variable bit rate for mp3: 0 is best and largest, 9 is smallest; the bitrate is then ignored."""
    sample_rate: SampleRate | None = None
    """Sample rate of the stems in Hz, 44100 by default; `source` is that of the source, from 44100 to what the format
    allows. Networks work at 44.1 kHz: higher rates add no sound above 22 kHz. Not for opus, which has 48000."""

    channels: Channels | None = None
    """Channels of the stems, `stereo` by default; with `source` the stems of a source with one channel, or two equal
    ones, are mono, and their bitrate is half."""

    def makes_mono(self, is_mono: bool) -> bool:
        """Return whether the stems are mono, of a source that is mono or not."""
        return is_mono and self.channels == "source"

    def rate_for(self, source_rate: int) -> int:
        """Return the sample rate of the stems of a source with this rate, in Hz."""
        if self.format == "opus":
            return _OPUS_RATE
        if self.sample_rate != "source":
            return int(self.sample_rate or _SOURCE_RATES[0])
        most = min(source_rate, _MAX_RATES[self.format])
        return max((rate for rate in _SOURCE_RATES if rate <= most), default=_SOURCE_RATES[0])

    @property
    def content_type(self) -> str:
        """Media type of a stem."""
        return _CONTENT_TYPES[self.format]

    @property
    def sample_bits(self) -> int | None:
        """Bits per sample as encoded, or None for lossy formats."""
        return (self.bit_depth or _DEFAULT_BIT_DEPTH) if self.format in BIT_DEPTHS else None

    @property
    def most_bytes_per_second(self) -> int:
        """Upper bound of the bytes per second of one stem (stereo), without headers."""
        bits = self.sample_bits
        if bits is not None:
            return self.rate_for(_SOURCE_RATES[-1]) * 2 * bits // 8
        return (_HIGHEST_MP3_BITRATE if self.vbr_quality is not None else self.bitrate) * 125
