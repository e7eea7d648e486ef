"""Freed memory stays in the process, measured by page faults of large blocks in a subprocess."""

import subprocess
import sys

import pytest

_FAULTS = """
import ctypes, resource
from stemyard_separator.engines.malloc import retain_freed_memory

if not hasattr(ctypes.CDLL(None), "mallopt"):
    raise SystemExit(77)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        block = bytearray(64 << 20)  # zeroed: every page is touched
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

retain_freed_memory()
faults()
kept = faults()
retain_freed_memory(False)
print(kept, faults())
"""


def test_freed_large_blocks_are_reused_without_page_faults() -> None:
    ended = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=False, timeout=60)

    if ended.returncode == 77:
        pytest.skip("the C library has no mallopt")
    assert ended.returncode == 0, ended.stderr
    kept, released = map(int, ended.stdout.split())
    assert kept < released / 10
