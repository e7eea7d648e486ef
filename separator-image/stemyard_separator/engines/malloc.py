"""Makes malloc retain freed memory for reuse instead of returning every large tensor to the kernel.

By default glibc maps each allocation above 32 MiB and unmaps it when it is freed, so the kernel zeroes every page of
every large tensor of every segment. mallopt(3) disables this.
"""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_MMAP_MAX: Final = -4
_DEFAULT_MMAP_MAX: Final = 65_536
_MAX_DYNAMIC_THRESHOLD: Final = 32 << 20
"""Value of glibc's dynamic threshold after large blocks have been freed."""


def retain_freed_memory(retain: bool = True) -> None:
    """Keep freed memory in this process, or restore glibc's defaults if `retain` is false.

    Does nothing if the C library has no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_THRESHOLD, _MAX_DYNAMIC_THRESHOLD)
    mallopt(_MMAP_MAX, 0 if retain else _DEFAULT_MMAP_MAX)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1 if retain else 2 * _MAX_DYNAMIC_THRESHOLD)
