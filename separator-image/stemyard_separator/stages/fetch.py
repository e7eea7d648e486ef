"""The fetch stage: from what was asked for to measured FLAC in the bucket."""

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
from stemyard_separator.logs import log
from stemyard_separator.stages.context import StageContext
from stemyard_separator.transfer.link import DownloadLimits, download_link, link_title
from stemyard_separator.transfer.object_store import LocalFile
from stemyard_separator.youtube.messages import Downloaded, DownloadRequest
from stemyard_separator.youtube.runner import run_downloader

_DOWNLOADED, _DECODED = 0.6, 0.9
"""Shares of the stage's progress by which the source is here and decoded."""
_YOUTUBE_DOMAINS: Final = ("youtube.com", "youtu.be", "youtube-nocookie.com")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source on disk."""

    path: Path
    media: MediaMetadata = field(default_factory=MediaMetadata)
    candidates: list[Candidate] = field(default_factory=list)


def fetch(stage: StageContext) -> MarkReference:
    """Get the source, decode it, publish audio and mark; return the mark's place.

    Raises:
        StageError: whatever the failure table has for this stage.
    """
    received = _receive(stage)
    original = LocalFile(received.path, "").stored()
    log("received", bytes=original.bytes, media_id=received.media.media_id)
    limit = stage.assignment.limits.max_duration_seconds
    audio = decode(received.path, stage.folder / AUDIO_FILE, limit, lambda done: _decoding(stage, done))
    received.path.unlink()
    log("decoded", samples=audio.measured.samples, exponent=audio.exponent, peak=round(audio.measured.peak, 4))
    stage.reporter.update("upload", _DECODED)
    file = LocalFile(audio.path, "audio/flac")
    stage.store.upload([file])
    return stage.commit(_mark(stage, received, audio, file.stored(), original))


def _decoding(stage: StageContext, done: float) -> None:
    stage.reporter.update("decode", _DOWNLOADED + (_DECODED - _DOWNLOADED) * done)


def _receive(stage: StageContext) -> SourceFile:
    source = stage.assignment.source
    if source.upload is not None:
        return _from_store(stage, MediaMetadata(), FailureCode.SOURCE_GONE)
    if source.object is not None:
        return _from_store(stage, MediaMetadata(title=key_title(source.object.key)), FailureCode.OBJECT_NOT_FOUND)
    if source.url is not None:
        return _from_link(stage, source.url)
    if source.search_query is not None:
        video = youtube_id(source.search_query.strip())
        return _from_youtube(stage, query=None if video else source.search_query, video=video)
    raise ConfigurationError("The Assignment names no source.")


def _from_store(stage: StageContext, media: MediaMetadata, missing: FailureCode) -> SourceFile:
    stage.reporter.update("download", 0.0)
    target = stage.folder / "received"
    stage.store.fetch(INPUT_FILE, target, stage.assignment.limits.max_bytes, SourceError(missing))
    return SourceFile(target, media)


def key_title(key: str) -> str:
    """Return the file name in an object's key without its ending, for want of a better title."""
    return PurePosixPath(key).stem


def _from_link(stage: StageContext, url: str) -> SourceFile:
    host = (urlsplit(url).hostname or "").lower()
    if any(host == domain or host.endswith(f".{domain}") for domain in _YOUTUBE_DOMAINS):
        video = youtube_id(url)
        if video is None:
            raise SourceError(FailureCode.SOURCE_NOT_FOUND, "The link does not name one video.")
        return _from_youtube(stage, query=None, video=video)
    if stage.settings.extractors and (received := _downloaded(stage, _request(stage, link=url))) is not None:
        return received
    stage.reporter.update("download", 0.0)
    target, given = stage.folder / "received", stage.settings
    most = stage.assignment.limits.max_bytes
    bounds = DownloadLimits(most, given.link_deadline_seconds, given.fetch_allowed_cidrs)
    download_link(url, target, bounds, stage.http)
    return SourceFile(target, MediaMetadata(title=link_title(url)))


def _from_youtube(stage: StageContext, *, query: str | None, video: str | None) -> SourceFile:
    if not stage.assignment.youtube_enabled:
        raise SourceError(FailureCode.SOURCE_DISABLED, "Upload the file or give a direct link to it.")
    received = _downloaded(stage, _request(stage, query=query, video=video))
    if received is None:
        raise SourceError(FailureCode.EXTRACTOR_BROKEN)
    return received


def _downloaded(stage: StageContext, request: DownloadRequest) -> SourceFile | None:
    """Return what the downloader brought, or None where it does not read such links."""
    done = run_downloader(
        request,
        stage.settings.youtube_deadline_seconds,
        lambda step, fraction: stage.reporter.update(step, _DOWNLOADED * fraction),
    )
    return SourceFile(Path(done.path), done.media, done.candidates) if isinstance(done, Downloaded) else None


def _request(
    stage: StageContext, *, query: str | None = None, video: str | None = None, link: str | None = None
) -> DownloadRequest:
    limits, given = stage.assignment.limits, stage.settings
    return DownloadRequest(
        query=query,
        video=video,
        link=link,
        folder=str(stage.folder),
        max_bytes=limits.max_bytes,
        max_seconds=limits.max_duration_seconds,
        cookies=None if link else _own_cookies(stage),
        proxy=given.youtube_proxy.get_secret_value() if given.youtube_proxy else None,
        po_token_url=None if link else given.youtube_po_token_url,
        request_interval=given.youtube_request_interval,
        download_delay=(given.youtube_download_delay, given.youtube_download_delay_max),
        extractors=given.extractors,
    )


def _own_cookies(stage: StageContext) -> str | None:
    """Return a private copy of the cookie file: yt-dlp rewrites what it is given, and a Secret cannot be written."""
    given = stage.settings.youtube_cookies
    if given is None:
        return None
    copy = (stage.settings.private_dir or stage.folder) / "cookies.txt"
    try:
        copy.touch(0o600)
        copy.write_bytes(given.read_bytes())
    except OSError:
        raise ConfigurationError(f"The cookie file {given} cannot be read.") from None
    return str(copy)


def _mark(
    stage: StageContext, received: SourceFile, audio: DecodedAudio, stored: StoredFile, original: StoredFile
) -> SourceMark:
    measured = audio.measured
    return SourceMark(
        uid=stage.assignment.uid,
        run=stage.assignment.run,
        pod_uid=stage.settings.pod_uid,
        audio=stored,
        sample_rate=SAMPLE_RATE,
        samples=measured.samples,
        exponent=audio.exponent,
        peak=measured.peak,
        mean=measured.mean,
        standard_deviation=measured.standard_deviation,
        audio_sha256=measured.sha256,
        media=_media(received.media, audio),
        candidates=received.candidates,
        received_bytes=original.bytes,
        received_sha256=original.sha256,
        versions={"stemyard": version("stemyard"), "yt-dlp": version("yt-dlp"), **library_versions()},
    )


def _media(known: MediaMetadata, audio: DecodedAudio) -> MediaMetadata:
    """Complete what the source said with the file's tags; tags win over a file name, not over YouTube."""
    tagged = {"title": audio.title, "artist": audio.artist}
    if known.media_id is not None:
        tagged = {key: value for key, value in tagged.items() if getattr(known, key) is None}
    return known.model_copy(update={key: value for key, value in tagged.items() if value})
