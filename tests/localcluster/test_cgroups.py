"""Control group hierarchies of both versions."""

from pathlib import Path

from localcluster.cgroups import hierarchies


def test_hierarchies_of_both_versions_are_found() -> None:
    mounts = (
        "/dev/vda / ext4 rw 0 0\n"
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    assert hierarchies(mounts) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]
