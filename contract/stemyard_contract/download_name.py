"""File names of downloaded stems."""

import re
from typing import Final
from urllib.parse import quote

from stemyard_contract.findings import Stem

_NAME_LIMIT: Final = 80


def disposition(title: str | None, artist: str | None, track: str, stem: Stem, ending: str) -> str:
    """Return a Content-Disposition header such as `Artist - Title (Vocals).mp3`, in both forms of RFC 6266.

    Args:
        title: title of the song, if known.
        artist: artist of the song, if known.
        track: id of the track, used if there is no title.
        stem: the stem.
        ending: file extension without the dot.
    """
    name = f"{_safe(_song(title, artist, track))} ({stem.title()}).{ending}"
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _song(title: str | None, artist: str | None, track: str) -> str:
    """Return `artist - title`, or the title alone if it contains the artist."""
    if title is None:
        return track
    return title if not artist or artist.casefold() in title.casefold() else f"{artist} - {title}"


def _safe(title: str) -> str:
    """Return the title as a portable file name: no separators, control characters or leading dots."""
    visible = "".join(character if character.isprintable() else " " for character in title)
    name = " ".join(re.sub(r'[\\/:*?"<>|]+', " ", visible).split()).strip(". ")
    return name[:_NAME_LIMIT].rstrip(". ") or "track"
