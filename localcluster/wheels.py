"""Programs distributed as Python wheels, installed into the cache by uv or pip with the host's configuration."""

import shutil
import sys
from pathlib import Path

from localcluster.errors import MissingPrerequisiteError
from localcluster.locks import exclusive
from localcluster.programs import find, run, succeeds

TIMEOUT = 600.0


def installed(requirement: str, root: Path) -> Path:
    """Return the folder that holds only this requirement's wheel (`name==version`); install it if it is missing.

    Raises:
        MissingPrerequisiteError: the machine has neither uv nor pip.
        CommandFailedError: the registry is unreachable or has no such version.
    """
    folder = root / requirement.replace("==", "-")
    with exclusive(root / "lock"):
        if not folder.exists():
            _install(requirement, folder, root)
    return folder


def _install(requirement: str, folder: Path, root: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    run(
        [*_installer(root), "--no-deps", "--target", partial, "--python-version", "3.11", *_ONLY_WHEELS, requirement],
        timeout=TIMEOUT,
    )
    partial.rename(folder)


def _installer(root: Path) -> list[str]:
    # `make setup` installs uv into the cache if the machine has none.
    cached = root.parent / "uv" / "bin" / "uv"
    uv = find("uv") or (cached if cached.exists() else None)
    if uv is not None and succeeds([uv, "--version"], timeout=20):
        return [str(uv), "pip", "install", "--quiet", "--python", sys.executable]
    if succeeds([sys.executable, "-m", "pip", "--version"], timeout=20):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    raise MissingPrerequisiteError("Install uv or pip, which install programs distributed as Python packages.")


_ONLY_WHEELS = ("--only-binary", ":all:")
