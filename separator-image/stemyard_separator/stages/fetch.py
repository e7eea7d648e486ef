"""The fetch stage: gets the source, decodes it to FLAC, measures it and uploads it."""

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.handover import (
    AUDIO_FILE,
    INPUT_FILE,
    SAMPLE_RATE,
    MarkReference,
    MediaMetadata,
    SourceMark,
    StoredFile,
)
from stemyard_contract.identity import youtube_id
from stemyard_separator.audio.decode import DecodedAudio, decode
from stemyard_separator.audio.media import library_versions
from stemyard_separator.errors import ConfigurationError, SourceError
from stemyard_separator.http import HttpClient
from stemyard_separator.logs import log
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.stages.context import StageContext
from stemyard_separator.transfer.link import DownloadLimits, download_link, link_title
from stemyard_separator.transfer.object_store import LocalFile
from stemyard_separator.youtube.messages import Downloaded, DownloadRequest, Overlay
from stemyard_separator.youtube.runner import run_downloader

_DOWNLOADED, _DECODED = 0.6, 0.9
"""The stage's progress once the source is downloaded and decoded."""
_YOUTUBE_DOMAINS: Final = ("youtube.com", "youtu.be", "youtube-nocookie.com")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The source on disk, not decoded yet."""

    path: Path
    media: MediaMetadata = field(default_factory=MediaMetadata)
    candidates: list[Candidate] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of what downloaded it, if that is not the separator itself."""


def fetch(context: StageContext) -> MarkReference:
    """Get the source, decode it, upload the audio and the mark; return the mark's reference.

    Raises:
        StageError: any failure of the table's fetch stage.
    """
    source = _get_source(context)
    original = LocalFile(source.path, "").stored()
    log("source received", bytes=original.bytes, media_id=source.media.media_id)
    audio = _decode(context, source)
    log(
        "source decoded",
        samples=audio.measured.samples,
        exponent=audio.exponent,
        peak=round(audio.measured.peak, 4),
        invalid_samples=audio.invalid_samples,
        is_cut=audio.is_cut,
    )
    context.reporter.update("upload", _DECODED)
    file = LocalFile(audio.path, "audio/flac")
    mark = _mark(context, source, audio, file.stored(), original)
    return context.publish([file], lambda: mark)


def _decode(context: StageContext, source: SourceFile) -> DecodedAudio:
    def on_progress(fraction: float) -> None:
        context.reporter.update("decode", _DOWNLOADED + (_DECODED - _DOWNLOADED) * fraction)

    limit = context.assignment.limits.max_duration_seconds
    audio = decode(source.path, context.folder / AUDIO_FILE, limit, on_progress)
    source.path.unlink()
    return audio


def _get_source(context: StageContext) -> SourceFile:
    source = context.assignment.source
    if source.upload is not None:
        return _from_store(context, MediaMetadata(), FailureCode.SOURCE_GONE)
    if source.object is not None:
        title = PurePosixPath(source.object.key).stem  # the fallback title
        return _from_store(context, MediaMetadata(title=title), FailureCode.OBJECT_NOT_FOUND)
    if source.url is not None:
        return _from_link(context, source.url)
    if source.search_query is not None:
        video = youtube_id(source.search_query.strip())
        return _from_youtube(context, query=None if video else source.search_query, video=video)
    raise ConfigurationError("The Assignment contains no source.")


def _from_store(context: StageContext, media: MediaMetadata, missing: FailureCode) -> SourceFile:
    context.reporter.update("download", 0.0)
    target = context.folder / "received"
    [link] = context.store.links_to_read(INPUT_FILE)
    context.store.download(link, target, context.assignment.limits.max_bytes, SourceError(missing))
    return SourceFile(target, media)


def _from_link(context: StageContext, url: str) -> SourceFile:
    host, video = (urlsplit(url).hostname or "").lower(), youtube_id(url)
    if video or any(host == domain or host.endswith(f".{domain}") for domain in _YOUTUBE_DOMAINS):
        if video is None:
            raise SourceError(FailureCode.SOURCE_NOT_FOUND, "The link does not name one video.")
        return _from_youtube(context, query=None, video=video)
    settings = context.settings
    if settings.extractors and (source := _from_downloader(context, _request(context, link=url))) is not None:
        return source
    context.reporter.update("download", 0.0)
    target, max_bytes = context.folder / "received", context.assignment.limits.max_bytes
    limits = DownloadLimits(max_bytes, settings.link_deadline_seconds, settings.fetch_allowed_cidrs)
    download_link(url, target, limits, HttpClient())  # which trusts the public CAs only
    return SourceFile(target, MediaMetadata(title=link_title(url)))


def _from_youtube(context: StageContext, *, query: str | None, video: str | None) -> SourceFile:
    if not context.assignment.youtube_enabled:
        raise SourceError(FailureCode.SOURCE_DISABLED, "Upload the file or give a direct link to it.")
    source = _from_downloader(context, _request(context, query=query, video=video))
    if source is None:
        raise SourceError(FailureCode.EXTRACTOR_BROKEN)
    return source


def _from_downloader(context: StageContext, request: DownloadRequest) -> SourceFile | None:
    """Return the file that yt-dlp downloaded, or None if no allowed extractor supports the link."""
    result = run_downloader(
        request,
        context.settings.youtube_deadline_seconds,
        lambda step: context.reporter.update(step.step, _DOWNLOADED * step.fraction),
    )
    if not isinstance(result, Downloaded):
        return None
    return SourceFile(Path(result.path), result.media, result.candidates, result.versions)


def _request(
    context: StageContext, *, query: str | None = None, video: str | None = None, link: str | None = None
) -> DownloadRequest:
    limits, settings = context.assignment.limits, context.settings
    return DownloadRequest(
        query=query,
        video=video,
        link=link,
        folder=str(context.folder),
        max_bytes=limits.max_bytes,
        max_seconds=limits.max_duration_seconds,
        cookies=None if link else _copy_cookies(context),
        proxy=settings.proxy,
        po_token_url=None if link else settings.youtube_po_token_url,
        request_interval=settings.youtube_request_interval,
        download_delay=(settings.youtube_download_delay, settings.youtube_download_delay_max),
        extractors=settings.extractors,
        overlay=_overlay(settings),
    )


def _overlay(settings: SeparatorSettings) -> Overlay | None:
    if settings.youtube_overlay is None:
        return None
    return Overlay(
        folder=str(settings.youtube_overlay),
        least=settings.youtube_overlay_least,
        greatest=settings.youtube_overlay_greatest,
    )


def _copy_cookies(context: StageContext) -> str | None:
    """Return a private copy of the cookie file: yt-dlp rewrites the file, and a mounted Secret is read-only."""
    cookies = context.settings.youtube_cookies
    if cookies is None:
        return None
    copy = (context.settings.private_dir or context.folder) / "cookies.txt"
    try:
        copy.touch(0o600)
        copy.write_bytes(cookies.read_bytes())
    except OSError:
        raise ConfigurationError(f"The cookie file {cookies} cannot be read.") from None
    return str(copy)


def _mark(
    context: StageContext, source: SourceFile, audio: DecodedAudio, stored: StoredFile, original: StoredFile
) -> SourceMark:
    measured = audio.measured
    return SourceMark(
        uid=context.assignment.uid,
        run=context.assignment.run,
        pod_uid=context.settings.pod_uid,
        audio=stored,
        sample_rate=SAMPLE_RATE,
        source_sample_rate=audio.source_rate,
        samples=measured.samples,
        exponent=audio.exponent,
        peak=measured.peak,
        mean=measured.mean,
        standard_deviation=measured.standard_deviation,
        is_mono=measured.is_mono,
        level=measured.level,
        audio_sha256=measured.sha256,
        invalid_samples=audio.invalid_samples,
        is_cut=audio.is_cut,
        media=_media(source.media, audio),
        tags=audio.tags,
        candidates=source.candidates,
        received_bytes=original.bytes,
        received_sha256=original.sha256,
        versions={"stemyard": version("stemyard"), **source.versions, **library_versions()},
    )


def _media(media: MediaMetadata, audio: DecodedAudio) -> MediaMetadata:
    """Complete the source's metadata from the file's tags; tags override a file name but not YouTube's metadata."""
    tags = {"title": audio.title, "artist": audio.artist}
    if media.media_id is not None:
        tags = {key: value for key, value in tags.items() if getattr(media, key) is None}
    return media.model_copy(update={key: value for key, value in tags.items() if value})
