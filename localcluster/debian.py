"""Programs of Debian packages, unpacked into the cache: nothing is installed and no service starts."""

import shutil
from pathlib import Path

from localcluster.errors import CommandFailedError, MissingPrerequisiteError
from localcluster.locks import exclusive
from localcluster.programs import find, run

LIMIT = 600.0


def unpacked(package: str, root: Path) -> Path:
    """Return the folder with the files of this package, without those it depends on; download it if it is missing.

    Raises:
        MissingPrerequisiteError: the machine has no apt-get.
        CommandFailedError: the machine's package sources are unreachable or have no such package.
    """
    folder = root / f"debian-{package}"
    with exclusive(root / "lock"):
        if not folder.exists():
            if find("apt-get") is None or find("dpkg-deb") is None:
                raise MissingPrerequisiteError(f"Install {package}.")
            _unpack(package, folder)
    return folder


def _unpack(package: str, folder: Path) -> None:
    partial, downloads = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".download")
    for left in (partial, downloads):
        shutil.rmtree(left, ignore_errors=True)
    try:
        _download(package, downloads)
        [archive] = downloads.glob("*.deb")
        run(["dpkg-deb", "--extract", archive, partial], timeout=LIMIT)
    finally:
        shutil.rmtree(downloads, ignore_errors=True)
    partial.rename(folder)


def _download(package: str, folder: Path) -> None:
    """Download with the machine's package lists, or if these are missing or outdated, with lists in this folder."""
    folder.mkdir(parents=True)
    command = ["apt-get", "-qq", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User="]
    try:
        run([*command, "download", package], timeout=LIMIT, cwd=folder)
    except CommandFailedError:
        (folder / "state/lists/partial").mkdir(parents=True)
        own = [*command, "-o", f"Dir::State={folder}/state", "-o", f"Dir::Cache={folder}/cache"]
        run([*own, "update"], timeout=LIMIT)
        run([*own, "download", package], timeout=LIMIT, cwd=folder)
