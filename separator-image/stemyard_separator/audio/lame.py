"""Makes FFmpeg encode mp3 with an optimised build of LAME.

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
