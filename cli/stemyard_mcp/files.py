"""Which files of the server's machine a tool may send to the installation."""

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stemyard_client import StemyardError

_UNREGISTERED: Final = frozenset({".flac", ".m4a", ".mka", ".mkv", ".oga", ".ogg", ".opus", ".weba", ".wma"})
"""Endings that not every system's table of media types has."""


class FileRefusedError(StemyardError):
    """The file may not be sent; the message says which may."""

    code = "file_refused"


@dataclass(frozen=True, slots=True)
class Files:
    """The files that may be sent: audio and video, by their names, since agents are told names by strangers.

    Attributes:
        allowed: whether any file may.
        folder: the folder in which they must be; None for anywhere.
    """

    allowed: bool
    folder: Path | None = None

    def checked(self, name: str) -> Path:
        """Return the path of a file that may be sent, with links followed.

        Args:
            name: its path; a relative one is below the folder, else below the working directory.

        Raises:
            FileRefusedError: it may not be sent.
            OSError: it does not exist.
        """
        if not self.allowed:
            raise FileRefusedError("This server sends no files of its machine. Give a URL or words to search by.")
        base = Path.cwd() if self.folder is None else self.folder.resolve()
        path = (base / Path(name).expanduser()).resolve()
        if self.folder is not None and not path.is_relative_to(base):
            raise FileRefusedError("Only files in the folder that this server was started with may be sent.")
        kind = mimetypes.guess_type(path.name)[0] or ""
        if not (kind.startswith(("audio/", "video/")) or path.suffix.lower() in _UNREGISTERED):
            raise FileRefusedError("Only files whose names are of audio or video may be sent.")
        if not path.is_file():
            raise FileNotFoundError(2, "No such file", name)
        return path
