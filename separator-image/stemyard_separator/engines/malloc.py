"""Keeps what a network frees for its next layer, instead of giving every large tensor back to the kernel.

The C library maps each allocation above 32 MiB anew and unmaps it when it is freed: the kernel then zeroes every page
of every large tensor of every segment. mallopt(3) tells it not to.
"""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_MMAP_MAX: Final = -4
_DEFAULT_MAPPINGS: Final = 65_536
_LARGEST_DEFAULT: Final = 32 << 20
"""Where the C library's own threshold ends up once large blocks have been freed."""


def retain_freed_memory(keep: bool = True) -> None:
    """Let freed memory stay with this process, or (`keep` false) go back as the C library does it by itself.

    Does nothing where the C library has no mallopt.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is None:
        return
    setting(_MMAP_THRESHOLD, _LARGEST_DEFAULT)
    setting(_MMAP_MAX, 0 if keep else _DEFAULT_MAPPINGS)
    setting(_TRIM_THRESHOLD, 2**31 - 1 if keep else 2 * _LARGEST_DEFAULT)
