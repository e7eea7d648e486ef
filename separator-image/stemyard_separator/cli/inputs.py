"""What `run` is given: files, pipes, and what it cannot read."""

import errno
import re
import shutil
from pathlib import Path
from typing import Final

LINK_SENTENCE: Final = "is a link; download it first, or use `stemyard separate`"
_LINK: Final = re.compile(r"https?:/", re.IGNORECASE)
"""The beginning of a link as a path, in which one slash of two is left."""


def is_link(path: Path) -> bool:
    """Return whether what was given as a path is the address of something, and no file."""
    return bool(_LINK.match(str(path))) and not path.exists()


def refuse_what_is_no_file(path: Path) -> None:
    """Refuse folders and links with a sentence that says what to do.

    Raises:
        OSError: it is one of these.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; name the files in it", str(path))
    if is_link(path):
        raise FileNotFoundError(errno.ENOENT, LINK_SENTENCE, str(path))


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
