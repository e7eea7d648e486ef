"""The only module that knows yt-dlp: searches, checks and downloads. It runs in a process of its own."""

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from yt_dlp import YoutubeDL
from yt_dlp.extractor import gen_extractor_classes

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.handover import MediaMetadata
from stemyard_separator.errors import SourceError
from stemyard_separator.youtube.messages import Downloaded, DownloadRequest, Step, UnsupportedLink
from stemyard_separator.youtube.result_ranking import LIVE_STATES, rank

EXTRACTORS: Final = ("youtube", "youtube:search")
"""Exact names for searches and videos; without a list, yt-dlp would read any address of any site."""
SEARCH_SIZE: Final = 5
_SEARCH_SHARE: Final = 0.2
_KEPT_WARNINGS: Final = 20
Info = Mapping[str, Any]
Tell = Callable[[Step], None]


class WarningCollector:
    """A logger for yt-dlp that keeps the first warnings and prints nothing."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def debug(self, message: str) -> None:
        """Drop it."""

    def warning(self, message: str) -> None:
        """Keep it: it may explain a later error."""
        if len(self.kept) < _KEPT_WARNINGS:
            self.kept.append(message)

    def error(self, message: str) -> None:
        """Drop it: the exception says the same."""


def fetch(request: DownloadRequest, warnings: WarningCollector, tell: Tell) -> Downloaded | UnsupportedLink:
    """Find the recording that was asked for and download its audio.

    Raises:
        SourceError: for what is checked here.
        Exception: whatever yt-dlp raises; `diagnosis` knows what it means.
    """
    candidates: list[Candidate] = []
    if request.link is not None and not _is_suited(request.link, request, warnings):
        return UnsupportedLink()
    video = request.video
    if video is None and request.link is None:
        tell(Step(step="search", fraction=0.0))
        candidates = rank(request.query or "", _search(request, warnings), request.max_seconds)
        video = candidates[0].media_id.removeprefix("youtube:")
    tell(Step(step="download", fraction=_SEARCH_SHARE))
    info = _download(request.link or f"https://www.youtube.com/watch?v={video}", request, warnings, tell)
    return Downloaded(path=_downloaded_path(info, request), media=_metadata(info), candidates=candidates)


def _is_suited(link: str, request: DownloadRequest, warnings: WarningCollector) -> bool:
    with YoutubeDL(_options(request, warnings)):  # which loads plugins
        return any(each.IE_NAME in request.extractors and each.suitable(link) for each in gen_extractor_classes())


def _search(request: DownloadRequest, warnings: WarningCollector) -> list[Info]:
    options = _options(request, warnings) | {"extract_flat": True, "skip_download": True}
    with YoutubeDL(options) as downloader:
        # never yt-dlp's default_search: it would take a query that looks like an address for one
        result = downloader.extract_info(f"ytsearch{SEARCH_SIZE}:{request.query}", download=False)
    return list((result or {}).get("entries") or [])


def _download(link: str, request: DownloadRequest, warnings: WarningCollector, tell: Tell) -> Info:
    options = _options(request, warnings) | {
        "match_filter": lambda info, *, incomplete: _check(info, request),
        "progress_hooks": [lambda state: _watch(state, request, tell)],
    }
    with YoutubeDL(options) as downloader:
        return dict(downloader.extract_info(link) or {})


def _options(request: DownloadRequest, warnings: WarningCollector) -> dict[str, Any]:
    allowed = request.extractors if request.link is not None else EXTRACTORS
    least, most = request.download_delay
    return {
        "quiet": True,
        "noprogress": True,
        "color": "never",
        "logger": warnings,
        "cachedir": False,
        "allowed_extractors": [re.escape(name) for name in allowed],
        "format": "bestaudio/best",
        "noplaylist": True,
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
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _pause),
        "http_chunk_size": 10 << 20,
        "max_filesize": request.max_bytes,
        "sleep_interval_requests": request.request_interval,
        "sleep_interval": least,
        "max_sleep_interval": max(least, most),
        "geo_bypass": False,
        "cookiefile": request.cookies,
        "proxy": request.proxy or "",  # never one from the environment
        "extractor_args": _provider(request.po_token_url),
    }


def _provider(url: str | None) -> dict[str, dict[str, list[str]]]:
    """Return what tells bgutil's plugin where its server is."""
    return {"youtubepot-bgutilhttp": {"base_url": [url]}} if url else {}


def _pause(n: int) -> float:
    """Return the seconds before retry `n`, the name yt-dlp calls it by."""
    return float(min(8.0, 2.0 ** (n - 1)) * random.uniform(0.5, 1.5))


def _check(info: Info, request: DownloadRequest) -> None:
    """Refuse by raising: a reason that is returned would be lost."""
    if info.get("is_live") or info.get("live_status") in LIVE_STATES:
        raise SourceError(FailureCode.SOURCE_LIVE)
    duration = info.get("duration")
    if duration is not None and duration > request.max_seconds:
        detail = f"It lasts {duration:g} s; at most {request.max_seconds:g} s are accepted."
        raise SourceError(FailureCode.SOURCE_TOO_LONG, detail)


def _watch(state: Info, request: DownloadRequest, tell: Tell) -> None:
    received = state.get("downloaded_bytes") or 0
    expected = state.get("total_bytes") or state.get("total_bytes_estimate") or 0
    if max(received, state.get("total_bytes") or 0) > request.max_bytes:
        raise _too_large(request)
    if expected:
        share = min(1.0, received / expected)
        tell(Step(step="download", fraction=_SEARCH_SHARE + (1 - _SEARCH_SHARE) * share))


def _too_large(request: DownloadRequest) -> SourceError:
    return SourceError(FailureCode.SOURCE_TOO_LARGE, f"At most {request.max_bytes / 2**20:g} MiB are accepted.")


def _downloaded_path(info: Info, request: DownloadRequest) -> str:
    """Return where the audio is.

    yt-dlp gives no path, and no error, for a file whose announced length is over `max_filesize`.
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


def _metadata(info: Info) -> MediaMetadata:
    artists = info.get("artists") or ([info["artist"]] if info.get("artist") else [])
    return MediaMetadata(
        title=info.get("track") or info.get("title"),
        artist=", ".join(str(artist) for artist in artists) or None,
        channel=info.get("channel") or info.get("uploader"),
        media_id=f"{info.get('extractor') or 'youtube'}:{info['id']}",
        webpage_url=info.get("webpage_url"),
    )
