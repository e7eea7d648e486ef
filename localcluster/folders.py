"""Where things lie: what may be kept between clusters (cache) and what belongs to the running one (state)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """The two roots; everything else is below them.

    Attributes:
        cache: binaries, images and build layers; safe to delete at any time, costs time only.
        state: processes, certificates, data and logs of the running cluster; `down` removes it.
    """

    cache: Path
    state: Path

    @property
    def binaries(self) -> Path:
        """Compiled programs, one folder per hash of their sources."""
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
    """The folders an environment asks for: STEMYARD_CACHE, STEMYARD_STATE, else XDG base directories, else the home."""
    home = Path(environment.get("HOME") or "/root")
    cache = environment.get("STEMYARD_CACHE") or _under(environment.get("XDG_CACHE_HOME"), home / ".cache")
    state = environment.get("STEMYARD_STATE") or _under(environment.get("XDG_STATE_HOME"), home / ".local" / "state")
    return Folders(cache=Path(cache).absolute(), state=Path(state).absolute())


def here() -> Folders:
    """The folders of this process's environment."""
    return folders_of(os.environ)


def _under(base: str | None, fallback: Path) -> str:
    return str((Path(base) if base else fallback) / "stemyard")
