"""Facts about this machine, from which the kind of cluster and the output of `doctor` follow."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from localcluster.programs import find, succeeds

# Program -> Debian package.
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "openssl": "openssl",
    "unshare": "util-linux",
    "mount": "mount",
}
FILES = {
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
DOCKER_LIMIT = 10.0


@dataclass(frozen=True)
class Facts:
    """One machine.

    Attributes:
        system: kernel name, `Linux` or `Darwin`.
        root: whether this process runs as root.
        may_unshare: whether this process may create namespaces; in most containers it may not.
        docker_answers: whether Docker's engine is running; a client alone is not enough.
        docker_builds: whether Docker has buildx, which builds the images.
        has_apt: whether missing system packages can be installed.
        missing_packages: Debian packages whose programs are not there.
        kernel: release as (major, minor).
    """

    system: str
    root: bool
    may_unshare: bool
    docker_answers: bool
    docker_builds: bool
    has_apt: bool
    missing_packages: tuple[str, ...]
    kernel: tuple[int, int]


def facts() -> Facts:
    """Return the facts of this machine."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    return Facts(
        system=platform.system(),
        root=os.geteuid() == 0,
        may_unshare=succeeds(["unshare", "--mount", "--pid", "--fork", "true"], timeout=10),
        docker_answers=docker_answers(),
        docker_builds=docker_builds(),
        has_apt=find("apt-get") is not None,
        missing_packages=missing_packages(),
        kernel=(int(release[1]), int(release[2])) if release else (0, 0),
    )


def docker_answers() -> bool:
    """Return whether Docker's engine answers."""
    return find("docker") is not None and succeeds(["docker", "info"], timeout=DOCKER_LIMIT)


def docker_builds() -> bool:
    """Return whether Docker's buildx is installed: the old builder cannot build these Dockerfiles."""
    return find("docker") is not None and succeeds(["docker", "buildx", "version"], timeout=DOCKER_LIMIT)


def missing_packages() -> tuple[str, ...]:
    """Return the Debian packages that a cluster needs and the machine lacks."""
    programs = [package for program, package in PROGRAMS.items() if find(program) is None]
    return tuple(programs + [package for path, package in FILES.items() if not Path(path).exists()])
