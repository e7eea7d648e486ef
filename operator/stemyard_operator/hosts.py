"""The host that a source is fetched from, for limits that spare it. Pure."""

from typing import Final
from urllib.parse import urlsplit

from stemyard_contract.identity import youtube_id
from stemyard_contract.source import Source

_YOUTUBE: Final = "youtube.com"


def host_of(source: Source) -> str:
    """Return the host, all of YouTube being one; "" where nothing outside is asked, as for uploads."""
    if source.search_query is not None:
        return _YOUTUBE
    if source.url is None:
        return ""
    return _YOUTUBE if youtube_id(source.url) else (urlsplit(source.url).hostname or "").lower()
