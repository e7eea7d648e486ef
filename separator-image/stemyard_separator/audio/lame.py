"""LAME, the encoder of mp3: its settings, and an optimised build of it for FFmpeg.

The wheels of `av` contain an unoptimised build (av 18.1: three times slower for the same output). The wheel of
`lameenc`, a binding of LAME, contains an optimised build and exports its functions: if they are in the global scope
before FFmpeg is loaded, the dynamic linker binds FFmpeg's calls to them (dlopen(3), RTLD_GLOBAL).
"""

import ctypes
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

SYMBOLS: Final = (
    *("lame_init", "lame_init_params", "lame_close", "lame_get_encoder_delay", "lame_get_framesize"),
    *("lame_encode_buffer", "lame_encode_buffer_float", "lame_encode_buffer_int", "lame_encode_flush"),
    *("lame_set_VBR", "lame_set_VBR_mean_bitrate_kbps", "lame_set_VBR_quality", "lame_set_bWriteVbrTag"),
    *("lame_set_brate", "lame_set_copyright", "lame_set_disable_reservoir", "lame_set_in_samplerate"),
    *("lame_set_lowpassfreq", "lame_set_mode", "lame_set_num_channels", "lame_set_original"),
    *("lame_set_out_samplerate", "lame_set_quality"),
)
"""LAME functions that FFmpeg calls. All must come from one library, because the layout of shared structs may differ."""
_QUALITY: Final = "5"
"""LAME's quality, 0 slow to 9 fast; 5 keeps all of the noise shaping."""
_FAST_QUALITY: Final = "7"
"""Without noise shaping. At 320 kbit/s the noise is 13 dB below the masking threshold, as with the default 2, in a
third of the time; at lower rates shaping is audible."""
_FAST_BITRATE: Final = 320
_QUALITY_UNIT: Final = 118
"""FFmpeg's `global_quality` of one step of LAME's variable bit rate (FF_QP2LAMBDA)."""


def constant_rate_options(bitrate: int) -> dict[str, str]:
    """Return FFmpeg's options of `libmp3lame` for a constant bit rate in kbit/s."""
    return {"compression_level": _FAST_QUALITY if bitrate >= _FAST_BITRATE else _QUALITY}


def variable_rate_options(vbr_quality: int) -> dict[str, str]:
    """Return FFmpeg's options of `libmp3lame` for a variable bit rate: 0 is best and largest, 9 smallest."""
    return {
        "compression_level": _QUALITY,
        "global_quality": str(vbr_quality * _QUALITY_UNIT),
        "flags": "+qscale",
    }


def preload_optimised_lame() -> None:
    """Load the optimised LAME if it is installed and exports all functions; call before `av` is imported."""
    spec = find_spec("lameenc")
    if spec is None or spec.origin is None:
        return
    try:
        library = ctypes.CDLL(spec.origin)
    except OSError:
        return
    if all(hasattr(library, name) for name in SYMBOLS):
        ctypes.CDLL(spec.origin, ctypes.RTLD_GLOBAL)


def lame_version() -> dict[str, str]:
    """Return the version of `lameenc` by its name; empty if FFmpeg uses its own LAME."""
    is_loaded = hasattr(ctypes.CDLL(None), SYMBOLS[0])
    return {"lameenc": version("lameenc")} if is_loaded else {}
