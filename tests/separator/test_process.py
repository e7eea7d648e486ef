"""CPU threads and CPU quota of the process."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stemyard_separator.process import available_cores, yield_to_other_threads

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


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux only")
def test_only_the_calling_thread_yields_to_the_others() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def run() -> None:
        yield_to_other_threads()
        found.append(priority())

    found: list[int] = []
    before = priority()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert found == [min(19, before + 5)]
    assert priority() == before
