"""What a process of the separator takes of the processor."""

import os
import subprocess
import sys

import pytest

LEFT = """
from stemyard_separator.process import limit_blas_threads
limit_blas_threads()
import os, numpy
print(len(os.listdir("/proc/self/task")))
"""


def threads_with_numpy(**environment: str) -> int:
    variables = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | environment
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True, env=variables)
    return int(done.stdout)


def test_numpy_starts_no_threads_of_its_own() -> None:
    assert threads_with_numpy() == 1


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has one thread anyway")
def test_whoever_runs_it_may_say_otherwise() -> None:
    assert threads_with_numpy(OPENBLAS_NUM_THREADS="2") == 2
