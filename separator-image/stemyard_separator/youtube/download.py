"""Searches, checks and downloads with yt-dlp, in the separate process; only this module and diagnosis import it."""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from yt_dlp import YoutubeDL
from yt_dlp.dependencies import yt_dlp_ejs
from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.version import __version__

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.handover import MediaMetadata
from stemyard_separator.errors import SourceError
from stemyard_separator.youtube.messages import (
    Downloaded,
    DownloadProgress,
    DownloadRequest,
    OnDownloadProgress,
    UnsupportedLink,
)
from stemyard_separator.youtube.result_ranking import LIVE_STATES, rank

EXTRACTORS: Final = ("youtube", "youtube:search")
"""Exact names of the extractors for searches and videos; without a list, yt-dlp would fetch any URL of any site."""
SEARCH_SIZE: Final = 10
"""One request returns more; the artist's release is often not among the first five."""
_SEARCH_SHARE: Final = 0.2
_MAX_WARNINGS: Final = 20
_NO_ITEMS: Final = "0"
"""Entries of a list are numbered from 1: it is recognised without asking for a single one."""
_LISTS: Final = ("playlist", "multi_video")
InfoDict = Mapping[str, Any]
"""yt-dlp's description of a video."""


class WarningCollector:
    """A logger for yt-dlp that keeps the first warnings and prints nothing."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def debug(self, message: str) -> None:
        """Discard it."""

    def warning(self, message: str) -> None:
        """Keep it: it may explain a later error."""
        if len(self.messages) < _MAX_WARNINGS:
            self.messages.append(message)

    def error(self, message: str) -> None:
        """Discard it: the exception contains the same."""


def versions() -> dict[str, str]:
    """Return the versions of yt-dlp and of the scripts with which it solves YouTube's challenges."""
    return {"yt-dlp": str(__version__), **({"yt-dlp-ejs": str(yt_dlp_ejs.version)} if yt_dlp_ejs else {})}


def fetch(
    request: DownloadRequest, warnings: WarningCollector, on_progress: OnDownloadProgress
) -> Downloaded | UnsupportedLink:
    """Find the requested recording and download its audio.

    Raises:
        SourceError: the recording exceeds a limit, is live, or no search result is usable.
        Exception: any error of yt-dlp; `diagnosis` maps it to a failure code.
    """
    candidates: list[Candidate] = []
    if request.link is not None and not _is_supported(request.link, request, warnings):
        return UnsupportedLink()
    video = request.video
    if video is None and request.link is None:
        on_progress(DownloadProgress(step="search", fraction=0.0))
        candidates = rank(request.query or "", _search(request, warnings), request.max_seconds)
        video = candidates[0].media_id.removeprefix("youtube:")
    on_progress(DownloadProgress(step="download", fraction=_SEARCH_SHARE))
    info = _download(request.link or f"https://www.youtube.com/watch?v={video}", request, warnings, on_progress)
    return Downloaded(
        path=_downloaded_path(info, request), media=_metadata(info), candidates=candidates, versions=versions()
    )


def _is_supported(link: str, request: DownloadRequest, warnings: WarningCollector) -> bool:
    with YoutubeDL(_options(request, warnings)):  # loads plugins
        return any(
            extractor.IE_NAME in request.extractors and extractor.suitable(link)
            for extractor in gen_extractor_classes()
        )


def _search(request: DownloadRequest, warnings: WarningCollector) -> list[InfoDict]:
    options = _options(request, warnings) | {"extract_flat": True, "skip_download": True}
    with YoutubeDL(options) as downloader:
        # never yt-dlp's default_search: it would fetch a query that looks like a URL
        result = downloader.extract_info(f"ytsearch{SEARCH_SIZE}:{request.query}", download=False)
    return list((result or {}).get("entries") or [])


def _download(
    link: str, request: DownloadRequest, warnings: WarningCollector, on_progress: OnDownloadProgress
) -> InfoDict:
    options = _options(request, warnings) | {
        "match_filter": lambda info, *, incomplete: _check(info, request),
        "progress_hooks": [lambda state: _report(state, request, on_progress)],
    }
    with YoutubeDL(options) as downloader:
        info = dict(downloader.extract_info(link) or {})
    if info.get("_type") in _LISTS:
        raise SourceError(FailureCode.SOURCE_NOT_FOUND, "The link names a list of recordings; give the link of one.")
    return info


def _options(request: DownloadRequest, warnings: WarningCollector) -> dict[str, Any]:
    allowed = request.extractors if request.link is not None else EXTRACTORS
    min_delay, max_delay = request.download_delay
    return {
        "quiet": True,
        "noprogress": True,
        "color": "never",
        "logger": warnings,
        "cachedir": False,
        "allowed_extractors": [re.escape(name) for name in allowed],
        "format": "bestaudio/best",
        "noplaylist": True,
        "playlist_items": _NO_ITEMS if request.link is not None else None,
        "fixup": "never",
        "outtmpl": "%(id)s.%(ext)s",
        "paths": {"home": request.folder},
        "restrictfilenames": True,
        "overwrites": True,
        "socket_timeout": 15,
        "retries": 3,
        "fragment_retries": 3,
        "file_access_retries": 1,
        "extractor_retries": 1,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _retry_delay),
        "http_chunk_size": 10 << 20,
        "max_filesize": request.max_bytes,
        "sleep_interval_requests": request.request_interval,
        "sleep_interval": min_delay,
        "max_sleep_interval": max(min_delay, max_delay),
        "geo_bypass": False,
        "cookiefile": request.cookies,
        "proxy": request.proxy or "",  # never one from the environment
        "extractor_args": _po_token_provider(request.po_token_url),
    }


def _po_token_provider(url: str | None) -> dict[str, dict[str, list[str]]]:
    """Return the extractor arguments with the URL of the server of bgutil's plugin."""
    return {"youtubepot-bgutilhttp": {"base_url": [url]}} if url else {}


def _retry_delay(n: int) -> float:
    """Return the seconds before retry `n`; yt-dlp passes it by this name."""
    return float(min(8.0, 2.0 ** (n - 1)) * random.uniform(0.5, 1.5))


def _check(info: InfoDict, request: DownloadRequest) -> None:
    """Refuse by raising: yt-dlp would drop a returned reason."""
    if info.get("is_live") or info.get("live_status") in LIVE_STATES:
        raise SourceError(FailureCode.SOURCE_LIVE)
    duration = info.get("duration")
    if duration is not None and duration > request.max_seconds:
        detail = f"It lasts {duration:g} s; at most {request.max_seconds:g} s are accepted."
        raise SourceError(FailureCode.SOURCE_TOO_LONG, detail)


def _report(state: InfoDict, request: DownloadRequest, on_progress: OnDownloadProgress) -> None:
    received = state.get("downloaded_bytes") or 0
    expected = state.get("total_bytes") or state.get("total_bytes_estimate") or 0
    if max(received, state.get("total_bytes") or 0) > request.max_bytes:
        raise _too_large(request)
    if expected:
        share = min(1.0, received / expected)
        on_progress(DownloadProgress(step="download", fraction=_SEARCH_SHARE + (1 - _SEARCH_SHARE) * share))


def _too_large(request: DownloadRequest) -> SourceError:
    return SourceError(FailureCode.SOURCE_TOO_LARGE, f"At most {request.max_bytes / 2**20:g} MiB are accepted.")


def _downloaded_path(info: InfoDict, request: DownloadRequest) -> str:
    """Return the path of the audio.

    yt-dlp returns no path, and no error, for a file whose declared length exceeds `max_filesize`.
    """
    downloads = info.get("requested_downloads") or [{}]
    path = downloads[0].get("filepath")
    if not path:
        raise _too_large(request)
    size = Path(path).stat().st_size
    if size > request.max_bytes:
        raise _too_large(request)
    if not size:
        raise SourceError(FailureCode.SOURCE_NETWORK, "The download is empty.")
    return str(path)


def _metadata(info: InfoDict) -> MediaMetadata:
    artists = info.get("artists") or ([info["artist"]] if info.get("artist") else [])
    return MediaMetadata(
        title=info.get("track") or info.get("title"),
        artist=", ".join(str(artist) for artist in artists) or None,
        channel=info.get("channel") or info.get("uploader"),
        media_id=f"{info.get('extractor') or 'youtube'}:{info['id']}",
        webpage_url=info.get("webpage_url"),
    )
