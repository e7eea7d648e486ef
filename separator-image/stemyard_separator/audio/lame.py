"""Has FFmpeg encode mp3 with a LAME that was compiled with optimisation.

The wheels of `av` carry one that was not (av 18.1: it takes three times as long for the same sound). `lameenc` is
a binding of LAME whose wheel has an optimised build inside and exports its functions: the dynamic linker gives FFmpeg
these instead of its own where they are in the global scope before FFmpeg is loaded (dlopen(3), RTLD_GLOBAL).
"""

import ctypes
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

CALLED: Final = (
    *("lame_init", "lame_init_params", "lame_close", "lame_get_encoder_delay", "lame_get_framesize"),
    *("lame_encode_buffer", "lame_encode_buffer_float", "lame_encode_buffer_int", "lame_encode_flush"),
    *("lame_set_VBR", "lame_set_VBR_mean_bitrate_kbps", "lame_set_VBR_quality", "lame_set_bWriteVbrTag"),
    *("lame_set_brate", "lame_set_copyright", "lame_set_disable_reservoir", "lame_set_in_samplerate"),
    *("lame_set_lowpassfreq", "lame_set_mode", "lame_set_num_channels", "lame_set_original"),
    *("lame_set_out_samplerate", "lame_set_quality"),
)
"""What FFmpeg calls. All of it comes from one library: the state they share is laid out as each was compiled."""


def preload_optimised_lame() -> None:
    """Load the optimised LAME, if it is here and whole; to be called before `av` is imported."""
    spec = find_spec("lameenc")
    if spec is None or spec.origin is None:
        return
    try:
        found = ctypes.CDLL(spec.origin)
    except OSError:
        return
    if all(hasattr(found, name) for name in CALLED):
        ctypes.CDLL(spec.origin, ctypes.RTLD_GLOBAL)


def lame_version() -> dict[str, str]:
    """Return the version of the optimised LAME's binding by its name, nothing where FFmpeg has to use its own."""
    in_use = hasattr(ctypes.CDLL(None), CALLED[0])
    return {"lameenc": version("lameenc")} if in_use else {}
