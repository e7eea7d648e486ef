"""How many cores this process was granted, whether by affinity or by a cgroup quota."""

import os
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")


def leave_cores_to_networks() -> None:
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
