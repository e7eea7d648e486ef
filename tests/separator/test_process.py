"""CPU threads and CPU quota of the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stemyard_separator.process import available_cores

PROGRAM = """
from stemyard_separator.process import limit_blas_threads
limit_blas_threads()
import os, numpy
print(len(os.listdir("/proc/self/task")))
"""


def threads_with_numpy(**environment: str) -> int:
    variables = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | environment
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=variables)
    return int(done.stdout)


def test_numpy_starts_no_threads() -> None:
    assert threads_with_numpy() == 1


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_environment_can_allow_threads() -> None:
    assert threads_with_numpy(OPENBLAS_NUM_THREADS="2") == 2


ALL_CORES = available_cores(Path("/nonexistent"))


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, ALL_CORES),
        ({"cpu.max": "max 100000"}, ALL_CORES),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, ALL_CORES),
        ({"cpu/cfs_quota_us": "100000"}, ALL_CORES),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALL_CORES),
    ],
)
def test_cores_available_in_a_cgroup(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")

    assert available_cores(tmp_path) == cores
