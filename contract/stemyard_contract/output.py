"""How stems are encoded."""

from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from stemyard_contract.resource import Value, rule

AudioFormat = Literal["mp3", "flac", "wav", "m4a", "opus"]
BITRATES: Final = (128, 192, 256, 320)
"""Kilobits per second that a format with loss may have."""
BIT_DEPTHS: Final = MappingProxyType({"flac": (16, 24), "wav": (16, 24, 32)})
"""Bits per sample that a format without loss may have."""
_DEFAULT_BIT_DEPTH: Final = 24
_CONTENT_TYPES: Final = MappingProxyType(
    {"mp3": "audio/mpeg", "flac": "audio/flac", "wav": "audio/wav", "m4a": "audio/mp4", "opus": "audio/ogg"}
)


class Output(Value):
    """How stems are encoded."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("!has(self.bitDepth) || self.format in ['flac', 'wav']", "bitDepth is for flac and wav only"),
                rule(
                    "!has(self.bitDepth) || self.bitDepth != 32 || self.format == 'wav'",
                    "32 bits, which are floating point, are for wav only",
                ),
                rule("!has(self.vbrQuality) || self.format == 'mp3'", "vbrQuality is for mp3 only"),
            ]
        }
    )

    format: AudioFormat = "mp3"
    """Container and codec; also the ending of file names. m4a holds AAC."""
    bitrate: Annotated[int, Field(json_schema_extra={"enum": list(BITRATES)})] = 320
    """Kilobits per second of mp3, m4a and opus; flac and wav have none."""
    bit_depth: Annotated[int, Field(json_schema_extra={"enum": [16, 24, 32]})] | None = None
    """Bits per sample of flac and wav, 24 where absent; 32 is floating point, for wav."""
    vbr_quality: Annotated[int, Field(ge=0, le=9)] | None = None
    """Makes mp3 of variable bit rate: 0 best and largest, 9 smallest; the bitrate then does not matter."""

    @property
    def content_type(self) -> str:
        """Media type of a stem."""
        return _CONTENT_TYPES[self.format]

    @property
    def sample_bits(self) -> int | None:
        """Bits per sample as encoded, or None where a codec has none."""
        return (self.bit_depth or _DEFAULT_BIT_DEPTH) if self.format in BIT_DEPTHS else None

    @property
    def most_bytes_per_second(self) -> int:
        """Bytes that a second of one stem (stereo, 44.1 kHz) takes at most, headers aside."""
        bits = self.sample_bits
        if bits is not None:
            return 44_100 * 2 * bits // 8
        return (320 if self.vbr_quality is not None else self.bitrate) * 125
