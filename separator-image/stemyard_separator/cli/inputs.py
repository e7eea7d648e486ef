"""What `run` is given: files and pipes."""

import shutil
from pathlib import Path


def as_file(path: Path, folder: Path) -> Path:
    """Return the file, or a copy of what comes from a pipe: it is read several times.

    Args:
        path: to read.
        folder: for the copy.

    Raises:
        OSError: the pipe cannot be read, or the copy not written.
    """
    if not path.is_fifo():
        return path
    copy = folder / "source"
    with path.open("rb") as pipe, copy.open("wb") as file:
        shutil.copyfileobj(pipe, file)
    return copy
