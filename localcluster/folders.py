"""The folders of localcluster: the cache, kept between clusters, and the state of the running one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """The two roots; everything else is below them.

    Attributes:
        cache: binaries, images and build layers; may be deleted at any time and is then rebuilt.
        state: processes, certificates, data and logs of the running cluster; `down` removes it.
    """

    cache: Path
    state: Path

    @property
    def binaries(self) -> Path:
        """Compiled programs, one folder for each hash of their sources."""
        return self.cache / "bin"

    @property
    def archives(self) -> Path:
        """OCI archives and layouts of images."""
        return self.cache / "images"

    @property
    def control_plane(self) -> Path:
        """Folder of etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""
        return self.state / "control-plane"

    @property
    def node(self) -> Path:
        """Folder of containerd, kubelet and kube-proxy."""
        return self.state / "node"

    @property
    def logs(self) -> Path:
        """Logs of steps that outlive a cluster, such as compiling."""
        return self.cache / "logs"


def folders_of(environment: Mapping[str, str]) -> Folders:
    """Return the folders of an environment: STEMYARD_CACHE and STEMYARD_STATE, else below the XDG base directories."""
    home = Path(environment.get("HOME") or "/root")
    cache = environment.get("STEMYARD_CACHE") or _under(environment.get("XDG_CACHE_HOME"), home / ".cache")
    state = environment.get("STEMYARD_STATE") or _under(environment.get("XDG_STATE_HOME"), home / ".local" / "state")
    return Folders(cache=Path(cache).absolute(), state=Path(state).absolute())


def here() -> Folders:
    """Return the folders of this process's environment."""
    return folders_of(os.environ)


def _under(base: str | None, fallback: Path) -> str:
    return str((Path(base) if base else fallback) / "stemyard")
