"""File names of downloaded stems."""

import re
from typing import Final
from urllib.parse import quote

from stemyard_contract.findings import Stem
from stemyard_contract.validation import printable

_NAME_LIMIT: Final = 80
_NAME_BYTES: Final = 200
"""File systems take names of 255 bytes; a stem's name has 20 more than its song's."""
_UPLOAD_NAME_LIMIT: Final = 200


def disposition(title: str | None, artist: str | None, track: str, stem: Stem, ending: str) -> str:
    """Return a Content-Disposition header such as `Artist - Title (Vocals).mp3`, in both forms of RFC 6266.

    Args:
        title: title of the song, if known.
        artist: artist of the song, if known.
        track: id of the track, used if there is no title.
        stem: the stem.
        ending: file extension without the dot.
    """
    return attachment(stem_name(title, artist, track, stem, ending))


def stem_name(title: str | None, artist: str | None, track: str, stem: str, ending: str) -> str:
    """Return the file name of a stem; the arguments are those of `disposition`. Stem and ending must be plain words."""
    return f"{song_name(title, artist, track)} ({stem.title()}).{ending}"


def song_name(title: str | None, artist: str | None, track: str) -> str:
    """Return the portable name of a song without an ending; the arguments are those of `disposition`."""
    return _safe(_song(title, artist, track))


def uploaded_name(filename: str) -> str | None:
    """Return what to call a recording by the name of its file: without folders and ending; None if nothing is left."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", re.split(r"[\\/]", filename)[-1].strip())
    name = " ".join(printable(stem).split()).strip(". ")
    return name[:_UPLOAD_NAME_LIMIT].rstrip() or None


def attachment(name: str) -> str:
    """Return the Content-Disposition header that has a response saved under a name, in both forms of RFC 6266."""
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _song(title: str | None, artist: str | None, track: str) -> str:
    """Return `artist - title`, or the title alone if it contains the artist."""
    if title is None:
        return track
    return title if not artist or artist.casefold() in title.casefold() else f"{artist} - {title}"


def _safe(title: str) -> str:
    """Return the title as a portable file name: no separators, control characters or leading dots."""
    name = " ".join(re.sub(r'[\\/:*?"<>|]+', " ", printable(title)).split()).strip(". ")
    name = name[:_NAME_LIMIT].encode(errors="ignore")[:_NAME_BYTES].decode(errors="ignore")
    return name.rstrip(". ") or "track"
