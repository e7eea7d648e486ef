"""Puts a newer yt-dlp from a mounted folder in place of the image's own, within the process that downloads."""

import re
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import version
from pathlib import Path
from typing import Final

from stemyard_separator.youtube.messages import Overlay

PACKAGES: Final = ("yt_dlp", "yt_dlp_ejs")
"""The packages of an overlay, side by side in its folder."""
_DEPENDENTS: Final = ("stemyard_separator.youtube.download", "stemyard_separator.youtube.diagnosis")
"""The modules that import yt-dlp: they name every part of it that the separator uses."""
_VERSION: Final = re.compile(r"^__version__ = '(\d+(?:\.\d+)+)'$", re.MULTILINE)
_YEARS: Final = 1
"""Years by which an overlay may be newer than the image unless a greatest version is given: yt-dlp keeps no interface
stable, and this long after its release an image deserves an upgrade."""


class OverlayError(Exception):
    """The overlay cannot be used; the message says why."""


class _Finder(MetaPathFinder):
    """Finds the packages of an overlay, and nothing else that may be in its folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of a package; its modules are found by its own path."""
        return PathFinder.find_spec(fullname, [self._folder]) if fullname in PACKAGES else None


def use_overlay(overlay: Overlay) -> None:
    """Import yt-dlp from an overlay, before anything else imports it.

    Raises:
        OverlayError: the folder is no overlay, its version is out of bounds, or it cannot be imported. The next import
            finds the image's own yt-dlp.
    """
    _check_version(_version_of(Path(overlay.folder)), overlay)
    finder, before = _Finder(overlay.folder), set(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        for name in _DEPENDENTS:
            import_module(name)
    except Exception as error:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in PACKAGES or name in _DEPENDENTS:
                del sys.modules[name]
        raise OverlayError(f"It cannot be imported: {type(error).__name__}: {error}") from error


def _version_of(folder: Path) -> str:
    """Return the version of the overlay's yt-dlp without importing it."""
    for package in PACKAGES:
        if not (folder / package / "__init__.py").is_file():
            raise OverlayError(f"It contains no package {package}.")
    try:
        found = _VERSION.search((folder / "yt_dlp" / "version.py").read_text())
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        raise OverlayError("Its yt_dlp/version.py states no version.")
    return found[1]


def _check_version(found: str, overlay: Overlay) -> None:
    own = version("yt-dlp")
    least = overlay.least or own
    if _numbers(found) < _numbers(least):
        raise OverlayError(f"Its version {found} is less than {least}.")
    year, *rest = _numbers(own)
    greatest = overlay.greatest or ".".join(map(str, (year + _YEARS, *rest)))
    if _numbers(found) > _numbers(greatest):
        raise OverlayError(f"Its version {found} is greater than {greatest}.")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
