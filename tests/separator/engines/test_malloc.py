"""Freed memory stays with the process: measured by the page faults of large blocks, in a process of its own."""

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
        block = bytearray(64 << 20)  # written to: every page is touched
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

retain_freed_memory()
faults()
kept = faults()
retain_freed_memory(False)
print(kept, faults())
"""


def test_large_blocks_are_given_again_without_asking_the_kernel() -> None:
    ended = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=False, timeout=60)

    if ended.returncode == 77:
        pytest.skip("the C library here has no mallopt")
    assert ended.returncode == 0, ended.stderr
    kept, given_back = map(int, ended.stdout.split())
    assert kept < given_back / 10
