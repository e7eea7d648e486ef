"""The process: threads and CPU quota, SIGTERM, and child process groups."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")
_LOWER: Final = 5
"""Nice levels; the kernel gives a third of the CPU time for these five, and caps the sum at 19."""
TERMINATED_EXIT_CODE: Final = 128 + signal.SIGTERM
_child_groups: Final[set[int]] = set()


def limit_blas_threads() -> None:
    """Disable the threads of numpy's BLAS; call before numpy is imported. It gets no work, its threads would spin."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Return whole cores, at least 1: the CPU affinity, or the cgroup's quota (v2, then v1) if that is smaller."""
    affinity = len(os.sched_getaffinity(0))
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return max(1, min(affinity, round(quota))) if quota else affinity


def _quota_v2(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def yield_to_other_threads() -> None:
    """Lower the calling thread's priority: where cores are short, the process's other threads go first.

    On Linux each thread has its own (sched(7)); elsewhere this does nothing.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _LOWER)


def exit_on_sigterm() -> None:
    """Exit immediately with code 143 on SIGTERM, without cleanup: the pod's volumes go with it."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    for group in _child_groups:
        kill_group(group)
    os._exit(TERMINATED_EXIT_CODE)


def kill_group(group: int) -> None:
    """Kill all processes of a group, which may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def killed_on_exit(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process group when the block ends or this process gets SIGTERM."""
    _child_groups.add(process.pid)
    try:
        yield
    finally:
        kill_group(process.pid)
        process.wait()
        _child_groups.discard(process.pid)
