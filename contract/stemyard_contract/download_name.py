"""Download names: what a stem is called on the disk of whoever saves it."""

import re
from typing import Final
from urllib.parse import quote

from stemyard_contract.findings import Stem

_NAME_LIMIT: Final = 80


def disposition(title: str | None, artist: str | None, track: str, stem: Stem, ending: str) -> str:
    """Return the Content-Disposition that saves a stem as `Artist - Title (Vocals).mp3`, both spellings of RFC 6266.

    Args:
        title: of the song, where it is known.
        artist: likewise.
        track: id of the track, for a song without a title.
        stem: the stem.
        ending: of its file, without the dot.
    """
    name = f"{_safe(_song(title, artist, track))} ({stem.title()}).{ending}"
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _song(title: str | None, artist: str | None, track: str) -> str:
    """Return artist and title, without naming an artist twice whom the title names already."""
    if title is None:
        return track
    return title if not artist or artist.casefold() in title.casefold() else f"{artist} - {title}"


def _safe(title: str) -> str:
    """Return a title that is a file name everywhere: no separators, no controls, no leading dot."""
    visible = "".join(character if character.isprintable() else " " for character in title)
    name = " ".join(re.sub(r'[\\/:*?"<>|]+', " ", visible).split()).strip(". ")
    return name[:_NAME_LIMIT].rstrip(". ") or "track"
