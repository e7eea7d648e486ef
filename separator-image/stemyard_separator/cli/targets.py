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
        IsADirectoryError: a target is a folder, which is never replaced.
    """
    name = _shortened(source.stem, _name_limit(folder) - max(len(ending.encode()) + 1 for ending in endings))
    targets = [folder / f"{name}.{ending}" for ending in endings]
    for target in targets:
        if any(target.exists() and each.exists() and target.samefile(each) for each in inputs):
            raise FileExistsError(errno.EEXIST, "is an input and would be replaced; name another folder", str(target))
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder and cannot be replaced", str(target))
        if os.path.lexists(target) and not force:  # also a link to nothing
            raise _exists(target)
    return targets


def move_to_targets(files: Sequence[Path], targets: Sequence[Path], force: bool) -> None:
    """Rename complete files to their targets: all of them, or none if one was taken while they were made.

    Raises:
        FileExistsError: a target exists.
    """
    taken: list[Path] = []
    try:
        if not force:
            for target in targets:
                _take(target)
                taken.append(target)
        for file, target in zip(files, targets, strict=True):
            file.replace(target)
    except BaseException:  # an interruption, too
        for target in taken:
            target.unlink(missing_ok=True)
        raise


def _take(target: Path) -> None:
    """Create an empty file, as renaming alone replaces what another run has just written."""
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        raise _exists(target) from None


def _exists(target: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "exists already; --force replaces it", str(target))


def _name_limit(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _USUAL_NAME_LIMIT


def _shortened(name: str, most: int) -> str:
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name
