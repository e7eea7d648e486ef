"""Encoding of stems: format, bit rate, bit depth."""

from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from stemyard_contract.resource import Value, rule

AudioFormat = Literal["mp3", "flac", "wav", "m4a", "opus"]
BITRATES: Final = (128, 192, 256, 320)
"""Bit rates of lossy formats, in kbit/s."""
BIT_DEPTHS: Final = MappingProxyType({"flac": (16, 24), "wav": (16, 24, 32)})
"""Bits per sample of lossless formats."""
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
                    "bitDepth 32 (floating point) is for wav only",
                ),
                rule("!has(self.vbrQuality) || self.format == 'mp3'", "vbrQuality is for mp3 only"),
            ]
        }
    )

    format: AudioFormat = "mp3"
    """Container and codec, and the file extension. m4a contains AAC."""
    bitrate: Annotated[int, Field(json_schema_extra={"enum": list(BITRATES)})] = 320
    """Bit rate of mp3, m4a and opus, in kbit/s; ignored for flac and wav."""
    bit_depth: Annotated[int, Field(json_schema_extra={"enum": [16, 24, 32]})] | None = None
    """Bits per sample of flac and wav, 24 by default; 32 is floating point, for wav only."""
    vbr_quality: Annotated[int, Field(ge=0, le=9)] | None = None
    """Variable bit rate for mp3: 0 is best and largest, 9 is smallest; the bitrate is then ignored."""

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
        """Upper bound of the bytes per second of one stem (stereo, 44.1 kHz), without headers."""
        bits = self.sample_bits
        if bits is not None:
            return 44_100 * 2 * bits // 8
        return (320 if self.vbr_quality is not None else self.bitrate) * 125
