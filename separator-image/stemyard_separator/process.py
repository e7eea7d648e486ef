"""How many cores this process was granted, whether by affinity or by a cgroup quota."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")


def limit_blas_threads() -> None:
    """Have numpy's BLAS, once it is imported, start no threads: they would spin for work that is never theirs."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def granted_cores(cgroup: Path = _CGROUP) -> int:
    """Return whole cores, at least 1: the affinity, or the cgroup's quota (version 2, then 1) if that is smaller."""
    available = len(os.sched_getaffinity(0))
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return max(1, min(available, round(quota))) if quota else available


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


TERMINATED_EXIT_CODE: Final = 128 + signal.SIGTERM
_processes: Final[set[int]] = set()


def stop_on_sigterm() -> None:
    """End this process with code 143 when it is told to; no cleaning up could be better than being gone."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    for group in _processes:
        end_group(group)
    os._exit(TERMINATED_EXIT_CODE)


def end_group(group: int) -> None:
    """Kill all processes of a group that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def killed_on_exit(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process group with the block or with this process, whichever is first."""
    _processes.add(process.pid)
    try:
        yield
    finally:
        end_group(process.pid)
        process.wait()
        _processes.discard(process.pid)
