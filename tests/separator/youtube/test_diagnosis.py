"""Failure codes of yt-dlp's errors."""

import errno

import pytest
from yt_dlp.cookies import CookieLoadError
from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    IncompleteRead,
    NoSupportingHandlers,
    ProxyError,
    RequestError,
    SSLError,
    TransportError,
)
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    RegexNotFoundError,
    UnavailableVideoError,
    UnsupportedError,
    UserNotLive,
)

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.youtube.diagnosis import diagnose


def outer(inner: BaseException) -> DownloadError:
    """Return the error that yt-dlp raises for an inner error."""
    return DownloadError(f"ERROR: [youtube] abcdefghijk: {inner}", (type(inner), inner, None))


def http(status: int) -> HTTPError:
    return HTTPError(Response(None, "https://media.invalid/", {}, status))


MESSAGES = {
    "Video unavailable. This video has been removed by the uploader": FailureCode.SOURCE_UNAVAILABLE,
    "This video is no longer available because the account has been terminated": FailureCode.SOURCE_UNAVAILABLE,
    "Private video. Sign in if you've been granted access to this video": FailureCode.SOURCE_UNAVAILABLE,
    "Sign in to confirm your age. This video may be inappropriate for some users": FailureCode.SOURCE_AGE_RESTRICTED,
    "This video is available to this channel's members-only": FailureCode.SOURCE_LOGIN_REQUIRED,
    "Join this channel to get access to members-only content": FailureCode.SOURCE_LOGIN_REQUIRED,
    "The uploader has not made this video available in your country": FailureCode.SOURCE_GEO_BLOCKED,
    "This live event will begin in 3 hours": FailureCode.SOURCE_LIVE,
    "This video is DRM protected": FailureCode.SOURCE_DRM,
    "Sign in to confirm you’re not a bot. This helps protect our community": FailureCode.SOURCE_BOT_CHECK,
    "The page asks for a captcha challenge": FailureCode.SOURCE_BOT_CHECK,
    "This content isn't available, try again later. Your account has been rate-limited by YouTube": (
        FailureCode.SOURCE_RATE_LIMITED
    ),
    "Requested format is not available": FailureCode.SOURCE_FORBIDDEN,
    "n challenge solving failed": FailureCode.EXTRACTOR_BROKEN,
    "Unable to extract player version": FailureCode.EXTRACTOR_BROKEN,
    "ffmpeg not found": FailureCode.INTERNAL_CONFIG,
}


@pytest.mark.parametrize("message", MESSAGES)
def test_error_messages(message: str) -> None:
    found = diagnose(outer(ExtractorError(message, expected=True)))

    assert found.code is MESSAGES[message]
    assert not found.cause.startswith(("ERROR", "["))
    assert found.detail in {"", found.cause}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (http(403), FailureCode.SOURCE_FORBIDDEN),
        (http(404), FailureCode.SOURCE_UNAVAILABLE),
        (http(410), FailureCode.SOURCE_UNAVAILABLE),
        (http(429), FailureCode.SOURCE_RATE_LIMITED),
        (http(502), FailureCode.SOURCE_NETWORK),
        (TransportError("timed out"), FailureCode.SOURCE_NETWORK),
        (IncompleteRead(1, 2), FailureCode.SOURCE_NETWORK),
        (ContentTooShortError(1, 2), FailureCode.SOURCE_NETWORK),
        (GeoRestrictedError("not here", countries=["DE"]), FailureCode.SOURCE_GEO_BLOCKED),
        (UnavailableVideoError("unable to write"), FailureCode.INTERNAL_IO),
        (OSError(errno.ENOSPC, "No space left on device"), FailureCode.INTERNAL_IO),
        (http(401), FailureCode.SOURCE_LOGIN_REQUIRED),
        (http(451), FailureCode.SOURCE_GEO_BLOCKED),
        (http(418), FailureCode.SOURCE_UNAVAILABLE),
        (SSLError("bad record"), FailureCode.SOURCE_NETWORK),
        (CertificateVerifyError("self-signed"), FailureCode.SOURCE_NETWORK),
        (ProxyError("refused"), FailureCode.SOURCE_NETWORK),
        (RequestError("file:// URLs are disabled"), FailureCode.SOURCE_NETWORK),
        (NoSupportingHandlers([], []), FailureCode.SOURCE_NETWORK),
        (UserNotLive(video_id="abcdefghijk"), FailureCode.SOURCE_LIVE),
        (RegexNotFoundError("Unable to extract title"), FailureCode.EXTRACTOR_BROKEN),
        (UnsupportedError("https://elsewhere.invalid/"), FailureCode.SOURCE_UNAVAILABLE),
        (PostProcessingError("ffmpeg not found"), FailureCode.INTERNAL_CONFIG),
        (CookieLoadError("cookies"), FailureCode.INTERNAL_CONFIG),
        (OSError(errno.EROFS, "Read-only file system"), FailureCode.INTERNAL_IO),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FailureCode.INTERNAL_IO),
        (ExtractorError("something new"), FailureCode.EXTRACTOR_BROKEN),
        (ExtractorError("reported by the site", expected=True), FailureCode.SOURCE_UNAVAILABLE),
        (KeyError("playerResponse"), FailureCode.EXTRACTOR_BROKEN),
        (SourceError(FailureCode.SOURCE_TOO_LONG, "It lasts 9 h."), FailureCode.SOURCE_TOO_LONG),
    ],
)
def test_errors(error: Exception, code: FailureCode) -> None:
    assert diagnose(error).code is code
    assert diagnose(outer(error)).code is code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("ERROR: No suitable extractor (Youtube) found for URL https://x.invalid/", FailureCode.EXTRACTOR_BROKEN),
        ("ERROR: Got error: Downloaded 100 bytes, expected 200 bytes", FailureCode.SOURCE_NETWORK),
        ("ERROR: Did not get any data blocks", FailureCode.SOURCE_NETWORK),
        ("ERROR: unable to download video data: HTTP Error 503: Service Unavailable", FailureCode.SOURCE_NETWORK),
    ],
)
def test_errors_without_a_cause_are_classified_by_their_message(message: str, code: FailureCode) -> None:
    assert diagnose(DownloadError(message)).code is code


TABLE = {
    FailureCode.SOURCE_NOT_FOUND: ("fetch", False),
    FailureCode.SOURCE_UNAVAILABLE: ("fetch", False),
    FailureCode.SOURCE_LOGIN_REQUIRED: ("fetch", False),
    FailureCode.SOURCE_AGE_RESTRICTED: ("fetch", False),
    FailureCode.SOURCE_GEO_BLOCKED: ("fetch", False),
    FailureCode.SOURCE_LIVE: ("fetch", False),
    FailureCode.SOURCE_TOO_LONG: ("fetch", False),
    FailureCode.SOURCE_TOO_LARGE: ("fetch", False),
    FailureCode.SOURCE_TOO_SHORT: ("fetch", False),
    FailureCode.SOURCE_DRM: ("fetch", False),
    FailureCode.SOURCE_BOT_CHECK: ("fetch", True),
    FailureCode.SOURCE_RATE_LIMITED: ("fetch", True),
    FailureCode.SOURCE_FORBIDDEN: ("fetch", True),
    FailureCode.SOURCE_NETWORK: ("fetch", True),
    FailureCode.EXTRACTOR_BROKEN: ("fetch", True),
    FailureCode.INTERNAL_IO: ("control", True),
    FailureCode.INTERNAL_CONFIG: ("control", False),
}


@pytest.mark.parametrize("code", TABLE)
def test_codes_have_the_expected_stage_and_retryability(code: FailureCode) -> None:
    assert (FAILURES[code].stage, FAILURES[code].retryable) == TABLE[code]


def test_warnings_distinguish_a_broken_extractor_from_a_refusal() -> None:
    error = outer(ExtractorError("Requested format is not available", expected=True))

    assert (
        diagnose(error, ["n challenge solving failed: some formats may be missing"]).code
        is FailureCode.EXTRACTOR_BROKEN
    )


def test_a_detail_is_short_and_without_links() -> None:
    long = (
        "Sign in to confirm you’re not a bot. Use --cookies; see https://example.invalid/FAQ?token=secret " + "x" * 999
    )

    cause = diagnose(outer(ExtractorError(long, expected=True))).cause

    assert len(cause) <= 200
    assert "secret" not in cause


@pytest.mark.parametrize(
    "error",
    [
        ExtractorError("Unable to download webpage", cause=TransportError("[Errno -2] Name or service not known")),
        ExtractorError(
            "Unable to download API page: [Errno -2] Name or service not known (caused by TransportError('[Errno -2]'))"
        ),
        http(403),
        http(503),
        RegexNotFoundError("Unable to extract initial data"),
        PostProcessingError("ffmpeg not found"),
        KeyError("streamingData"),
    ],
)
def test_people_read_nothing_of_the_program(error: Exception) -> None:
    for raised in (error, outer(error)):
        found = diagnose(raised)
        assert found.detail == ""
        assert found.cause


@pytest.mark.parametrize(
    "message",
    ["Video unavailable. This video was removed by the uploader", "This live event will begin in 2 hours."],
)
def test_people_read_what_the_site_says_of_the_recording(message: str) -> None:
    assert diagnose(outer(ExtractorError(message, expected=True))).detail == message
