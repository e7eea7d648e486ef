"""Names of the files that `run` writes, decided before anything is decoded."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_USUAL_NAME_LIMIT: Final = 255


def target_files(source: Path, folder: Path, endings: Sequence[str], inputs: Sequence[Path], force: bool) -> list[Path]:
    """Return a file `<name of the source>.<ending>` for each ending; names too long for the file system are shortened.

    Args:
        source: the file to separate.
        folder: where the targets will be.
        endings: such as `vocals.mp3`.
        inputs: files that are never replaced.
        force: whether other existing files may be replaced.

    Raises:
        FileExistsError: a target exists.
    """
    name = _shortened(source.stem, _name_limit(folder) - max(len(ending.encode()) + 1 for ending in endings))
    targets = [folder / f"{name}.{ending}" for ending in endings]
    for target in targets:
        if any(target.exists() and each.exists() and target.samefile(each) for each in inputs):
            raise FileExistsError(errno.EEXIST, "is an input and would be replaced; name another folder", str(target))
        if target.exists() and not force:
            raise FileExistsError(errno.EEXIST, "exists already; --force replaces it", str(target))
    return targets


def _name_limit(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _USUAL_NAME_LIMIT


def _shortened(name: str, most: int) -> str:
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name
