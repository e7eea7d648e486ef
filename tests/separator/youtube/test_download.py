"""Errors and silent failures of the real yt-dlp with fake extractors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.extractor.common import InfoExtractor, SearchInfoExtractor
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UserNotLive

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.youtube import download
from stemyard_separator.youtube.diagnosis import diagnose
from stemyard_separator.youtube.messages import DownloadRequest
from tests.support.audio import CLIP
from tests.support.http_server import Exchange, HttpServer

VIDEO = "abcdefghijk"
CLIP_BYTES = CLIP.read_bytes()


class Extractor(InfoExtractor):  # type: ignore[misc]
    """Returns or raises the test's result."""

    IE_NAME = "youtube"
    _VALID_URL = r"https?://www\.youtube\.com/watch\?v=(?P<id>[\w-]{11})"
    result: Any = None

    def _real_extract(self, url: str) -> dict[str, Any]:
        if isinstance(self.result, BaseException):
            raise self.result
        return {"id": VIDEO, "title": "Song", **self.result}


class Search(SearchInfoExtractor):  # type: ignore[misc]
    _SEARCH_KEY = "ytsearch"
    IE_NAME = "youtube:search"

    def _search_results(self, query: str) -> Iterator[dict[str, Any]]:
        return iter(())


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake(YoutubeDL):  # type: ignore[misc]
        def __init__(self, options: dict[str, Any]) -> None:
            super().__init__(options, auto_init=False)
            for extractor in (Extractor, Search):
                self.add_info_extractor(extractor())

    monkeypatch.setattr(download, "YoutubeDL", Fake)
    monkeypatch.setattr(download, "_retry_delay", lambda n: 0.01)


def outcome(folder: Path, result: Any, *, max_bytes: int = 50 << 20, query: str | None = None) -> FailureCode | None:
    """Return the failure code of a fetch, None for a success."""
    Extractor.result = result
    request = DownloadRequest(
        query=query, video=None if query else VIDEO, folder=str(folder), max_bytes=max_bytes, max_seconds=600
    )
    warnings = download.WarningCollector()
    try:
        download.fetch(request, warnings, lambda step: None)
    except Exception as error:  # noqa: BLE001 - every failure has a code
        return diagnose(error, warnings.messages).code
    return None


def formats(url: str) -> dict[str, Any]:
    audio = {"url": url, "format_id": "140", "ext": "mp3", "vcodec": "none", "acodec": "mp3"}
    return {"formats": [audio], "duration": 11}


RAISED: list[tuple[BaseException, FailureCode]] = [
    (GeoRestrictedError("not here", countries=["DE"]), FailureCode.SOURCE_GEO_BLOCKED),
    (UserNotLive(video_id=VIDEO), FailureCode.SOURCE_LIVE),
    (ExtractorError("Video unavailable", expected=True), FailureCode.SOURCE_UNAVAILABLE),
    (ExtractorError("Join this channel to get access", expected=True), FailureCode.SOURCE_LOGIN_REQUIRED),
    (ExtractorError("Sign in to confirm your age", expected=True), FailureCode.SOURCE_AGE_RESTRICTED),
    (ExtractorError("This video is DRM protected", expected=True), FailureCode.SOURCE_DRM),
    (ExtractorError("Sign in to confirm you’re not a bot", expected=True), FailureCode.SOURCE_BOT_CHECK),
    (ExtractorError("rate-limited by YouTube", expected=True), FailureCode.SOURCE_RATE_LIMITED),
    (ExtractorError("no such key"), FailureCode.EXTRACTOR_BROKEN),
    (KeyError("playerResponse"), FailureCode.EXTRACTOR_BROKEN),
    (OSError(28, "No space left on device"), FailureCode.INTERNAL_IO),
    (PermissionError(13, "Permission denied"), FailureCode.INTERNAL_IO),
]


@pytest.mark.parametrize(("error", "code"), RAISED, ids=[f"{type(each).__name__}-{code}" for each, code in RAISED])
def test_errors_of_an_extractor_have_their_code(tmp_path: Path, error: BaseException, code: FailureCode) -> None:
    assert outcome(tmp_path, error) is code
    assert FAILURES[code].stage in {"fetch", "control"}


STATES = [("is_live", True), ("is_upcoming", True), ("post_live", True), ("was_live", False), (None, False)]


@pytest.mark.parametrize(("state", "refused"), STATES)
def test_live_recordings_are_refused(tmp_path: Path, state: str | None, refused: bool) -> None:
    with HttpServer(lambda exchange: exchange.answer(200, CLIP_BYTES)) as server:
        code = outcome(tmp_path, {**formats(f"{server.url}/song.mp3"), "live_status": state})

    assert code is (FailureCode.SOURCE_LIVE if refused else None)


def test_a_declared_length_over_the_limit_is_an_error(tmp_path: Path) -> None:
    with HttpServer(lambda exchange: exchange.answer(200, CLIP_BYTES)) as server:
        code = outcome(tmp_path, formats(f"{server.url}/song.mp3"), max_bytes=100_000)

    assert code is FailureCode.SOURCE_TOO_LARGE


def test_a_body_without_a_length_is_counted(tmp_path: Path) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.answer_chunked(bytes(1 << 16) for _ in range(1 << 20))

    with HttpServer(endless) as server:
        code = outcome(tmp_path, formats(f"{server.url}/song.mp3"), max_bytes=1 << 20)

    assert code is FailureCode.SOURCE_TOO_LARGE


def test_an_empty_body_is_an_error(tmp_path: Path) -> None:
    with HttpServer(lambda exchange: exchange.answer(200, b"")) as server:
        assert outcome(tmp_path, formats(f"{server.url}/song.mp3")) is FailureCode.SOURCE_NETWORK


def test_a_search_without_entries_is_an_error(tmp_path: Path) -> None:
    assert outcome(tmp_path, {}, query="no such song") is FailureCode.SOURCE_NOT_FOUND


def test_a_closed_port_is_a_network_error(tmp_path: Path) -> None:
    assert outcome(tmp_path, formats("http://127.0.0.1:9/song.mp3")) is FailureCode.SOURCE_NETWORK


def test_a_recording_without_formats_is_an_extractor_error(tmp_path: Path) -> None:
    assert outcome(tmp_path, {"formats": [], "duration": 11}) is FailureCode.EXTRACTOR_BROKEN


def test_our_own_refusals_pass_through_yt_dlp_unchanged(tmp_path: Path) -> None:
    Extractor.result = {**formats("http://127.0.0.1:9/"), "duration": 9999}
    request = DownloadRequest(video=VIDEO, folder=str(tmp_path), max_bytes=1, max_seconds=600)

    with pytest.raises((SourceError, DownloadError)) as caught:
        download.fetch(request, download.WarningCollector(), lambda step: None)

    found = diagnose(caught.value)
    assert found.code is FailureCode.SOURCE_TOO_LONG
    assert "9999" in found.detail
