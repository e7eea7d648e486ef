"""The parent control group of every pod, one directory in each hierarchy, for cgroup v1 and v2."""

import contextlib
import time
from pathlib import Path

from localcluster.node_config import CGROUP

MOUNTS = Path("/proc/self/mounts")


def hierarchies(mounts: str) -> list[Path]:
    """Return the mount points of the control group hierarchies in the text of proc(5) mounts."""
    rows = [line.split() for line in mounts.splitlines()]
    return [Path(row[1]) for row in rows if len(row) > 2 and row[2] in {"cgroup", "cgroup2"}]


def create() -> None:
    """Create the group in every hierarchy; in a unified one first enable the controllers that kubelet needs."""
    for hierarchy in hierarchies(MOUNTS.read_text()):
        switch = hierarchy / "cgroup.subtree_control"
        if switch.exists():
            for controller in ("cpu", "cpuset", "memory", "pids", "io", "hugetlb"):
                with contextlib.suppress(OSError):
                    switch.write_text(f"+{controller}")
        with contextlib.suppress(OSError):
            (hierarchy / CGROUP).mkdir(exist_ok=True)


def remove() -> None:
    """Remove the groups, whose processes must have ended; retry for 5 seconds until the kernel has noticed."""
    for hierarchy in hierarchies(MOUNTS.read_text()):
        root = hierarchy / CGROUP
        deadline = time.monotonic() + 5.0
        while root.exists() and time.monotonic() < deadline:
            _remove_tree(root)
            if root.exists():
                time.sleep(0.05)


def _remove_tree(root: Path) -> None:
    folders = sorted((path for path in root.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    for folder in [*folders, root]:
        with contextlib.suppress(OSError):
            folder.rmdir()
