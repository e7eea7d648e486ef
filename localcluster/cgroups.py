"""The control groups below which every pod runs: one folder of ours in each hierarchy, cgroup v1 or v2."""

import contextlib
import time
from pathlib import Path

from localcluster.node_config import CGROUP

MOUNTS = Path("/proc/self/mounts")


def hierarchies(mounts: str) -> list[Path]:
    """Where the control group hierarchies are mounted, from the text of proc(5) mounts."""
    rows = [line.split() for line in mounts.splitlines()]
    return [Path(row[1]) for row in rows if len(row) > 2 and row[2] in {"cgroup", "cgroup2"}]


def create() -> None:
    """Make our group in every hierarchy; in a unified one first let it have the controllers kubelet wants."""
    for hierarchy in hierarchies(MOUNTS.read_text()):
        switch = hierarchy / "cgroup.subtree_control"
        if switch.exists():
            for controller in ("cpu", "cpuset", "memory", "pids", "io", "hugetlb"):
                with contextlib.suppress(OSError):
                    switch.write_text(f"+{controller}")
        with contextlib.suppress(OSError):
            (hierarchy / CGROUP).mkdir(exist_ok=True)


def remove() -> None:
    """Remove our groups; the processes in them must have ended, the kernel may take a moment to notice."""
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
